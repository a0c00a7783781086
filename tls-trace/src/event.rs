//! What a source tells the engine: at this time, on this connection, this happened.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Nanoseconds of a clock that never steps: `CLOCK_MONOTONIC` live, capture time offline.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Time passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One end of one connection: the socket cookie live, a number given by the source offline.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// Something that happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// On which connection.
    pub connection: ConnectionId,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// The socket changed its TCP state.
    State(StateChange),
    /// The socket is gone; nothing follows.
    Destroyed(Socket),
    /// The kernel sent an RST for this socket. The reason is absent where the kernel states none.
    ResetSent {
        /// `enum sk_rst_reason` (include/net/rstreason.h).
        reason: Option<ResetReason>,
        /// Current task; the cause only where the reset comes from process context.
        task: Task,
    },
    /// An RST from the peer was accepted.
    ResetReceived,
    /// The socket was given an error that the application will see.
    SocketError {
        /// errno, positive.
        errno: u32,
    },
    /// A segment was sent again.
    Retransmit {
        /// State of the socket.
        state: TcpState,
        /// First sequence number of the segment.
        seq: u32,
        /// Sequence number after the segment; equal to `seq` + 1 for a SYN.
        end_seq: u32,
    },
    /// A kernel function ran for this socket.
    Function {
        /// Which.
        function: Function,
        /// Current task.
        task: Task,
    },
    /// A TCP segment passed.
    Segment(Segment),
    /// A listener dropped a segment that would have opened a connection, because its accept queue is
    /// full. `connection` is the listener's.
    ListenOverflow {
        /// Address that the segment was for.
        server: SocketAddr,
        /// Address it came from.
        client: SocketAddr,
        /// Inode of the listener's network namespace; 0 unknown.
        netns: u32,
    },
    /// The connection was open before the source started.
    Existing {
        /// Addresses and process as found in /proc.
        socket: Socket,
        /// Whether the local end accepted (its port has a listener) or connected.
        opened_by: Option<End>,
    },
    /// The source has no more events of this connection (end of a capture).
    Ended,
    /// A TLS library was seen at a decisive moment. Where it does not show its socket, the event's
    /// `connection` is 0, and the session is found by its random.
    Library(LibraryEvent),
    /// A library of HTTP/2 said what it does; `connection` as of [`EventKind::Library`].
    Http2(Http2Event),
    /// A process was found to hold the socket, or, with the id 0, none.
    Held(Task),
    /// The last packets of a connection whose payload is not captured any more; told as it ends.
    Tail(Tail),
}

/// What is known of packets whose payload was not captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The last ones with payload, oldest first. Each is of a later time than the one before, though all times
    /// are some milliseconds early.
    pub packets: Vec<TailPacket>,
    /// Time of the last one that was sent, and sequence number after its payload.
    pub sent: Option<(Timestamp, u32)>,
    /// The same of the last one received.
    pub received: Option<(Timestamp, u32)>,
}

/// A packet, or one of the records in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailPacket {
    /// When it passed.
    pub time: Timestamp,
    /// Who sent it.
    pub direction: Direction,
    /// Length of the TLS record in it, without its header. Absent where there are many or long ones, or none
    /// begins.
    pub record: Option<u16>,
}

/// What a library of HTTP/2 said of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2Event {
    /// What.
    pub moment: Http2Moment,
    /// Task that called the library.
    pub task: Task,
    /// ClientHello.random of the TLS session below; zero: not known.
    pub random: [u8; 32],
    /// This end is the server.
    pub server: Option<bool>,
}

/// Something that HTTP/2 does once or a few times on a connection (RFC 9113), and what gRPC makes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Http2Moment {
    /// This end writes a GOAWAY.
    GoawaySent(Goaway),
    /// This end read a GOAWAY.
    GoawayReceived(Goaway),
    /// This end writes its SETTINGS.
    SettingsSent,
    /// This end read the peer's SETTINGS.
    SettingsReceived,
    /// This end acknowledges the peer's SETTINGS.
    SettingsAckSent,
    /// This end read the acknowledgement of its own SETTINGS.
    SettingsAckReceived,
    /// This end closes.
    Closed {
        /// The error that it does so for, where its type is known; any bytes.
        text: Option<String>,
    },
    /// This end closes because its PING was not answered.
    PingLost,
    /// gRPC's subchannel on this connection comes to this state.
    Channel(ChannelState),
}

/// A GOAWAY frame (RFC 9113, 6.8).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Goaway {
    /// Error code.
    pub code: u32,
    /// Debug data, the first bytes of it; any bytes.
    pub debug: String,
}

/// State of a gRPC subchannel (doc/connectivity-semantics-and-api.md of gRPC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// No connection, and none wanted.
    Idle,
    /// A connection is being made.
    Connecting,
    /// Calls can be made.
    Ready,
    /// Making a connection failed.
    TransientFailure,
    /// The application gave it up.
    Shutdown,
}

