//! A connection judged twice: by the kernel's events at its ends, and by its packets alone. Both have to say the
//! same, but for what packets cannot show.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use anyhow::{Result, ensure};
use tls_trace::report::{Cause, Confidence, Initiator, Outcome, Phase, Report, Role, Verdict};

use crate::expect::describe;

/// What only one of the two can see. The phase is always the same.
struct Difference {
    live: Cause,
    /// What the packets look like.
    captured: Cause,
    /// The rest of that verdict where it differs.
    outcome: Option<Outcome>,
    initiator: Option<Initiator>,
    confidence: Option<Confidence>,
    /// Why packets cannot say more.
    why: &'static str,
}

const KILLED: &str = "a signal is no packet: the kernel closes for the dead as the living do";
const KEEPALIVE: &str = "a kernel that gives up sends the RST that any other reason has";
const HIDDEN: &str = "TLS 1.3 hides that no protocol was selected";
const GAVE_UP: &str = "a kernel that gives up sends nothing; the end that is left closes some time";

const DIFFERENCES: &[Difference] = &[
    Difference::new(Cause::ProcessKilled, Cause::ClosedByApp, KILLED),
    Difference::new(Cause::ProcessKilled, Cause::ClosedByPeer, KILLED),
    Difference::new(Cause::ProcessKilled, Cause::ServerSilent, KILLED),
    Difference::new(Cause::ProcessKilled, Cause::None, KILLED).outcome(Outcome::Established),
    Difference::new(
        Cause::AbortedByAdmin,
        Cause::ClosedByApp,
        "the RST of `ss -K` is like any other",
    )
    .initiator(Initiator::ClientApp),
    Difference::new(
        Cause::ResetLinger,
        Cause::ClosedByApp,
        "an RST does not say that SO_LINGER was 0",
    ),
    Difference::new(Cause::AlpnRejectedByApp, Cause::ClosedByApp, HIDDEN).certain(),
    Difference::new(Cause::AlpnRejectedByApp, Cause::None, HIDDEN)
        .outcome(Outcome::Established)
        .certain(),
    Difference::new(
        Cause::ResetUnreadData,
        Cause::ClosedByApp,
        "what an application has read is not in the packets",
    ),
    Difference::new(Cause::KeepaliveTimeout, Cause::ResetByPeer, KEEPALIVE)
        .initiator(Initiator::ServerApp),
    Difference::new(Cause::RetransmitTimeout, Cause::ClosedByApp, GAVE_UP)
        .initiator(Initiator::ClientApp),
    Difference::new(Cause::RetransmitTimeout, Cause::None, GAVE_UP)
        .outcome(Outcome::Established)
        .initiator(Initiator::ServerApp),
    Difference::new(
        Cause::ClientHelloLost,
        Cause::ClosedByPeer,
        "captured before it was lost; a kernel that gives up sends nothing",
    )
    .initiator(Initiator::ServerApp),
    Difference::new(
        Cause::ResetInjected,
        Cause::ResetByPeer,
        "that the peer's socket sent no RST only its own host knows",
    )
    .initiator(Initiator::ServerApp),
    Difference::new(
        Cause::ConnectTimeout,
        Cause::ConnectTimeout,
        "that the kernel stopped trying is not in the packets",
    )
    .initiator(Initiator::Unknown)
    .likely(),
    Difference::new(
        Cause::Unreachable,
        Cause::ConnectTimeout,
        "the answer was ICMP, not TCP",
    )
    .initiator(Initiator::Unknown)
    .likely(),
];

impl Difference {
    /// Of the cause alone.
    const fn new(live: Cause, captured: Cause, why: &'static str) -> Self {
        Self {
            live,
            captured,
            outcome: None,
            initiator: None,
            confidence: None,
            why,
        }
    }

    const fn outcome(self, outcome: Outcome) -> Self {
        Self {
            outcome: Some(outcome),
            ..self
        }
    }

    const fn initiator(self, initiator: Initiator) -> Self {
        Self {
            initiator: Some(initiator),
            ..self
        }
    }

    const fn certain(self) -> Self {
        Self {
            confidence: Some(Confidence::Certain),
            ..self
        }
    }

    const fn likely(self) -> Self {
        Self {
            confidence: Some(Confidence::Likely),
            ..self
        }
    }

    fn explains(&self, live: &Verdict, captured: &Verdict) -> bool {
        let expected = (
            self.captured,
            self.outcome.unwrap_or(live.outcome),
            self.initiator.unwrap_or(live.initiator),
            self.confidence.unwrap_or(live.confidence),
            live.phase,
        );
        self.live == live.cause && expected == fields(captured)
    }
}

/// A verdict without its evidence.
pub type Fields = (Cause, Outcome, Initiator, Confidence, Phase);

/// Everything but the evidence.
#[must_use]
pub fn fields(verdict: &Verdict) -> Fields {
    (
        verdict.cause,
        verdict.outcome,
        verdict.initiator,
        verdict.confidence,
        verdict.phase,
    )
}

/// What ends without a packet to tell TLS by, so that a capture says nothing of it.
const UNSEEN: &[(Cause, &str)] = &[
    (
        Cause::ListenOverflow,
        "a SYN without an answer, and no second one",
    ),
    (
        Cause::ConnectCancelled,
        "a SYN without an answer, and no second one",
    ),
    (
        Cause::Unreachable,
        "nothing was sent: the neighbour is silent",
    ),
];

/// Compares what was said live with what a capture of the same connections says.
pub(crate) fn compare(live: &[Arc<Report>], captured: &[Arc<Report>]) -> Result<()> {
    let mut text = String::new();
    for seen in captured {
        let ends: Vec<_> = live.iter().filter(|end| is_same(end, seen)).collect();
        let agree = |end: &&Arc<Report>| agree(&end.verdict, &seen.verdict);
        if !ends.is_empty() && !ends.iter().any(agree) {
            writeln!(text, "live:")?;
            for end in ends {
                text.push_str(&describe(end));
            }
            writeln!(text, "captured:\n{}", describe(seen))?;
        }
    }
    for end in live {
        if captured.iter().any(|seen| is_same(end, seen)) {
            continue;
        }
        let cause = end.verdict.cause;
        match UNSEEN.iter().find(|(unseen, _)| *unseen == cause) {
            Some((_, why)) => println!("{cause} live, not captured: {why}"),
            None => writeln!(text, "not in the capture:\n{}", describe(end))?,
        }
    }
    ensure!(text.is_empty(), "not as captured\n{text}");
    Ok(())
}

/// Whether two verdicts are the same, or differ by what packets cannot show; says by what.
#[must_use]
pub fn agree(live: &Verdict, captured: &Verdict) -> bool {
    if fields(live) == fields(captured) {
        return true;
    }
    let mut differences = DIFFERENCES.iter();
    let explained = differences.find(|difference| difference.explains(live, captured));
    if let Some(difference) = explained {
        let (live, captured) = (live.cause, captured.cause);
        println!("{live} live, {captured} captured: {}", difference.why);
    }
    explained.is_some()
}

/// Whether a capture's report is of the connection that `live` is an end of.
fn is_same(live: &Report, captured: &Report) -> bool {
    ends(live) == ends(captured)
}

/// Client and server.
fn ends(report: &Report) -> (SocketAddr, SocketAddr) {
    match report.role {
        Role::Server => (report.remote, report.local),
        Role::Client | Role::Observer => (report.local, report.remote),
    }
}
