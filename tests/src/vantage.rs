//! A connection judged twice: by the kernel's events at its ends, and by its packets alone. Both have to say the
//! same, but for what packets cannot show.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use anyhow::{Result, ensure};
use tls_trace::report::{Cause, Report, Role, Verdict};

use crate::expect::describe;

/// What only one of the two can see, by what the kernel calls it.
struct Difference {
    live: Cause,
    /// What the packets look like.
    captured: &'static [Cause],
    /// Why they cannot say more.
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        live: Cause::ProcessKilled,
        captured: &[
            Cause::ClosedByApp,
            Cause::ClosedByPeer,
            Cause::ServerSilent,
            Cause::None,
        ],
        why: "a signal is no packet: the kernel closes for the dead as the living do",
    },
    Difference {
        live: Cause::AbortedByAdmin,
        captured: &[Cause::ClosedByApp],
        why: "the RST of `ss -K` is like any other",
    },
    Difference {
        live: Cause::ResetLinger,
        captured: &[Cause::ClosedByApp],
        why: "an RST does not say that SO_LINGER was 0",
    },
    Difference {
        live: Cause::ResetUnreadData,
        captured: &[Cause::ClosedByApp],
        why: "what an application has read is not in the packets",
    },
    Difference {
        live: Cause::KeepaliveTimeout,
        captured: &[Cause::ResetByPeer],
        why: "a kernel that gives up sends the RST that any other reason has",
    },
    Difference {
        live: Cause::RetransmitTimeout,
        captured: &[Cause::ClosedByApp, Cause::None],
        why: "a kernel that gives up sends nothing; the end that is left closes some time",
    },
    Difference {
        live: Cause::ClientHelloLost,
        captured: &[Cause::ClosedByPeer],
        why: "captured before it was lost; a kernel that gives up sends nothing",
    },
    Difference {
        live: Cause::ResetInjected,
        captured: &[Cause::ResetByPeer],
        why: "that the peer's socket sent no RST only its own host knows",
    },
    Difference {
        live: Cause::ConnectTimeout,
        captured: &[Cause::ConnectTimeout],
        why: "that the kernel stopped trying is not in the packets",
    },
    Difference {
        live: Cause::Unreachable,
        captured: &[Cause::ConnectTimeout],
        why: "the answer was ICMP, not TCP",
    },
];

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
    let rest = |verdict: &Verdict| (verdict.outcome, verdict.phase, verdict.confidence);
    let same = (live.cause, live.initiator) == (captured.cause, captured.initiator);
    if same && rest(live) == rest(captured) {
        return true;
    }
    let explained = DIFFERENCES.iter().find(|difference| {
        difference.live == live.cause
            && difference.captured.contains(&captured.cause)
            && live.phase == captured.phase
    });
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
