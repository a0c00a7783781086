//! Who ended TCP, and how: the kernel's events read together, because their order is not the order of
//! causes. An RST is reported after the state change it belongs to and, on loopback, even after the
//! peer's; the current task at an event of the peer's making is the sender's, not the owner's.

use super::transport::{Ending, LocalClose, Transport};
use crate::{
    event::{Direction, End, ResetReason, TcpState, Timestamp},
    report::{Cause, CloseKind, Confidence},
};

/// Which layer of an end acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    App,
    Kernel,
    /// Neither end.
    Network,
    Unknown,
}

/// How TCP ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Close {
    /// The end that acted first; absent while it is open.
    pub(super) by: Option<End>,
    pub(super) layer: Layer,
    pub(super) cause: Cause,
    pub(super) kind: CloseKind,
    pub(super) confidence: Confidence,
    /// When the first act happened.
    pub(super) at: Option<Timestamp>,
    /// It began with a FIN: what followed lost nothing that was still wanted.
    pub(super) fin_first: bool,
}

/// What the other socket of the same connection did, where it is on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each seen or not"
)]
pub(super) struct PeerEnd {
    /// There is one, and the kernel tells of it.
    pub(super) known: bool,
    pub(super) reset_sent: Option<Timestamp>,
    /// When it closed of its own accord.
    pub(super) closed: Option<Timestamp>,
    /// Its process was killed.
    pub(super) killed: bool,
    /// Its kernel ended it: a timer, an administrator.
    pub(super) by_kernel: bool,
    /// It sent a ClientHello.
    pub(super) hello: bool,
    /// It sent payload, whether or not that arrived.
    pub(super) spoke: bool,
    /// Bytes its process had not read when it closed.
    pub(super) unread: u32,
}

impl PeerEnd {
    /// Whether it may have sent the RST that was taken at `at`. The kernel says that an RST was sent
    /// only after it is on its way, on loopback after it arrived.
    fn may_have_reset(&self, at: Timestamp) -> bool {
        // Long, for hosts whose CPUs are taken away from them in between.
        const REPORTING_LAG: u64 = 250_000_000;
        let sent = |sent: Timestamp| sent.0 <= at.0.saturating_add(REPORTING_LAG);
        self.reset_sent.is_some_and(sent) || self.closed.is_some_and(|closed| closed <= at)
    }
}

/// What this socket did, for the judgement of the other.
pub(super) fn as_peer(tcp: &Transport, ending: Option<&Ending>, hello: bool) -> PeerEnd {
    let known = tcp.kernel;
    let Some(ending) = ending else {
        return PeerEnd {
            known,
            hello,
            spoke: tcp.egress.payload,
            ..PeerEnd::default()
        };
    };
    let local_reset = local_reset(ending, reset_received(ending));
    let close = ending.local_fin.as_ref().or(local_reset);
    PeerEnd {
        known,
        hello,
        spoke: tcp.egress.payload,
        reset_sent: ending.reset_sent.map(|(at, _)| at),
        closed: close.map(|close| close.at),
        killed: close.is_some_and(|close| close.signal.is_some()),
        unread: unread(ending),
        by_kernel: ending
            .error
            .is_some_and(|(_, code)| matches!(code, errno::ETIMEDOUT | errno::ECONNABORTED)),
    }
}

/// Bytes this end's process had not read when its socket was closed.
pub(super) fn unread(ending: &Ending) -> u32 {
    let fin_received = ending.remote_fin.is_some();
    let closed = ending.closed.as_ref();
    closed.map_or(0, |close| close.unread(fin_received))
}

const OPEN: Close = Close {
    by: None,
    layer: Layer::Unknown,
    cause: Cause::None,
    kind: CloseKind::Open,
    confidence: Confidence::Certain,
    at: None,
    fin_first: false,
};

/// errno values (include/uapi/asm-generic/errno*.h).
pub(super) mod errno {
    pub(crate) const EPIPE: u32 = 32;
    pub(crate) const ECONNABORTED: u32 = 103;
    pub(crate) const ECONNRESET: u32 = 104;
    pub(crate) const ETIMEDOUT: u32 = 110;
    pub(crate) const ECONNREFUSED: u32 = 111;

    /// Errors that an ICMP message or a missing route leaves (`icmp_err_convert`, net/ipv4/icmp.c):
    /// EACCES, EPROTO, ENONET, EOPNOTSUPP, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH.
    pub(crate) fn is_unreachable(errno: u32) -> bool {
        matches!(errno, 13 | 64 | 71 | 95 | 100 | 101 | 112 | 113)
    }
}

