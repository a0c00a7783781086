//! What the kernel tells of sockets, and the numbers inside.

#[cfg(doc)]
use crate::{GoRecord, Http2Moment, Http2Record, LibraryMoment, LibraryRecord, SessionRecord};

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
