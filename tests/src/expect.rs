//! What a case expects of a report, and how a mismatch is shown.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use anyhow::{Result, bail, ensure};
use tls_trace::report::{Cause, Confidence, Initiator, Notice, Outcome, Phase, Report, Role};

use crate::environment::is_slow;

/// What is expected of one end of one connection.
pub struct Expected {
    role: Role,
    client: Option<SocketAddr>,
    outcome: Outcome,
    phase: Phase,
    /// Absent where it is chance.
    initiator: Option<Initiator>,
    cause: Cause,
    /// The least.
    confidence: Confidence,
    perhaps_more: bool,
    notices: Vec<Notice>,
    possible_notices: Vec<Notice>,
    more: Vec<More>,
}

/// A condition that is not one of the verdict's fields.
struct More {
    what: &'static str,
    holds: Box<dyn Fn(&Report) -> bool>,
}

/// The client's end.
#[must_use]
pub fn client() -> Expected {
    Expected::of(Role::Client)
}

/// The server's end.
#[must_use]
pub fn server() -> Expected {
    Expected::of(Role::Server)
}

/// The client's end and the server's, expected alike.
#[must_use]
pub fn both(expected: impl Fn(Expected) -> Expected) -> [Expected; 2] {
    [expected(client()), expected(server())]
}

impl Expected {
    /// Established, certain, closed by the client.
    fn of(role: Role) -> Self {
        Self {
            role,
            client: None,
            outcome: Outcome::Established,
            phase: Phase::Established,
            initiator: Some(Initiator::ClientApp),
            cause: Cause::None,
            confidence: Confidence::Certain,
            perhaps_more: false,
            notices: Vec::new(),
            // A peer that is this slow to answer has segments sent again.
            possible_notices: if is_slow() {
                vec![Notice::SlowHandshake, Notice::ClientHelloRetransmitted]
            } else {
                Vec::new()
            },
            more: Vec::new(),
        }
    }

    /// The handshake failed.
    #[must_use]
    pub fn failed(self, phase: Phase, initiator: Initiator, cause: Cause) -> Self {
        Self {
            outcome: Outcome::Failed,
            phase,
            initiator: Some(initiator),
            cause,
            ..self
        }
    }

    /// The handshake completed, and was ended gracefully by this one.
    #[must_use]
    pub fn established(self, initiator: Initiator) -> Self {
        Self {
            initiator: Some(initiator),
            ..self
        }
    }

    /// The handshake completed; then the client said `close_notify`, and both programs closed because of it.
    /// Where the payload is no longer watched, who is named is who closed TCP first, which is chance. Both
    /// ends have to name the same, except in a slow guest, where only one of them may still be watched.
    #[must_use]
    pub fn ended_by_either(self) -> Self {
        Self {
            initiator: None,
            ..self
        }
    }

    /// The handshake completed; the connection was broken later.
    #[must_use]
    pub fn broken(self, initiator: Initiator, cause: Cause) -> Self {
        Self {
            outcome: Outcome::Broken,
            initiator: Some(initiator),
            cause,
            ..self
        }
    }

    /// It came as far as this.
    #[must_use]
    pub fn phase(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// For this reason, though nothing failed.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// The client left before it sent anything.
    #[must_use]
    pub fn aborted(self) -> Self {
        Self {
            outcome: Outcome::Aborted,
            phase: Phase::Connected,
            ..self
        }
    }

    /// Not certain, but likely.
    #[must_use]
    pub fn likely(self) -> Self {
        Self {
            confidence: Confidence::Likely,
            ..self
        }
    }

    /// Likely, or even certain: who said goodbye first is chance, and an end that is the first to close needs no sizes to
    /// tell that it left.
    #[must_use]
    pub fn perhaps_likely(self) -> Self {
        Self {
            perhaps_more: true,
            ..self.likely()
        }
    }

    /// With these notices and no others.
    #[must_use]
    pub fn notices(self, notices: impl IntoIterator<Item = Notice>) -> Self {
        Self {
            notices: notices.into_iter().collect(),
            ..self
        }
    }

    /// And perhaps with these: each use says why that is chance.
    #[must_use]
    pub fn perhaps(mut self, notices: impl IntoIterator<Item = Notice>) -> Self {
        self.possible_notices.extend(notices);
        self
    }

    /// Of the connection from this client.
    #[must_use]
    pub fn from(self, client: SocketAddr) -> Self {
        Self {
            client: Some(client),
            ..self
        }
    }

    /// Of that TLS version, as reports name it.
    #[must_use]
    pub fn version(self, name: &'static str) -> Self {
        self.and(name, move |report| report.version.as_deref() == Some(name))
    }

    /// And something else holds of the report.
    #[must_use]
    pub fn and(mut self, what: &'static str, holds: impl Fn(&Report) -> bool + 'static) -> Self {
        self.more.push(More {
            what,
            holds: Box::new(holds),
        });
        self
    }

    fn fields(&self, report: &Report) -> Vec<Field> {
        let verdict = &report.verdict;
        let mut wanted = self.notices.clone();
        let mut notices = report.notices.clone();
        wanted.sort_unstable();
        notices.retain(|notice| wanted.contains(notice) || !self.possible_notices.contains(notice));
        notices.sort_unstable();
        let mut fields = vec![
            Field::of("role", &self.role, &report.role),
            Field::of("outcome", &self.outcome, &verdict.outcome),
            Field::of("phase", &self.phase, &verdict.phase),
            self.initiator_field(verdict.initiator),
            Field::of("cause", &self.cause, &verdict.cause),
            Field::of(
                "confidence",
                &self.least(verdict.confidence),
                &verdict.confidence,
            ),
            Field::of("notices", &Labels(&wanted), &Labels(&notices)),
        ];
        if let Some(client) = self.client {
            fields.push(Field::of("client", &client, &client_of(report)));
        }
        fields.extend(self.more.iter().map(|more| Field {
            name: more.what,
            holds: (more.holds)(report),
            mismatch: None,
        }));
        fields
    }

    /// What has to be found where this is.
    fn least(&self, found: Confidence) -> Confidence {
        let more = self.perhaps_more && found == Confidence::Certain;
        if more { found } else { self.confidence }
    }

    fn initiator_field(&self, found: Initiator) -> Field {
        if let Some(wanted) = self.initiator {
            return Field::of("initiator", &wanted, &found);
        }
        Field {
            name: "initiator",
            holds: matches!(found, Initiator::ClientApp | Initiator::ServerApp),
            mismatch: Some(("client_app or server_app".to_owned(), found.to_string())),
        }
    }

    fn matches(&self, report: &Report) -> bool {
        self.fields(report).iter().all(|field| field.holds)
    }

    fn score(&self, report: &Report) -> usize {
        let fields = self.fields(report);
        let same_end =
            fields[0].holds && self.client.is_none_or(|client| client == client_of(report));
        fields.iter().filter(|field| field.holds).count() + if same_end { 100 } else { 0 }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {}",
            self.role,
            self.outcome,
            self.phase,
            self.initiator.map_or("either end", Initiator::label),
            self.cause,
            self.confidence
        )
    }
}

