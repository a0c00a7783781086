//! Label values from closed sets: whatever comes in, one of these comes out.

use crate::{
    engine::Handshake,
    event::{End, EventKind, ResetReason},
    report::{GrpcResult, Role, Tcp},
};

/// Takes what its set does not have.
pub const OTHER: &str = "other";
/// Nothing to name.
pub const NONE: &str = "none";

/// Protocol versions as in [`crate::report::Report::version`].
pub const VERSIONS: [&str; 5] = ["TLS 1.3", "TLS 1.2", "TLS 1.1", "TLS 1.0", "SSL 3.0"];

/// Negotiated version; [`NONE`] where none was.
pub fn version(version: Option<&str>) -> &'static str {
    version.map_or(NONE, |version| member(&VERSIONS, version))
}

/// What gRPC would say; [`NONE`] where it would say nothing, or that is not known.
pub fn grpc_result(handshake: &Handshake) -> &'static str {
    GrpcResult::of(
        handshake.role,
        handshake.outcome,
        handshake.phase,
        handshake.cause,
        handshake.initiator,
    )
    .map_or(NONE, GrpcResult::label)
}

/// Application protocols counted by name.
pub const PROTOCOLS: [&str; 7] = [
    "h2",
    "http/1.1",
    "http/1.0",
    "grpc-exp",
    "acme-tls/1",
    "mqtt",
    "postgresql",
];

/// Each protocol of an ALPN offer once; [`NONE`] for an offer of none.
pub fn protocols(offered: &[String]) -> Vec<&'static str> {
    if offered.is_empty() {
        return vec![NONE];
    }
    let mut labels: Vec<_> = offered
        .iter()
        .map(|protocol| member(&PROTOCOLS, protocol))
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// Why TCP ended: the kernel's reason for the RST it sent, else the error the application saw.
pub fn close_reason(tcp: &Tcp) -> &'static str {
    match (tcp.reset_reason, tcp.errno) {
        (Some(reason), _) => reset_reason(reason),
        (None, Some(errno)) => errno_name(errno),
        (None, None) => NONE,
    }
}

/// Names of include/net/rstreason.h without their prefix.
fn reset_reason(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::NOT_SPECIFIED => "not_specified",
        ResetReason::NO_SOCKET => "no_socket",
        ResetReason::TCP_TIMEWAIT => "tcp_timewait_socket",
        ResetReason::TCP_ABORT_ON_CLOSE => "tcp_abort_on_close",
        ResetReason::TCP_ABORT_ON_LINGER => "tcp_abort_on_linger",
        ResetReason::TCP_ABORT_ON_MEMORY => "tcp_abort_on_memory",
        ResetReason::TCP_STATE => "tcp_state",
        ResetReason::TCP_KEEPALIVE_TIMEOUT => "tcp_keepalive_timeout",
        ResetReason::TCP_DISCONNECT_WITH_DATA => "tcp_disconnect_with_data",
        _ => OTHER,
    }
}

fn errno_name(errno: u32) -> &'static str {
    match i32::try_from(errno).unwrap_or(0) {
        libc::EPIPE => "epipe",
        libc::ENETUNREACH => "enetunreach",
        libc::ECONNABORTED => "econnaborted",
        libc::ECONNRESET => "econnreset",
        libc::ETIMEDOUT => "etimedout",
        libc::ECONNREFUSED => "econnrefused",
        libc::EHOSTUNREACH => "ehostunreach",
        _ => OTHER,
    }
}

/// Which end closed first, by its role.
pub fn closed_by(role: Role, closed_by: Option<End>) -> &'static str {
    match (role, closed_by) {
        (Role::Client, Some(End::Local)) | (Role::Server, Some(End::Remote)) => "client",
        (Role::Server, Some(End::Local)) | (Role::Client, Some(End::Remote)) => "server",
        (Role::Observer, _) | (_, None) => "unknown",
    }
}

/// Kind of an event.
pub fn event(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::State(_) => "state",
        EventKind::Destroyed(_) => "destroyed",
        EventKind::ResetSent { .. } => "reset_sent",
        EventKind::ResetReceived => "reset_received",
        EventKind::SocketError { .. } => "socket_error",
        EventKind::Retransmit { .. } => "retransmit",
        EventKind::ListenOverflow { .. } => "listen_overflow",
        EventKind::Function { .. } => "function",
        EventKind::Segment(_) => "segment",
        EventKind::Existing { .. } => "existing",
        EventKind::Ended => "ended",
        EventKind::Library(_) => "library",
        EventKind::Http2(_) => "http2",
        EventKind::Held(_) => "held",
        EventKind::Tail(_) => "tail",
    }
}

fn member<const N: usize>(set: &[&'static str; N], value: &str) -> &'static str {
    set.iter()
        .find(|known| **known == value)
        .copied()
        .unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CloseKind;

    #[test]
    fn strangers_cannot_make_labels() {
        assert_eq!(version(Some("TLS 1.2")), "TLS 1.2");
        assert_eq!(version(Some("0x7f1c")), OTHER);
        assert_eq!(version(None), NONE);
        let offer = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            protocols(&names)
        };
        assert_eq!(offer(&[]), [NONE]);
        assert_eq!(offer(&["h2", "http/1.1"]), ["h2", "http/1.1"]);
        assert_eq!(offer(&["\u{1b}[31m", "h2", "x", "h2", ""]), ["h2", OTHER]);
    }

    #[test]
    fn the_kernels_reason_comes_before_the_error() {
        let mut tcp = Tcp {
            opened_by: None,
            closed_by: None,
            close_kind: CloseKind::Reset,
            reset_reason: Some(ResetReason::TCP_ABORT_ON_LINGER),
            errno: Some(104),
            retransmits: 0,
            client_hello_retransmits: 0,
        };
        assert_eq!(close_reason(&tcp), "tcp_abort_on_linger");
        tcp.reset_reason = Some(ResetReason(4711));
        assert_eq!(close_reason(&tcp), OTHER);
        tcp.reset_reason = None;
        assert_eq!(close_reason(&tcp), "econnreset");
        tcp.errno = Some(u32::MAX);
        assert_eq!(close_reason(&tcp), OTHER);
        tcp.errno = None;
        assert_eq!(close_reason(&tcp), NONE);
    }
}
