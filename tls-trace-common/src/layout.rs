//! Record layouts and the numbers inside them.

/// Derives the traits that make a struct readable from arbitrary bytes, in user space. `IntoBytes`
/// is what proves the absence of padding at compile time.
macro_rules! abi {
    ($(#[$doc:meta])* pub struct $name:ident, size $size:literal { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

/// What a record is. Any number is valid; unknown ones are refused by `Record::parse`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Kind(pub u16);

impl Kind {
    /// [`SocketRecord`]: TCP state changed (`sock:inet_sock_set_state`).
    pub const STATE: Self = Self(1);
    /// [`SocketRecord`]: the socket is gone (`tcp:tcp_destroy_sock`); nothing follows for its cookie.
    pub const DESTROY: Self = Self(2);
    /// [`SignalRecord`]: an RST was sent (`tcp:tcp_send_reset`); detail is `enum sk_rst_reason`, or
    /// [`NO_DETAIL`] on kernels whose tracepoint has no reason.
    pub const RESET_SENT: Self = Self(3);
    /// [`SignalRecord`]: an RST was accepted (`tcp:tcp_receive_reset`).
    pub const RESET_RECEIVED: Self = Self(4);
    /// [`SignalRecord`]: the socket got an error (`sock:inet_sk_error_report`); detail is the errno.
    pub const SOCKET_ERROR: Self = Self(5);
    /// [`SignalRecord`]: a segment was sent again (`tcp:tcp_retransmit_skb`); `seq..end_seq` is its range.
    pub const RETRANSMIT: Self = Self(6);
    /// [`SignalRecord`]: a kernel function ran (kprobe); detail is a [`Function`].
    pub const FUNCTION: Self = Self(7);
    /// [`SegmentRecord`], followed by [`SegmentRecord::captured`] bytes of TCP payload.
    pub const SEGMENT: Self = Self(8);
    /// [`LibraryRecord`]: a TLS library was seen at a decisive moment; detail is a [`LibraryMoment`].
    pub const LIBRARY: Self = Self(9);
    /// [`GoRecord`]: the same of Go's crypto/tls.
    pub const GO: Self = Self(10);
    /// [`Http2Record`]: a control frame of HTTP/2 or what an end makes of it; detail is an
    /// [`Http2Moment`].
    pub const HTTP2: Self = Self(11);
    /// [`SessionRecord`]: the same of GnuTLS and BoringSSL.
    pub const SESSION: Self = Self(12);
    /// [`TailRecord`](crate::TailRecord): the last packets of a socket whose payload is not captured any more.
    pub const TAIL: Self = Self(13);
}

/// The `detail` of a record whose hook could not tell.
pub const NO_DETAIL: u32 = u32::MAX;

/// A kernel function seen by a kprobe, the detail of [`Kind::FUNCTION`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function(pub u32);

impl Function {
    /// `tcp_send_fin`: this end sends FIN.
    pub const SEND_FIN: Self = Self(1);
    /// `tcp_fin`: the peer's FIN is processed.
    pub const RECEIVE_FIN: Self = Self(2);
    /// `tcp_reset`: the peer's RST is processed.
    pub const RECEIVE_RESET: Self = Self(3);
    /// `tcp_send_active_reset`: this end resets a connection that has a socket.
    pub const SEND_ACTIVE_RESET: Self = Self(4);
    /// `tcp_v4_send_reset`, `tcp_v6_send_reset`: this end answers a segment with RST.
    pub const SEND_RESET: Self = Self(5);
    /// `inet_csk_accept` returned this socket to the recorded task.
    pub const ACCEPT: Self = Self(6);
}

abi! {
    /// Start of every record.
    pub struct Header, size 24 {
        /// `bpf_ktime_get_ns()`.
        pub time_ns: u64,
        /// Socket cookie (`bpf_get_socket_cookie`), unique on this host since boot; 0: no socket.
        pub cookie: u64,
        /// Which struct this is.
        pub kind: Kind,
        /// TCP state before (`enum tcp_state`, 1 = ESTABLISHED); for signals the state now.
        pub old_state: u8,
        /// TCP state after; for signals the state now.
        pub new_state: u8,
        /// Meaning by kind.
        pub detail: u32,
    }
}

abi! {
    /// Addresses of a socket, as the socket holds them.
    pub struct Tuple, size 40 {
        /// IPv6, or IPv4-mapped.
        pub local: [u8; 16],
        /// IPv6, or IPv4-mapped.
        pub remote: [u8; 16],
        /// Host order.
        pub local_port: u16,
        /// Host order.
        pub remote_port: u16,
        /// Inode number of the network namespace; 0 where the hook cannot read it.
        pub netns: u32,
    }
}

abi! {
    /// The task that was current. It is the cause of the event only where the event happens in
    /// process context: on loopback, softirq work of the peer runs in the sender's task.
    pub struct Task, size 40 {
        /// Process id (`task_struct::tgid`) in the initial pid namespace.
        pub pid: u32,
        /// Thread id.
        pub tid: u32,
        /// `bpf_get_current_cgroup_id`: inode of the cgroup v2 directory.
        pub cgroup: u64,
        /// `task_struct::flags`; `PF_EXITING` is 0x4. 0 where it cannot be read.
        pub flags: u32,
        /// `task_struct::exit_code`: the low 7 bits are the signal that killed the task.
        pub exit_code: u32,
        /// `task_struct::comm`, NUL-padded.
        pub comm: [u8; 16],
    }
}

abi! {
    /// Counters of `struct tcp_sock`; all 0 with [`Counters::valid`] 0 where BTF offsets are missing.
    pub struct Counters, size 48 {
        /// Bytes the peer acknowledged.
        pub bytes_acked: u64,
        /// Bytes received in order.
        pub bytes_received: u64,
        /// Next sequence number to be sent.
        pub snd_nxt: u32,
        /// First sequence number not acknowledged.
        pub snd_una: u32,
        /// Next sequence number expected from the peer.
        pub rcv_nxt: u32,
        /// First sequence number the application has not read.
        pub copied_seq: u32,
        /// Segments sent again, over the connection's life.
        pub total_retrans: u32,
        /// `sock::sk_err`.
        pub error: u32,
        /// 1: `SO_LINGER` is set with time 0, so that `close()` resets.
        pub linger_zero: u32,
        /// 1: this struct was filled.
        pub valid: u32,
    }
}

abi! {
    /// [`Kind::STATE`] and [`Kind::DESTROY`].
    pub struct SocketRecord, size 152 {
        /// Start.
        pub header: Header,
        /// Addresses.
        pub tuple: Tuple,
        /// Current task.
        pub task: Task,
        /// Counters of the socket.
        pub counters: Counters,
    }
}

abi! {
    /// A moment in a socket's life without addresses.
    pub struct SignalRecord, size 72 {
        /// Start.
        pub header: Header,
        /// [`Kind::RETRANSMIT`]: first sequence number of the segment, else 0.
        pub seq: u32,
        /// [`Kind::RETRANSMIT`]: sequence number after the segment, else 0.
        pub end_seq: u32,
        /// Current task.
        pub task: Task,
    }
}

abi! {
    /// A TCP segment as it passed the cgroup hook, headers reduced to what matters.
    pub struct SegmentRecord, size 128 {
        /// Start. `old_state` and `new_state` are 0.
        pub header: Header,
        /// Addresses seen from the socket's end.
        pub tuple: Tuple,
        /// Ids of the task that sent the segment, the rest 0; all 0 on ingress and where the helper is missing.
        pub task: Task,
        /// Sequence number of the first payload byte (of the segment, plus what an earlier record of the same segment carried).
        pub seq: u32,
        /// Acknowledgment number.
        pub ack: u32,
        /// Payload bytes of the segment from `seq` on, captured or not.
        pub length: u32,
        /// Bytes that follow this struct.
        pub captured: u16,
        /// TCP flags (RFC 9293 §3.1): FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10.
        pub tcp_flags: u8,
        /// TTL or hop limit of the IP header.
        pub ttl: u8,
        /// [`INGRESS`] or [`EGRESS`].
        pub direction: u8,
        /// [`LISTENER`], [`OVERFLOW`], [`LAST`].
        pub flags: u8,
        /// Zero. Two words, as eBPF would zero a byte array in a loop.
        pub reserved: u16,
        /// Zero.
        pub reserved_2: u32,
    }
}

/// [`SegmentRecord::direction`]: received by the socket.
pub const INGRESS: u8 = 0;
/// [`SegmentRecord::direction`]: sent by the socket.
pub const EGRESS: u8 = 1;

/// [`SegmentRecord::flags`]: data that arrived with the last ACK of the TCP handshake, before the
/// connection's own socket existed; the cookie is the listener's.
pub const LISTENER: u8 = 1;
/// [`SegmentRecord::flags`]: the listener drops this segment because its accept queue is full; with
/// [`LISTENER`].
pub const OVERFLOW: u8 = 4;
/// [`SegmentRecord::flags`]: the capture bound of this direction is reached, no payload follows.
pub const LAST: u8 = 2;

/// Most payload bytes one [`SegmentRecord`] carries.
pub const SEGMENT_MAX: usize = 16384;
/// Payload bytes captured per direction and socket.
pub const CAPTURE_BYTES: u32 = 32 * 1024;
/// Sockets remembered whose payload is no longer wanted.
pub const DONE_ENTRIES: u32 = 65536;
/// Segments with payload captured per direction and socket: enough for a ClientHello sent byte by byte.
pub const CAPTURE_SEGMENTS: u32 = 1024;

/// Index into the per-CPU map `LOST` of each object: records that found their ring buffer full, and what else was
/// not to be had.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost(pub u32);

impl Lost {
    /// A [`SocketRecord`].
    pub const SOCKET: Self = Self(0);
    /// A [`SignalRecord`].
    pub const SIGNAL: Self = Self(1);
    /// A [`SegmentRecord`].
    pub const SEGMENT: Self = Self(2);
    /// Socket storage could not be allocated.
    pub const STORAGE: Self = Self(3);
    /// A [`LibraryRecord`].
    pub const LIBRARY: Self = Self(4);
    /// A [`TailRecord`](crate::TailRecord).
    pub const TAIL: Self = Self(5);
    /// Memory of a process that could not be read.
    pub const MEMORY: Self = Self(6);
    /// Number of slots.
    pub const SLOTS: u32 = 7;
}

abi! {
    /// Where fields are in this kernel's structs, in bytes from the struct's start; read from the
    /// kernel's BTF by the loader and placed in the read-only global `OFFSETS`, which makes them
    /// constants to the verifier and the JIT.
    pub struct KernelOffsets, size 108 {
        /// `sock_common::skc_daddr`.
        pub skc_daddr: u32,
        /// `sock_common::skc_rcv_saddr`.
        pub skc_rcv_saddr: u32,
        /// `sock_common::skc_dport`.
        pub skc_dport: u32,
        /// `inet_sock::inet_sport`: unlike `skc_num` it stays when the port is given back.
        pub inet_sport: u32,
        /// `sock_common::skc_family`.
        pub skc_family: u32,
        /// `sock_common::skc_state`.
        pub skc_state: u32,
        /// `sock_common::skc_net`.
        pub skc_net: u32,
        /// `sock_common::skc_v6_daddr`.
        pub skc_v6_daddr: u32,
        /// `sock_common::skc_v6_rcv_saddr`.
        pub skc_v6_rcv_saddr: u32,
        /// `sock_common::skc_cookie`.
        pub skc_cookie: u32,
        /// `sock_common::skc_flags`.
        pub skc_flags: u32,
        /// `net::ns` plus `ns_common::inum`.
        pub net_inum: u32,
        /// `sock::sk_err`.
        pub sk_err: u32,
        /// `sock::sk_ack_backlog`: connections in a listener's accept queue.
        pub sk_ack_backlog: u32,
        /// `sock::sk_max_ack_backlog`: how many are too many.
        pub sk_max_ack_backlog: u32,
        /// `sock::sk_lingertime`.
        pub sk_lingertime: u32,
        /// `tcp_sock::bytes_acked`.
        pub bytes_acked: u32,
        /// `tcp_sock::bytes_received`.
        pub bytes_received: u32,
        /// `tcp_sock::snd_nxt`.
        pub snd_nxt: u32,
        /// `tcp_sock::snd_una`.
        pub snd_una: u32,
        /// `tcp_sock::rcv_nxt`.
        pub rcv_nxt: u32,
        /// `tcp_sock::copied_seq`.
        pub copied_seq: u32,
        /// `tcp_sock::total_retrans`.
        pub total_retrans: u32,
        /// `task_struct::flags`.
        pub task_flags: u32,
        /// `task_struct::exit_code`.
        pub task_exit_code: u32,
        /// `sk_buff::cb`, where TCP keeps `tcp_skb_cb` (its `seq` and `end_seq` come first).
        pub skb_cb: u32,
        /// Bit number of `SOCK_LINGER` in `sk_flags` (`enum sock_flags`).
        pub sock_linger_bit: u32,
    }
}

/// When a TLS library was looked at, the detail of [`Kind::LIBRARY`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryMoment(pub u32);

impl LibraryMoment {
    /// `SSL_do_handshake` returned 1.
    pub const HANDSHAKE_RETURNED: Self = Self(1);
    /// The library put an error of its own into its error queue.
    pub const ERROR: Self = Self(2);
    /// The session object is being freed.
    pub const FREED: Self = Self(3);
    /// The library sends a fatal alert.
    pub const ALERT_SENT: Self = Self(4);
    /// The peer's certificate was verified, and is not good.
    pub const VERIFIED: Self = Self(5);
    /// A handshake that something else than `SSL_do_handshake` drives is complete. A server has made its tickets by
    /// then: the session is that of the last of them.
    pub const COMPLETED: Self = Self(6);
}

abi! {
    /// A TLS library's own view of a session.
    pub struct LibraryRecord, size 288 {
        /// Start. There is no cookie: the library does not know its socket.
        pub header: Header,
        /// Current task, the one that called the library.
        pub task: Task,
        /// Address of the session object in the process.
        pub session: u64,
        /// ClientHello.random; zero until a ClientHello was written or read.
        pub random: [u8; 32],
        /// Application protocol selected, as much as fits.
        pub alpn: [u8; 64],
        /// Application protocol of the session that is resumed, as much as fits.
        pub session_alpn: [u8; 64],
        /// Fields below that were read, see [`FIELD_VERSION`] and following.
        pub fields: u32,
        /// [`LibraryMoment::ERROR`]: the reason code, else 0.
        pub reason: u32,
        /// `SSL_version`: 0x0304 is TLS 1.3.
        pub version: u32,
        /// `SSL_get_state`: 1 is `TLS_ST_OK`.
        pub state: u32,
        /// `SSL_is_server`.
        pub server: u32,
        /// `SSL_get_early_data_status`: 0 not sent, 1 rejected or pending, 2 accepted.
        pub early_data: u32,
        /// `SSL_session_reused`.
        pub resumed: u32,
        /// `SSL_get_verify_result`, an `X509_V_` code.
        pub verify_result: u32,
        /// Length of the application protocol selected, 0: none.
        pub alpn_length: u32,
        /// Length of the resumed session's application protocol, 0: none.
        pub session_alpn_length: u32,
        /// `ext.early_data_ok`: nothing in the hello contradicts the session that is resumed.
        pub early_data_ok: u32,
        /// Attach cookie: index of the file in the loader's table.
        pub file: u32,
        /// [`LOOSE`].
        pub flags: u32,
        /// [`LibraryMoment::ERROR`]: description of the alert that is sent for it; [`NO_DETAIL`]: none, or not
        /// known.
        pub alert_sent: u32,
    }
}

/// [`LibraryRecord::flags`]: attributed to this session only because the thread used it last.
pub const LOOSE: u32 = 1;

/// [`LibraryRecord::fields`]: `version` was read.
pub const FIELD_VERSION: u32 = 1;
/// [`LibraryRecord::fields`]: `state` was read.
pub const FIELD_STATE: u32 = 1 << 1;
/// [`LibraryRecord::fields`]: `server` was read.
pub const FIELD_SERVER: u32 = 1 << 2;
/// [`LibraryRecord::fields`]: `early_data` was read.
pub const FIELD_EARLY_DATA: u32 = 1 << 3;
/// [`LibraryRecord::fields`]: `resumed` was read.
pub const FIELD_RESUMED: u32 = 1 << 4;
/// [`LibraryRecord::fields`]: `verify_result` was read.
pub const FIELD_VERIFY_RESULT: u32 = 1 << 5;
/// [`LibraryRecord::fields`]: `alpn_length` was read, and `alpn` where it is not 0.
pub const FIELD_ALPN: u32 = 1 << 6;

/// [`LibraryRecord::fields`]: `early_data_ok` was read.
pub const FIELD_EARLY_DATA_OK: u32 = 1 << 7;
/// [`LibraryRecord::fields`]: `session_alpn_length` was read, and `session_alpn` where it is not 0.
pub const FIELD_SESSION_ALPN: u32 = 1 << 8;

/// Files with a TLS library that can be hooked at the same time; the size of the map `FILES`.
pub const LIBRARY_FILES: u32 = 1024;

/// An offset that is not known: the field is not read.
pub const UNAVAILABLE: u32 = u32::MAX;

abi! {
    /// Where fields are in one build of OpenSSL, in bytes from the `SSL` object; [`UNAVAILABLE`] for
    /// those that are not known. One entry of the map `FILES` for each hooked file.
    pub struct OpensslOffsets, size 60 {
        /// `SSL::type`, which is 0 for TLS over TCP; OpenSSL 3.2 and later.
        pub kind: u32,
        /// Pointer to `SSL3_STATE`, in OpenSSL 1.1.1, where `client_random` and `alpn` are inside it;
        /// [`UNAVAILABLE`] where they are inside `SSL` itself.
        pub s3: u32,
        /// `s3.client_random`, 32 bytes.
        pub client_random: u32,
        /// `s3.alpn_selected`, a pointer.
        pub alpn: u32,
        /// `s3.alpn_selected_len`.
        pub alpn_length: u32,
        /// `version`.
        pub version: u32,
        /// `statem.hand_state`.
        pub state: u32,
        /// `server`.
        pub server: u32,
        /// `ext.early_data`.
        pub early_data: u32,
        /// `hit`.
        pub resumed: u32,
        /// `verify_result`.
        pub verify_result: u32,
        /// `ext.early_data_ok`.
        pub early_data_ok: u32,
        /// `session`, a pointer.
        pub session: u32,
        /// `SSL_SESSION::ext.alpn_selected`, a pointer in it.
        pub session_alpn: u32,
        /// `SSL_SESSION::ext.alpn_selected_len` in it.
        pub session_alpn_length: u32,
    }
}

/// Whose [`SessionRecord`] it is.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct SessionLibrary(pub u32);

impl SessionLibrary {
    /// GnuTLS.
    pub const GNUTLS: Self = Self(1);
    /// BoringSSL.
    pub const BORINGSSL: Self = Self(2);
}

/// Bytes of [`SessionRecord::sample`]: `SSL3_STATE` has ClientHello.random at 48 in all builds seen, and
/// no secrets before its read buffer's end.
pub const SAMPLE: usize = 128;

abi! {
    /// GnuTLS's or BoringSSL's own view of a session.
    pub struct SessionRecord, size 352 {
        /// Start. The cookie is of the socket that the session is over, 0 where it hides that.
        pub header: Header,
        /// Current task, the one that called the library.
        pub task: Task,
        /// Address of the session object in the process.
        pub session: u64,
        /// ClientHello.random; zero where it was not seen, or where it is, is not known.
        pub random: [u8; 32],
        /// Application protocol selected, as much as fits.
        pub alpn: [u8; 64],
        /// BoringSSL where the random's place is not known: the first bytes of the struct it is in.
        pub sample: [u8; SAMPLE],
        /// Fields that were read, [`FIELD_VERSION`] and following.
        pub fields: u32,
        /// Which library.
        pub library: SessionLibrary,
        /// [`LibraryMoment::ERROR`]: the library's number, of GnuTLS without its sign; else 0.
        pub reason: u32,
        /// Description of the alert from the peer; [`NO_DETAIL`]: none, or not known.
        pub alert_received: u32,
        /// [`LibraryMoment::ALERT_SENT`]: its description; [`NO_DETAIL`]: none.
        pub alert_sent: u32,
        /// GnuTLS: `gnutls_protocol_t`.
        pub version: u32,
        /// The session is the server's.
        pub server: u32,
        /// The session is resumed.
        pub resumed: u32,
        /// GnuTLS: `HSK_EARLY_DATA_ACCEPTED`, 0 or 1. BoringSSL: `ssl_early_data_reason_t`.
        pub early_data: u32,
        /// GnuTLS, [`LibraryMoment::VERIFIED`]: `gnutls_certificate_status_t`.
        pub verify_status: u32,
        /// Length of the application protocol selected, 0: none.
        pub alpn_length: u32,
        /// Attach cookie: index of the file in the loader's table.
        pub file: u32,
        /// [`LOOSE`].
        pub flags: u32,
        /// Bytes of `sample`, 0 or [`SAMPLE`].
        pub sample_length: u32,
    }
}

abi! {
    /// Where fields are in one build of GnuTLS, in bytes from the session object; [`UNAVAILABLE`] for those
    /// that are not known. One entry of the map `FILES` for each hooked file.
    pub struct GnutlsOffsets, size 48 {
        /// `security_parameters.client_random`, 32 bytes.
        pub client_random: u32,
        /// `security_parameters.entity`: 1 is a server, 2 a client.
        pub entity: u32,
        /// `security_parameters.pversion`, a pointer.
        pub version: u32,
        /// `version_entry_st.id` in what that points to.
        pub version_id: u32,
        /// `internals.resumed`, 1 byte.
        pub resumed: u32,
        /// `internals.last_alert`.
        pub alert: u32,
        /// `internals.transport_recv_ptr`, a pointer or a descriptor.
        pub descriptor: u32,
        /// `internals.hsk_flags`.
        pub handshake_flags: u32,
        /// Pointer to the private data of the ALPN extension.
        pub alpn: u32,
        /// `selected_protocol` in it, a pointer.
        pub alpn_selected: u32,
        /// `selected_protocol_size` in it.
        pub alpn_length: u32,
        /// Zero.
        pub reserved: u32,
    }
}

abi! {
    /// Where fields are in one build of BoringSSL, in bytes; [`UNAVAILABLE`] for those that are not known.
    /// One entry of the map `FILES` for each hooked file.
    pub struct BoringsslOffsets, size 28 {
        /// Pointer to `SSL3_STATE` in the `SSL` object; the members below but `server` are in it.
        pub s3: u32,
        /// `client_random`, 32 bytes.
        pub client_random: u32,
        /// `early_data_reason`.
        pub early_data_reason: u32,
        /// `alpn_selected`, a pointer.
        pub alpn: u32,
        /// Its length, 8 bytes.
        pub alpn_length: u32,
        /// `SSL::server`, the byte that has its bit.
        pub server: u32,
        /// Number of that bit.
        pub server_bit: u32,
    }
}

/// What a Go error is, by its type; [`GoRecord::error`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoError(pub u32);

impl GoError {
    /// nil.
    pub const NONE: Self = Self(0);
    /// A type without a number here.
    pub const OTHER: Self = Self(1);
    /// Nothing but its text: `errors.errorString`, `fmt.wrapError`, `tls.RecordHeaderError`.
    pub const MESSAGE: Self = Self(2);
    /// `net.OpError` of an alert from the peer ("remote error"); `reason` is its description.
    pub const ALERT_RECEIVED: Self = Self(3);
    /// Another `net.OpError`: reading or writing failed.
    pub const IO: Self = Self(4);
    /// `x509.UnknownAuthorityError`.
    pub const UNKNOWN_AUTHORITY: Self = Self(5);
    /// `x509.CertificateInvalidError`; `reason` is the `x509.InvalidReason`.
    pub const CERTIFICATE_INVALID: Self = Self(6);
    /// `x509.HostnameError`; the text is the name that was wanted.
    pub const HOSTNAME: Self = Self(7);
}

/// Longest text of a Go error that is kept.
pub const GO_TEXT: usize = 128;

abi! {
    /// Go's own view of a connection. The moments are [`LibraryMoment::HANDSHAKE_RETURNED`] without
    /// and [`LibraryMoment::ERROR`] with an error.
    pub struct GoRecord, size 336 {
        /// Start. The cookie is of the socket that the connection is over, 0 where it hides that.
        pub header: Header,
        /// Current task.
        pub task: Task,
        /// Address of the `tls.Conn` in the process.
        pub connection: u64,
        /// ClientHello.random; zero where it was not seen.
        pub random: [u8; 32],
        /// `clientProtocol`, as much as fits.
        pub alpn: [u8; 64],
        /// Text of the error, as much as fits.
        pub text: [u8; GO_TEXT],
        /// Fields that were read, [`FIELD_VERSION`] and following.
        pub fields: u32,
        /// `vers`: 0x0304 is TLS 1.3.
        pub version: u32,
        /// Whether `isClient` is false.
        pub server: u32,
        /// `didResume`.
        pub resumed: u32,
        /// Length of the application protocol selected, 0: none.
        pub alpn_length: u32,
        /// Length of the error's text.
        pub text_length: u32,
        /// A [`GoError`].
        pub error: u32,
        /// By error.
        pub reason: u32,
        /// Description of the last alert sent but `close_notify`; [`NO_DETAIL`]: none.
        pub alert_sent: u32,
        /// Index of the file in the loader's table.
        pub file: u32,
    }
}

/// What happened on a connection of HTTP/2, the detail of [`Kind::HTTP2`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Moment(pub u32);

impl Http2Moment {
    /// A GOAWAY is written; `code` is its error code, the text its debug data.
    pub const GOAWAY_SENT: Self = Self(1);
    /// A GOAWAY was read.
    pub const GOAWAY_RECEIVED: Self = Self(2);
    /// SETTINGS are written.
    pub const SETTINGS_SENT: Self = Self(3);
    /// SETTINGS were read.
    pub const SETTINGS_RECEIVED: Self = Self(4);
    /// The acknowledgement of SETTINGS is written.
    pub const SETTINGS_ACK_SENT: Self = Self(5);
    /// The acknowledgement of SETTINGS was read.
    pub const SETTINGS_ACK_RECEIVED: Self = Self(6);
    /// This end closes its transport; the text is that of the error it does so for.
    pub const CLOSED: Self = Self(7);
    /// This end closes because a PING was not answered.
    pub const PING_LOST: Self = Self(8);
    /// gRPC's subchannel changes its state to `code`: 0 IDLE, 1 CONNECTING, 2 READY,
    /// 3 `TRANSIENT_FAILURE`, 4 SHUTDOWN.
    pub const CHANNEL: Self = Self(9);
}

abi! {
    /// What Go's HTTP/2 or grpc-go say of a connection.
    pub struct Http2Record, size 256 {
        /// Start. The cookie is of the socket that the connection is over, 0 where it hides that.
        pub header: Header,
        /// Current task.
        pub task: Task,
        /// Address of the `tls.Conn` in the process.
        pub connection: u64,
        /// ClientHello.random; zero where it was not seen.
        pub random: [u8; 32],
        /// Debug data of a GOAWAY or text of an error, any bytes, as much as fits.
        pub text: [u8; GO_TEXT],
        /// Fields that were read: [`FIELD_SERVER`].
        pub fields: u32,
        /// Whether `isClient` of the `tls.Conn` is false.
        pub server: u32,
        /// By moment.
        pub code: u32,
        /// Length of the whole text.
        pub text_length: u32,
        /// Index of the file in the loader's table.
        pub file: u32,
        /// Zero.
        pub reserved: u32,
    }
}

/// Bits of an attach cookie of Go's probes that are the linked address of the probed instruction:
/// where the kernel sees it instead tells where the program was loaded. The bits above are the file's
/// index.
pub const GO_ADDRESS_BITS: u32 = 48;

abi! {
    /// Where fields are in one Go program, in bytes from the start of their struct, [`UNAVAILABLE`]
    /// where not known, and the linked addresses of types, 0 where the program has no such. One entry
    /// of the map `FILES` for each hooked file.
    pub struct GoOffsets, size 184 {
        /// Type `net.TCPConn`, as pointer.
        pub tcp_conn: u64,
        /// Type `tls.CertificateVerificationError`, as pointer.
        pub verification_error: u64,
        /// Type `tls.permanentError`, as pointer.
        pub permanent_error: u64,
        /// Type `net.OpError`, as pointer.
        pub op_error: u64,
        /// Type `tls.alert`.
        pub alert: u64,
        /// Type `x509.UnknownAuthorityError`.
        pub unknown_authority: u64,
        /// Type `x509.CertificateInvalidError`.
        pub invalid_error: u64,
        /// Type `x509.HostnameError`.
        pub hostname_error: u64,
        /// Types that begin with their text.
        pub messages: [u64; 4],
        /// Type `tls.Conn`, as pointer.
        pub tls_conn: u64,
        /// Type `bufio.Reader`, as pointer: what framers read through.
        pub buffered: u64,
        /// Type `syscallConn` of grpc-go, as pointer: it begins with the connection it wraps.
        pub syscall_conn: u64,
        /// Type `http2Client` of grpc-go, as pointer.
        pub http2_client: u64,
        /// `tls.Conn.conn`, an interface.
        pub conn: u32,
        /// `tls.Conn.isClient`.
        pub is_client: u32,
        /// `tls.Conn.vers`, 2 bytes.
        pub version: u32,
        /// `tls.Conn.didResume`.
        pub resumed: u32,
        /// `tls.Conn.clientProtocol`, a string.
        pub alpn: u32,
        /// `tls.Conn.in.err`, an interface.
        pub in_err: u32,
        /// `net.netFD.pfd.Sysfd`.
        pub sysfd: u32,
        /// `tls.clientHelloMsg.random`, a slice.
        pub random: u32,
        /// `tls.CertificateVerificationError.Err`, an interface.
        pub verification_err: u32,
        /// `net.OpError.Op`, a string.
        pub op: u32,
        /// `net.OpError.Err`, an interface.
        pub op_err: u32,
        /// `x509.CertificateInvalidError.Reason`.
        pub invalid_reason: u32,
        /// `x509.HostnameError.Host`, a string.
        pub hostname: u32,
        /// `addrConn.transport` of grpc-go, an interface.
        pub transport: u32,
    }
}

abi! {
    /// From a task to the socket of one of its file descriptors, in bytes from the start of each
    /// struct; the read-only global `FD_OFFSETS`. All 0 where the kernel has no BTF.
    pub struct FdOffsets, size 32 {
        /// `task_struct::files`.
        pub files: u32,
        /// `files_struct::fdt`.
        pub fdt: u32,
        /// `fdtable::max_fds`.
        pub max_fds: u32,
        /// `fdtable::fd`.
        pub fd: u32,
        /// `file::private_data`.
        pub private_data: u32,
        /// `socket::file`.
        pub socket_file: u32,
        /// `socket::sk`.
        pub sk: u32,
        /// `sock::__sk_common.skc_cookie`.
        pub cookie: u32,
    }
}