/// What a TLS library knew of a session at a decisive moment. Fields are absent where they cannot be
/// read in this build of the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryEvent {
    /// Which library.
    pub library: LibraryName,
    /// Which moment.
    pub moment: LibraryMoment,
    /// Task that called the library.
    pub task: Task,
    /// ClientHello.random; zero: not known.
    pub random: [u8; 32],
    /// The session is the server's.
    pub server: Option<bool>,
    /// Its state machine is at the end of the handshake.
    pub done: Option<bool>,
    /// Version number, 0x0304 for TLS 1.3.
    pub version: Option<u16>,
    /// Early data was accepted. Before the end of the handshake `false` means nothing. Absent where
    /// none was sent, too.
    pub early_data_accepted: Option<bool>,
    /// Nothing in the hellos contradicts the session that the client wants to resume.
    pub early_data_consistent: Option<bool>,
    /// Application protocol of that session; empty: none.
    pub session_alpn: Option<String>,
    /// The handshake resumed a session.
    pub resumed: Option<bool>,
    /// Result of certificate verification, 0 for none or good: `X509_V_` of OpenSSL,
    /// `gnutls_certificate_status_t` of GnuTLS.
    pub verify_result: Option<u32>,
    /// Application protocol selected; empty: none.
    pub alpn: Option<String>,
    /// Attributed to this session only because the thread used it last.
    pub loose: bool,
}

/// A moment at which a library is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LibraryMoment {
    /// The function that shakes hands returned success.
    HandshakeReturned,
    /// The library recorded an error.
    Failed {
        /// Its number for it.
        reason: u32,
    },
    /// Go returned an error, from the handshake or after it.
    Returned(GoError),
    /// The session is being freed.
    Freed,
    /// GnuTLS or BoringSSL, or OpenSSL with the alert that it sends.
    Stated(Box<Statement>),
}

/// What GnuTLS, BoringSSL, or OpenSSL without symbols tells at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The function that shakes hands returned success.
    pub completed: bool,
    /// Its number for what went wrong; of GnuTLS without its sign.
    pub reason: Option<u32>,
    /// The fatal alert that the peer sent.
    pub alert_received: Option<u8>,
    /// The fatal alert that it sends.
    pub alert_sent: Option<u8>,
    /// What became of early data: `ssl_early_data_reason_t` of BoringSSL.
    pub early_data_reason: Option<u32>,
    /// Where ClientHello.random is among others, and its place not known: bytes that it is somewhere in.
    pub sample: Vec<u8>,
}

/// An error of Go's crypto/tls, as far as its type is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GoError {
    /// What it is.
    pub kind: GoErrorKind,
    /// Its text, or of a [`GoErrorKind::Hostname`] the name that was wanted; any bytes.
    pub text: Option<String>,
    /// The last alert that this end sent, `close_notify` aside.
    pub alert_sent: Option<u8>,
}

/// What a Go error is, whatever wraps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoErrorKind {
    /// The peer sent an alert, this one.
    Alert(u8),
    /// `x509.UnknownAuthorityError`.
    UnknownAuthority,
    /// `x509.CertificateInvalidError` with this `x509.InvalidReason`.
    CertificateInvalid(u32),
    /// `x509.HostnameError`.
    Hostname,
    /// Nothing but a text.
    Message,
    /// Reading or writing failed.
    Io,
    /// Anything else.
    Other,
}

/// A TLS library whose functions are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LibraryName {
    /// OpenSSL.
    Openssl,
    /// Go's crypto/tls.
    Go,
    /// GnuTLS.
    Gnutls,
    /// BoringSSL.
    Boringssl,
}

impl LibraryName {
    /// Stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Openssl => "openssl",
            Self::Go => "go",
            Self::Gnutls => "gnutls",
            Self::Boringssl => "boringssl",
        }
    }
}

impl EventKind {
    /// The task that was current, where the event has one.
    pub fn task_mut(&mut self) -> Option<&mut Task> {
        match self {
            Self::State(StateChange { socket, .. })
            | Self::Destroyed(socket)
            | Self::Existing { socket, .. } => Some(&mut socket.task),
            Self::ResetSent { task, .. } | Self::Function { task, .. } | Self::Held(task) => {
                Some(task)
            }
            Self::Segment(segment) => Some(&mut segment.task),
            Self::Library(said) => Some(&mut said.task),
            Self::Http2(said) => Some(&mut said.task),
            Self::ResetReceived
            | Self::SocketError { .. }
            | Self::Retransmit { .. }
            | Self::ListenOverflow { .. }
            | Self::Tail(_)
            | Self::Ended => None,
        }
    }
}