/// Classifies the end of a connection that was open.
pub(super) fn classify(tcp: &Transport, ending: &Ending, peer: PeerEnd) -> Close {
    let reset_received = reset_received(ending);
    let local_fin = ending.local_fin.as_ref();
    let local_reset = local_reset(ending, reset_received);
    let remote_first =
        |at: Timestamp| earlier(ending.remote_fin, at) || earlier(reset_received, at);

    if let Some(close) = local_fin
        .or(local_reset)
        .filter(|close| close.signal.is_some() && !remote_first(close.at))
    {
        let kind = if local_fin.is_some() {
            CloseKind::Fin
        } else {
            CloseKind::Reset
        };
        return Close {
            fin_first: local_fin.is_some(),
            ..local(Layer::App, Cause::ProcessKilled, kind, close.at)
        };
    }
    if let Some((at, code)) = ending.error {
        if let Some(close) = by_error(tcp, ending, at, code) {
            return close;
        }
    }
    if let Some(close) = orphan_gave_up(ending, tcp, reset_received) {
        return close;
    }
    first_act(tcp, ending, peer, reset_received, local_reset)
}

/// The RST the peer sent, also where only its error was seen.
pub(super) fn reset_received(ending: &Ending) -> Option<Timestamp> {
    ending.reset_received.or_else(|| {
        ending.error.and_then(|(at, code)| {
            let by_reset = matches!(code, errno::ECONNRESET | errno::EPIPE);
            (by_reset && ending.reset_sent.is_none()).then_some(at)
        })
    })
}

/// The transition to CLOSE, when nothing from outside explains it.
fn local_reset(ending: &Ending, reset_received: Option<Timestamp>) -> Option<&LocalClose> {
    let outside = ending.error.is_some_and(|(_, code)| {
        matches!(code, errno::ETIMEDOUT | errno::ECONNABORTED) || errno::is_unreachable(code)
    });
    ending.closed.as_ref().filter(|close| {
        reset_received.is_none()
            && !outside
            && matches!(
                close.from,
                TcpState::ESTABLISHED | TcpState::SYN_RECV | TcpState::CLOSE_WAIT
            )
    })
}

fn by_error(tcp: &Transport, ending: &Ending, at: Timestamp, code: u32) -> Option<Close> {
    match code {
        errno::ECONNABORTED => Some(local(
            Layer::Kernel,
            Cause::AbortedByAdmin,
            CloseKind::Reset,
            at,
        )),
        errno::ETIMEDOUT => Some(local(
            Layer::Kernel,
            timeout_cause(tcp, ending),
            CloseKind::Timeout,
            at,
        )),
        // `tcp_write_err` (net/ipv4/tcp_timer.c) prefers what ICMP said over ETIMEDOUT.
        code if errno::is_unreachable(code) => Some(local(
            Layer::Network,
            Cause::Unreachable,
            CloseKind::Timeout,
            at,
        )),
        _ => None,
    }
}

/// Keepalive resets the connection before it gives up (`tcp_keepalive_timer`), other timers do not. Only
/// kernels from 6.10 on give a reason; before, nothing outstanding tells the two apart.
fn timeout_cause(tcp: &Transport, ending: &Ending) -> Cause {
    let outstanding = ending
        .counters
        .is_some_and(|counters| counters.snd_una != counters.snd_nxt);
    match ending.reset_sent {
        Some((_, Some(ResetReason::TCP_KEEPALIVE_TIMEOUT))) => Cause::KeepaliveTimeout,
        Some((_, None)) if !outstanding => Cause::KeepaliveTimeout,
        None if !outstanding && ending.counters.is_some() && tcp.retransmits == 0 => {
            Cause::KeepaliveTimeout
        }
        _ => Cause::RetransmitTimeout,
    }
}

/// `FIN_WAIT1` → `CLOSE` with neither RST nor error: the FIN was sent again until the kernel had enough.
fn orphan_gave_up(
    ending: &Ending,
    tcp: &Transport,
    reset_received: Option<Timestamp>,
) -> Option<Close> {
    let closed = ending.closed.as_ref()?;
    let silent = reset_received.is_none() && ending.reset_sent.is_none() && ending.error.is_none();
    let unacknowledged = closed.counters.is_none_or(|c| c.snd_una != c.snd_nxt);
    (matches!(closed.from, TcpState::FIN_WAIT1) && silent && unacknowledged && tcp.retransmits > 0)
        .then(|| {
            local(
                Layer::Kernel,
                Cause::RetransmitTimeout,
                CloseKind::Timeout,
                closed.at,
            )
        })
}

