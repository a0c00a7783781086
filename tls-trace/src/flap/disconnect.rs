//! `grpc.disconnect_error` of gRFC A94: why a gRPC subchannel lost its connection, in gRPC's words.

use super::forced::offers_only_h2;
use crate::report::{Cause, CloseKind, H2Error, Initiator, Phase, Report, Sender, label::labels};

labels! {
    /// Value of the label `grpc.disconnect_error` (gRFC A94). Where several fit, the first in time.
    pub enum Disconnect {
        /// The client's program closed the connection.
        SubchannelShutdown = "subchannel shutdown",
        /// RST from the peer, `ECONNRESET`.
        ConnectionReset = "connection reset",
        /// `ETIMEDOUT`, or an HTTP/2 keepalive that was not answered.
        ConnectionTimedOut = "connection timed out",
        /// `ECONNABORTED`.
        ConnectionAborted = "connection aborted",
        /// Another error of the socket.
        SocketError = "socket error",
        /// All else.
        Unknown = "unknown",
        /// The server's GOAWAY with this code.
        GoAwayNoError = "GOAWAY NO_ERROR",
        /// The server's GOAWAY with this code.
        GoAwayProtocolError = "GOAWAY PROTOCOL_ERROR",
        /// The server's GOAWAY with this code.
        GoAwayInternalError = "GOAWAY INTERNAL_ERROR",
        /// The server's GOAWAY with this code.
        GoAwayFlowControlError = "GOAWAY FLOW_CONTROL_ERROR",
        /// The server's GOAWAY with this code.
        GoAwaySettingsTimeout = "GOAWAY SETTINGS_TIMEOUT",
        /// The server's GOAWAY with this code.
        GoAwayStreamClosed = "GOAWAY STREAM_CLOSED",
        /// The server's GOAWAY with this code.
        GoAwayFrameSizeError = "GOAWAY FRAME_SIZE_ERROR",
        /// The server's GOAWAY with this code.
        GoAwayRefusedStream = "GOAWAY REFUSED_STREAM",
        /// The server's GOAWAY with this code.
        GoAwayCancel = "GOAWAY CANCEL",
        /// The server's GOAWAY with this code.
        GoAwayCompressionError = "GOAWAY COMPRESSION_ERROR",
        /// The server's GOAWAY with this code.
        GoAwayConnectError = "GOAWAY CONNECT_ERROR",
        /// The server's GOAWAY with this code.
        GoAwayEnhanceYourCalm = "GOAWAY ENHANCE_YOUR_CALM",
        /// The server's GOAWAY with this code.
        GoAwayInadequateSecurity = "GOAWAY INADEQUATE_SECURITY",
        /// The server's GOAWAY with this code.
        GoAwayHttp11Required = "GOAWAY HTTP_1_1_REQUIRED",
    }
}

impl Disconnect {
    /// What gRPC would say of this end.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let errno = report.tcp.errno.and_then(|errno| i32::try_from(errno).ok());
        if let Some(error) = goaway(report) {
            return Self::of_goaway(error);
        }
        match (errno, report.tcp.close_kind) {
            _ if report.verdict.cause == Cause::H2PingTimeout => Self::ConnectionTimedOut,
            (Some(libc::ECONNRESET | libc::EPIPE), _) => Self::ConnectionReset,
            (Some(libc::ETIMEDOUT), _) | (None, CloseKind::Timeout) => Self::ConnectionTimedOut,
            (Some(libc::ECONNABORTED), _) => Self::ConnectionAborted,
            (Some(_), _) => Self::SocketError,
            (None, CloseKind::Reset) if report.verdict.cause == Cause::ResetByPeer => {
                Self::ConnectionReset
            }
            _ if report.verdict.initiator == Initiator::ClientApp => Self::SubchannelShutdown,
            _ => Self::Unknown,
        }
    }

    /// [`Disconnect::of`] a connection that lost its state READY: one that completed its handshake
    /// and had offered nothing but HTTP/2, as gRPC does.
    #[must_use]
    pub fn of_grpc(report: &Report) -> Option<Self> {
        let ended = report.tcp.close_kind != CloseKind::Open;
        let ready = report.verdict.phase >= Phase::Finished;
        (ended && ready && offers_only_h2(report)).then(|| Self::of(report))
    }

    fn of_goaway(error: H2Error) -> Self {
        match error {
            H2Error::NoError => Self::GoAwayNoError,
            H2Error::ProtocolError => Self::GoAwayProtocolError,
            H2Error::InternalError => Self::GoAwayInternalError,
            H2Error::FlowControlError => Self::GoAwayFlowControlError,
            H2Error::SettingsTimeout => Self::GoAwaySettingsTimeout,
            H2Error::StreamClosed => Self::GoAwayStreamClosed,
            H2Error::FrameSizeError => Self::GoAwayFrameSizeError,
            H2Error::RefusedStream => Self::GoAwayRefusedStream,
            H2Error::Cancel => Self::GoAwayCancel,
            H2Error::CompressionError => Self::GoAwayCompressionError,
            H2Error::ConnectError => Self::GoAwayConnectError,
            H2Error::EnhanceYourCalm => Self::GoAwayEnhanceYourCalm,
            H2Error::InadequateSecurity => Self::GoAwayInadequateSecurity,
            H2Error::Http11Required => Self::GoAwayHttp11Required,
        }
    }
}

/// The first GOAWAY of the server: gRPC's clients take what they hear first for the reason.
fn goaway(report: &Report) -> Option<H2Error> {
    let mut goaways = report.http2.as_ref()?.goaways.iter();
    goaways.find(|goaway| goaway.from == Sender::Server)?.name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_value() {
        for error in H2Error::ALL {
            let label = Disconnect::of_goaway(*error).label();
            assert_eq!(label, format!("GOAWAY {error}"));
        }
    }
}