/// A change of TCP state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// State before.
    pub old: TcpState,
    /// State after.
    pub new: TcpState,
    /// The socket at that moment.
    pub socket: Socket,
}

/// A socket as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Inode of the network namespace; 0 unknown.
    pub netns: u32,
    /// Current task.
    pub task: Task,
    /// TCP counters, where they could be read.
    pub counters: Option<Counters>,
}

/// The task that was current when an event happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Process id; 0 is the idle task or unknown.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Inode of the cgroup v2 directory; 0 unknown.
    pub cgroup: u64,
    /// Process name as the kernel has it, up to 15 bytes of anything.
    pub comm: String,
    /// The task is on its way out (`PF_EXITING`).
    pub exiting: bool,
    /// The signal that killed the task, when it is exiting because of one.
    pub exit_signal: Option<u8>,
}

/// Counters of `struct tcp_sock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes the peer acknowledged.
    pub bytes_acked: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Next sequence number to be sent.
    pub snd_nxt: u32,
    /// First sequence number not acknowledged.
    pub snd_una: u32,
    /// Next sequence number expected.
    pub rcv_nxt: u32,
    /// First sequence number the application has not read.
    pub copied_seq: u32,
    /// Segments sent again.
    pub total_retrans: u32,
    /// Pending socket error, errno or 0.
    pub error: u32,
    /// `SO_LINGER` with time 0.
    pub linger_zero: bool,
}

/// Which end of the TCP connection, seen from the socket the events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The end whose socket this is.
    Local,
    /// The other end.
    Remote,
}

/// Who sent a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the local end (for captures: the first address of the pair) to the peer.
    Egress,
    /// From the peer.
    Ingress,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::Egress => Self::Ingress,
            Self::Ingress => Self::Egress,
        }
    }
}

/// A TCP segment, as far as it was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Who sent it.
    pub direction: Direction,
    /// Addresses, seen from the local end.
    pub local: SocketAddr,
    /// Addresses, seen from the local end.
    pub remote: SocketAddr,
    /// Sequence number of the first payload byte (of the SYN for a SYN).
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// TCP flags.
    pub flags: TcpFlags,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Payload bytes of the segment on the wire, captured or not.
    pub length: u32,
    /// The captured part of the payload, from its first byte.
    pub payload: Bytes,
    /// Task that sent it, where known.
    pub task: Task,
    /// The source stops capturing this direction here: its bound is reached.
    pub last: bool,
    /// Arrived at the listening socket, before the connection had its own: `connection` is the
    /// listener's, match by address.
    pub listener: bool,
}

/// TCP header flags (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;

    /// Whether any of the given flags is set.
    #[must_use]
    pub fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }
}

/// TCP state as the kernel numbers it (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TcpState(pub u8);

#[expect(missing_docs, reason = "RFC 9293 §3.3.2 names")]
impl TcpState {
    pub const ESTABLISHED: Self = Self(1);
    pub const SYN_SENT: Self = Self(2);
    pub const SYN_RECV: Self = Self(3);
    pub const FIN_WAIT1: Self = Self(4);
    pub const FIN_WAIT2: Self = Self(5);
    pub const TIME_WAIT: Self = Self(6);
    pub const CLOSE: Self = Self(7);
    pub const CLOSE_WAIT: Self = Self(8);
    pub const LAST_ACK: Self = Self(9);
    pub const LISTEN: Self = Self(10);
    pub const CLOSING: Self = Self(11);
    pub const NEW_SYN_RECV: Self = Self(12);
}

/// Why the kernel sent an RST: `enum sk_rst_reason`. Values below are those of Linux 6.12 and 6.18;
/// others keep their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResetReason(pub u32);

#[expect(missing_docs, reason = "names of include/net/rstreason.h")]
impl ResetReason {
    pub const NOT_SPECIFIED: Self = Self(0);
    pub const NO_SOCKET: Self = Self(1);
    pub const TCP_TIMEWAIT: Self = Self(9);
    pub const TCP_ABORT_ON_CLOSE: Self = Self(11);
    pub const TCP_ABORT_ON_LINGER: Self = Self(12);
    pub const TCP_ABORT_ON_MEMORY: Self = Self(13);
    pub const TCP_STATE: Self = Self(14);
    pub const TCP_KEEPALIVE_TIMEOUT: Self = Self(15);
    pub const TCP_DISCONNECT_WITH_DATA: Self = Self(16);
}

/// A kernel function seen by a kprobe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// `tcp_send_fin`.
    SendFin,
    /// `tcp_fin`.
    ReceiveFin,
    /// `tcp_reset`.
    ReceiveReset,
    /// `tcp_send_active_reset`.
    SendActiveReset,
    /// `tcp_v4_send_reset`, `tcp_v6_send_reset`.
    SendReset,
    /// `inet_csk_accept` returned to the recorded task.
    Accept,
}