/// The client's address, as one end reports it. Valid where the client opened TCP.
fn client_of(report: &Report) -> SocketAddr {
    match report.role {
        Role::Client => report.local,
        Role::Server | Role::Observer => report.remote,
    }
}

struct Field {
    name: &'static str,
    holds: bool,
    mismatch: Option<(String, String)>,
}

impl Field {
    fn of(name: &'static str, wanted: &impl ToString, found: &impl ToString) -> Self {
        let (wanted, found) = (wanted.to_string(), found.to_string());
        Self {
            name,
            holds: wanted == found,
            mismatch: Some((wanted, found)),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.holds { '✓' } else { '✗' };
        match &self.mismatch {
            Some((wanted, found)) if !self.holds => {
                write!(f, "{mark} {}: {found}, not {wanted}", self.name)
            }
            Some((wanted, _)) => write!(f, "{mark} {}: {wanted}", self.name),
            None => write!(f, "{mark} {}", self.name),
        }
    }
}

struct Labels<'a>(&'a [Notice]);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<_> = self.0.iter().map(|notice| notice.label()).collect();
        write!(f, "[{}]", labels.join(", "))
    }
}

/// Checks that reports and expectations match one to one, and that the ends of an established connection
/// agree on who ended it ([`Expected::ended_by_either`]).
pub(crate) fn compare(expected: &[Expected], reports: &[Arc<Report>]) -> Result<()> {
    match_up(expected, reports)?;
    for report in reports.iter().filter(|_| !is_slow()) {
        let peer = reports
            .iter()
            .find(|other| Some(other.id) == report.peer_report);
        let pair = [Some(report), peer].map(|end| end.map(|end| &end.verdict));
        if let [Some(verdict), Some(peers)] = pair
            && (verdict.outcome, peers.outcome) == (Outcome::Established, Outcome::Established)
        {
            ensure!(
                verdict.initiator == peers.initiator,
                "the ends disagree on who ended the connection: {} and {}\n{}",
                verdict.initiator,
                peers.initiator,
                describe(report)
            );
        }
    }
    Ok(())
}

fn match_up(expected: &[Expected], reports: &[Arc<Report>]) -> Result<()> {
    let mut left: Vec<_> = reports.iter().collect();
    let mut missing = Vec::new();
    for expected in expected {
        match left.iter().position(|report| expected.matches(report)) {
            Some(index) => drop(left.swap_remove(index)),
            None => missing.push(expected),
        }
    }
    if missing.is_empty() && left.is_empty() {
        return Ok(());
    }
    let mut text = format!(
        "expected {} reports, got {}\n",
        expected.len(),
        reports.len()
    );
    for expected in missing {
        let nearest = (0..left.len()).max_by_key(|&index| expected.score(left[index]));
        match nearest {
            Some(index) => show_mismatch(&mut text, expected, left.swap_remove(index)),
            None => writeln!(text, "missing: {expected:?}")?,
        }
    }
    for report in left {
        writeln!(text, "not expected:")?;
        show(&mut text, report);
    }
    bail!(text)
}

fn show_mismatch(text: &mut String, expected: &Expected, report: &Report) {
    for field in expected.fields(report) {
        let _ = writeln!(text, "  {field}");
    }
    show(text, report);
}

/// A report with its evidence, for people.
#[must_use]
pub fn describe(report: &Report) -> String {
    let mut text = String::new();
    show(&mut text, report);
    text
}

fn show(text: &mut String, report: &Report) {
    let verdict = &report.verdict;
    let _ = writeln!(
        text,
        "  {} {} -> {}: {} {} {} {} {}\n    tcp {:?}\n    alerts {:?}, version {:?}, pid {:?} {:?}, {:.1} ms\n    library {:?}, early data {:?}",
        report.role,
        report.local,
        report.remote,
        verdict.outcome,
        verdict.phase,
        verdict.initiator,
        verdict.cause,
        verdict.confidence,
        report.tcp,
        report.alerts,
        report.version,
        report.pid,
        report.comm,
        report.duration_ms,
        report.library,
        report.early_data,
    );
    for evidence in &verdict.evidence {
        let _ = writeln!(text, "    {:9.3} ms {}", evidence.at_ms, evidence.fact);
    }
}
