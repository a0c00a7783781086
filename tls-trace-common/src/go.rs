//! What Go programs are asked: their TLS, their HTTP/2, and where their fields are.

#[cfg(doc)]
use crate::{FIELD_SERVER, FIELD_VERSION, Kind, LibraryMoment, NO_DETAIL, UNAVAILABLE};
use crate::{Header, Task};

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
