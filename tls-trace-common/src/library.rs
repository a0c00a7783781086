//! What TLS libraries written in C are asked, and where their fields are.

use crate::{Header, Task};
#[cfg(doc)]
use crate::{Kind, NO_DETAIL};

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
