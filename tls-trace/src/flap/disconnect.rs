//! `grpc.disconnect_error` of gRFC A94: why a gRPC subchannel lost its connection, in gRPC's words.

use serde::{Deserialize, Serialize};

use super::forced::offers_only_h2;
use crate::report::{Cause, CloseKind, Initiator, Phase, Report};

/// Value of the label `grpc.disconnect_error` (gRFC A94). Where several fit, the first in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disconnect {
    /// The client's program closed the connection.
    #[serde(rename = "subchannel shutdown")]
    SubchannelShutdown,
    /// RST from the peer, `ECONNRESET`.
    #[serde(rename = "connection reset")]
    ConnectionReset,
    /// `ETIMEDOUT`.
    #[serde(rename = "connection timed out")]
    ConnectionTimedOut,
    /// `ECONNABORTED`.
    #[serde(rename = "connection aborted")]
    ConnectionAborted,
    /// Another error of the socket.
    #[serde(rename = "socket error")]
    SocketError,
    /// All else.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Disconnect {
    /// What gRPC would say of this end.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let errno = report.tcp.errno.and_then(|errno| i32::try_from(errno).ok());
        match (errno, report.tcp.close_kind) {
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

    /// The label's value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::SubchannelShutdown => "subchannel shutdown",
            Self::ConnectionReset => "connection reset",
            Self::ConnectionTimedOut => "connection timed out",
            Self::ConnectionAborted => "connection aborted",
            Self::SocketError => "socket error",
            Self::Unknown => "unknown",
        }
    }
}