fn first_act(
    tcp: &Transport,
    ending: &Ending,
    peer: PeerEnd,
    reset_received: Option<Timestamp>,
    local_reset: Option<&LocalClose>,
) -> Close {
    let local_fin = ending.local_fin.as_ref().map(|close| close.at);
    let acts = [
        local_fin.map(|at| (at, Act::LocalFin)),
        ending.remote_fin.map(|at| (at, Act::RemoteFin)),
        reset_received.map(|at| (at, Act::RemoteReset)),
        local_reset.map(|close| (close.at, Act::LocalReset)),
    ];
    let Some((at, act)) = acts.into_iter().flatten().min_by_key(|(at, _)| *at) else {
        return without_act(ending);
    };
    let any_reset = reset_received.is_some() || ending.reset_sent.is_some();
    let both_fins = local_fin.is_some() && ending.remote_fin.is_some();
    let fin_kind = if any_reset && !both_fins {
        CloseKind::Reset
    } else {
        CloseKind::Fin
    };
    match act {
        Act::LocalFin => Close {
            fin_first: true,
            ..local(Layer::App, Cause::ClosedByApp, fin_kind, at)
        },
        Act::RemoteFin => Close {
            fin_first: true,
            ..remote(Layer::App, Cause::ClosedByPeer, fin_kind, at)
        },
        Act::RemoteReset => peer_reset(tcp, ending, peer, at),
        Act::LocalReset => {
            let (layer, cause) = local_reset_cause(tcp, ending, local_reset);
            local(layer, cause, CloseKind::Reset, at)
        }
    }
}

enum Act {
    LocalFin,
    RemoteFin,
    RemoteReset,
    LocalReset,
}

/// Nothing says who closed: still open, or the events that would say so are missing.
fn without_act(ending: &Ending) -> Close {
    match &ending.closed {
        Some(closed) => Close {
            kind: CloseKind::Fin,
            cause: Cause::Unknown,
            confidence: Confidence::Unknown,
            at: Some(closed.at),
            ..OPEN
        },
        None => OPEN,
    }
}

/// An RST made by something between the ends shows a TTL of its own, or a peer that never sent one.
fn peer_reset(tcp: &Transport, ending: &Ending, peer: PeerEnd, at: Timestamp) -> Close {
    let foreign_ttl = ending
        .reset_ttl
        .is_some_and(|ttl| tcp.peer_ttl != 0 && ttl != tcp.peer_ttl);
    let close = remote(Layer::App, Cause::ResetByPeer, CloseKind::Reset, at);
    let injected = Close {
        layer: Layer::Network,
        cause: Cause::ResetInjected,
        ..close
    };
    match (peer.known, peer.may_have_reset(at)) {
        (true, false) => injected,
        (true, true) if peer.by_kernel => Close {
            layer: Layer::Kernel,
            ..close
        },
        (false, _) if foreign_ttl => Close {
            confidence: Confidence::Likely,
            ..injected
        },
        _ => close,
    }
}

/// The kernel's reason, or on kernels without reasons what the counters leave as the only one. The
/// kernel looks at unread data before `SO_LINGER` (`__tcp_close`, net/ipv4/tcp.c).
fn local_reset_cause(
    tcp: &Transport,
    ending: &Ending,
    closed: Option<&LocalClose>,
) -> (Layer, Cause) {
    let linger = closed
        .and_then(|close| close.counters)
        .is_some_and(|counters| counters.linger_zero);
    let unread = unread(ending);
    let queued = tcp.opened_by == Some(End::Remote) && !tcp.accepted;
    let reason = ending.reset_sent.and_then(|(_, reason)| reason);
    match reason {
        Some(ResetReason::TCP_KEEPALIVE_TIMEOUT) => (Layer::Kernel, Cause::KeepaliveTimeout),
        Some(ResetReason::TCP_ABORT_ON_CLOSE) => (Layer::App, Cause::ResetUnreadData),
        Some(ResetReason::TCP_ABORT_ON_LINGER) => (Layer::App, Cause::ResetLinger),
        Some(ResetReason::TCP_ABORT_ON_MEMORY) => (Layer::Kernel, Cause::Unknown),
        Some(ResetReason::TCP_STATE) if queued && !linger => (Layer::App, Cause::ListenerClosed),
        None if queued && tcp.accepts_visible && !linger && never_read(tcp, closed) => {
            (Layer::App, Cause::ListenerClosed)
        }
        None if unread > 0 => (Layer::App, Cause::ResetUnreadData),
        None | Some(ResetReason::TCP_STATE) if linger => (Layer::App, Cause::ResetLinger),
        _ => (Layer::App, Cause::ClosedByApp),
    }
}

/// Nobody read a byte, though bytes may have come.
fn never_read(tcp: &Transport, closed: Option<&LocalClose>) -> bool {
    closed
        .and_then(|close| close.counters)
        .zip(tcp.stream(Direction::Ingress).base())
        .is_some_and(|(counters, base)| counters.copied_seq == base)
}

fn earlier(a: Option<Timestamp>, b: Timestamp) -> bool {
    a.is_some_and(|a| a < b)
}

fn local(layer: Layer, cause: Cause, kind: CloseKind, at: Timestamp) -> Close {
    Close {
        by: Some(End::Local),
        layer,
        cause,
        kind,
        confidence: Confidence::Certain,
        at: Some(at),
        fin_first: false,
    }
}

fn remote(layer: Layer, cause: Cause, kind: CloseKind, at: Timestamp) -> Close {
    Close {
        by: Some(End::Remote),
        ..local(layer, cause, kind, at)
    }
}
