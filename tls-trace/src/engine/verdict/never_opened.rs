//! TCP did not open.

use super::{Case, Judgement};
use crate::{
    engine::close::errno,
    event::{End, TcpState},
    report::{Cause, Confidence, Initiator, Outcome, Phase},
};

/// Judges an attempt to connect. An attempt of the peer's that came to nothing is the peer's.
pub(super) fn judge(case: &Case) -> Option<Judgement> {
    let tcp = &case.connection.tcp;
    if tcp.opened_by != Some(End::Local) {
        return None;
    }
    let ending = case.connection.ending.as_deref()?;
    let code = ending.error.map(|(_, code)| code);
    let refused = ending.reset_received.is_some() || code == Some(errno::ECONNREFUSED);
    let closed = ending
        .closed
        .as_ref()
        .filter(|closed| closed.from == TcpState::SYN_SENT);
    let unanswered = tcp.syn_retransmits > 0;
    let overflow = (Initiator::ServerKernel, Cause::ListenOverflow);
    let (initiator, why) = match (code, closed) {
        _ if refused => (Initiator::ServerKernel, Cause::ConnectRefused),
        (Some(errno::ETIMEDOUT), _) if case.overflow => overflow,
        (Some(errno::ETIMEDOUT), _) => (Initiator::ClientKernel, Cause::ConnectTimeout),
        (Some(errno::ECONNABORTED), _) => (Initiator::ClientKernel, Cause::AbortedByAdmin),
        (Some(code), _) if errno::is_unreachable(code) => (Initiator::Network, Cause::Unreachable),
        (_, Some(closed)) if closed.signal.is_some() => {
            (Initiator::ClientApp, Cause::ProcessKilled)
        }
        (_, Some(_)) if case.overflow => overflow,
        (_, Some(_)) if unanswered => (Initiator::ClientApp, Cause::ConnectTimeout),
        (_, Some(_)) => (Initiator::ClientApp, Cause::ConnectCancelled),
        // A capture that shows SYNs and no answer.
        _ if ending.ended && unanswered => (Initiator::Unknown, Cause::ConnectTimeout),
        _ => return None,
    };
    Some(Judgement {
        outcome: Outcome::Failed,
        phase: Phase::Connect,
        initiator,
        cause: why,
        confidence: if initiator == Initiator::Unknown {
            Confidence::Likely
        } else {
            Confidence::Certain
        },
    })
}
