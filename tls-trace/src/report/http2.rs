//! What is known of HTTP/2 on a connection.

use serde::{Deserialize, Serialize};

use super::{Confidence, label::labels};

labels! {
    /// Error codes (RFC 9113 §7).
    pub enum H2Error {
        /// 0: nothing went wrong.
        NoError = "NO_ERROR",
        /// 1
        ProtocolError = "PROTOCOL_ERROR",
        /// 2
        InternalError = "INTERNAL_ERROR",
        /// 3
        FlowControlError = "FLOW_CONTROL_ERROR",
        /// 4
        SettingsTimeout = "SETTINGS_TIMEOUT",
        /// 5
        StreamClosed = "STREAM_CLOSED",
        /// 6
        FrameSizeError = "FRAME_SIZE_ERROR",
        /// 7
        RefusedStream = "REFUSED_STREAM",
        /// 8
        Cancel = "CANCEL",
        /// 9
        CompressionError = "COMPRESSION_ERROR",
        /// 10
        ConnectError = "CONNECT_ERROR",
        /// 11
        EnhanceYourCalm = "ENHANCE_YOUR_CALM",
        /// 12
        InadequateSecurity = "INADEQUATE_SECURITY",
        /// 13
        Http11Required = "HTTP_1_1_REQUIRED",
    }
}

impl H2Error {
    /// The code's name; absent where RFC 9113 has none.
    #[must_use]
    pub fn of(code: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Its number.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32
    }
}

labels! {
    /// An end by its role in TLS.
    pub enum Sender {
        /// The client.
        Client = "client",
        /// The server.
        Server = "server",
    }
}

/// HTTP/2, as far as it shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Http2 {
    /// GOAWAY frames, oldest first; no more than a few.
    pub goaways: Vec<GoAway>,
}

/// A GOAWAY frame (RFC 9113 §6.8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoAway {
    /// Milliseconds since the first event of the connection.
    pub at_ms: f64,
    /// Who sent it.
    pub from: Sender,
    /// Its error code.
    pub code: u32,
    /// Name of the code; absent where RFC 9113 has none.
    pub name: Option<H2Error>,
    /// Its text, shortened; any characters.
    pub debug: Option<String>,
    /// `certain`: a library says so. `likely`: by the sizes of records.
    pub confidence: Confidence,
}

labels! {
    /// Texts of GOAWAY frames that have a meaning of their own: values of the label `debug` of
    /// `tls_trace_h2_goaway_total`.
    pub enum GoAwayDebug {
        /// gRPC: the client's keepalive is too frequent.
        TooManyPings = "too_many_pings",
        /// gRPC: the connection is old (gRFC A9).
        MaxAge = "max_age",
        /// gRPC: the connection is not used (gRFC A9).
        MaxIdle = "max_idle",
        /// grpc-go: `GracefulStop`.
        GracefulStop = "graceful_stop",
        /// SETTINGS were not acknowledged.
        SettingsTimeout = "settings_timeout",
        /// grpc-go: the client's program or its keepalive closed.
        ClientShutdown = "client_transport_shutdown",
        /// No text.
        None = "none",
        /// All else.
        Other = "other",
    }
}

impl GoAwayDebug {
    /// The meaning of a GOAWAY's text.
    #[must_use]
    pub fn of(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::None,
            // C-core, in `max_connection_idle`.
            Some("connection idle") => Self::MaxIdle,
            Some("client transport shutdown") => Self::ClientShutdown,
            Some(text) => text
                .parse()
                .ok()
                .filter(|known| *known != Self::None)
                .unwrap_or(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        assert_eq!(H2Error::of(0), Some(H2Error::NoError));
        assert_eq!(H2Error::of(11), Some(H2Error::EnhanceYourCalm));
        assert_eq!(H2Error::of(13), Some(H2Error::Http11Required));
        assert_eq!(H2Error::of(14), None);
        assert_eq!(H2Error::of(u32::MAX), None);
        assert_eq!(H2Error::EnhanceYourCalm.code(), 11);
    }

    #[test]
    fn strangers_cannot_make_labels() {
        assert_eq!(
            GoAwayDebug::of(Some("max_age")).label(),
            GoAwayDebug::MaxAge.label()
        );
        assert_eq!(
            GoAwayDebug::of(Some("connection idle")),
            GoAwayDebug::MaxIdle
        );
        assert_eq!(GoAwayDebug::of(Some("none")), GoAwayDebug::Other);
        assert_eq!(GoAwayDebug::of(Some("\u{1b}[31m")), GoAwayDebug::Other);
        assert_eq!(GoAwayDebug::of(None), GoAwayDebug::None);
    }
}
