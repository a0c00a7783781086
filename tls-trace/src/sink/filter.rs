//! Which reports somebody wants to see.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::{Deserialize, Serialize};

use crate::{
    flap::Flap,
    report::{Cause, Initiator, Phase, Report},
};

/// Conditions on a report. One option given several times is satisfied by any of its values;
/// different options must all be satisfied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
#[command(next_help_heading = "Filters")]
pub struct Filter {
    /// Show every connection, not only those that failed or broke
    #[arg(long)]
    pub all: bool,

    /// Local or remote TCP port
    #[arg(long = "port", value_name = "PORT")]
    pub ports: Vec<u16>,

    /// Process id
    #[arg(long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,

    /// Process name; `*` stands for any text
    #[arg(long = "comm", value_name = "NAME")]
    pub comms: Vec<Pattern>,

    /// Server name the client asked for; `*` stands for any text
    #[arg(long = "sni", value_name = "NAME")]
    pub snis: Vec<Pattern>,

    /// Cause of the failure, such as `certificate_expired`
    #[arg(long = "cause", value_name = "CAUSE", hide_possible_values = true, value_parser = labels(Cause::ALL, Cause::label))]
    pub causes: Vec<Cause>,

    /// Who ended the connection
    #[arg(long = "initiator", value_name = "WHO", value_parser = labels(Initiator::ALL, Initiator::label))]
    pub initiators: Vec<Initiator>,

    /// The furthest phase the connection reached
    #[arg(long = "phase", value_name = "PHASE", value_parser = labels(Phase::ALL, Phase::label))]
    pub phases: Vec<Phase>,
}

impl Filter {
    /// Whether `report` is wanted.
    #[must_use]
    pub fn matches(&self, report: &Report) -> bool {
        let Self {
            all,
            ports,
            pids,
            comms,
            snis,
            causes,
            initiators,
            phases,
        } = self;
        let verdict = &report.verdict;
        let names = |patterns: &[Pattern], name: &Option<String>| {
            let name = name.as_deref();
            any(patterns, |pattern| {
                name.is_some_and(|name| pattern.matches(name))
            })
        };
        (*all || report.verdict.outcome.is_failure())
            && any(ports, |port| {
                [report.local.port(), report.remote.port()].contains(port)
            })
            && any(pids, |pid| report.pid == Some(*pid))
            && names(comms, &report.comm)
            && names(snis, &report.sni)
            && any(causes, |cause| verdict.cause == *cause)
            && any(initiators, |initiator| verdict.initiator == *initiator)
            && any(phases, |phase| verdict.phase == *phase)
    }
}

impl Filter {
    /// Whether `flap` is wanted. It is about many connections: its ends' other ports, an
    /// initiator and a phase are not known of it.
    #[must_use]
    pub fn matches_flap(&self, flap: &Flap) -> bool {
        let Self {
            all: _,
            ports,
            pids,
            comms,
            snis,
            causes,
            initiators,
            phases,
        } = self;
        any(ports, |port| flap.port == *port)
            && any(pids, |pid| flap.pid == Some(*pid))
            && any(comms, |pattern| {
                flap.comm
                    .as_deref()
                    .is_some_and(|comm| pattern.matches(comm))
            })
            && any(snis, |pattern| pattern.matches(&flap.peer))
            && any(causes, |cause| flap.cause == *cause)
            && initiators.is_empty()
            && phases.is_empty()
    }
}

fn any<T>(wanted: &[T], holds: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

/// Text in which `*` stands for any text, compared without regard to ASCII case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Whether all of `text` fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let pattern = self.0.to_ascii_lowercase();
        let mut parts = pattern.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // Between two stars the leftmost occurrence is never worse than a later one.
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl From<&str> for Pattern {
    fn from(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }
}

impl From<String> for Pattern {
    fn from(pattern: String) -> Self {
        Self(pattern)
    }
}

fn labels<T>(all: &'static [T], label: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + std::str::FromStr + Send + Sync,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(move |value| label(*value)))
        .try_map(|text| text.parse::<T>())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::sink::sample;

    #[derive(Debug, clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        filter: Filter,
    }

    fn filter(arguments: &str) -> Filter {
        let words = std::iter::once("tail").chain(arguments.split_whitespace());
        let parsed: Arguments = clap::Parser::try_parse_from(words).unwrap();
        parsed.filter
    }

    #[rstest]
    #[case("", true)]
    #[case("--port 8443", true)]
    #[case("--port 51514", true)]
    #[case("--port 443 --port 8443", true)]
    #[case("--port 443", false)]
    #[case("--pid 4121", true)]
    #[case("--pid 4122", false)]
    #[case("--comm curl", true)]
    #[case("--comm cur", false)]
    #[case("--comm c*l", true)]
    #[case("--sni *.local", true)]
    #[case("--sni API.Local", true)]
    #[case("--sni *.example", false)]
    #[case("--cause certificate_expired", true)]
    #[case("--cause process_killed --cause certificate_expired", true)]
    #[case("--cause process_killed", false)]
    #[case("--initiator client_app", true)]
    #[case("--initiator network", false)]
    #[case("--phase server_hello", true)]
    #[case("--phase connect", false)]
    #[case("--port 8443 --phase connect", false)]
    #[case(
        "--port 8443 --comm curl --sni api.* --cause certificate_expired",
        true
    )]
    fn conditions_on_a_failure(#[case] arguments: &str, #[case] passes: bool) {
        assert_eq!(filter(arguments).matches(&sample::failed()), passes);
    }

    #[test]
    fn only_failures_unless_all_are_wanted() {
        let established = sample::established();
        assert!(!filter("").matches(&established));
        assert!(filter("--all").matches(&established));
        assert!(filter("--all --port 443").matches(&established));
        assert!(!filter("--all --port 80").matches(&established));
    }

    #[test]
    fn unknown_facts_meet_no_condition() {
        let mut report = sample::failed();
        (report.pid, report.comm, report.sni) = (None, None, None);
        for arguments in ["--pid 0", "--comm *", "--sni *"] {
            assert!(!filter(arguments).matches(&report), "{arguments}");
        }
    }

    #[test]
    fn a_misspelt_cause_is_refused_with_its_neighbour() {
        let words = ["tail", "--cause", "certificate_expird"];
        let parsed: Result<Arguments, _> = clap::Parser::try_parse_from(words);
        let error = parsed.unwrap_err().to_string();
        assert!(error.contains("'certificate_expired'"), "{error}");
    }

    #[test]
    fn filters_survive_the_socket() {
        let filter = filter("--all --port 1 --sni *.x --cause none --phase connect");
        let json = serde_json::to_string(&filter).unwrap();
        assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), filter);
        assert_eq!(
            serde_json::from_str::<Filter>("{}").unwrap(),
            Filter::default()
        );
    }

    #[rstest]
    #[case("*", "", true)]
    #[case("", "", true)]
    #[case("", "a", false)]
    #[case("a*a", "a", false)]
    #[case("a*b*c", "a-b-b-c", true)]
    #[case("a*b*c", "acb", false)]
    #[case("*b*", "abc", true)]
    #[case("**", "abc", true)]
    fn stars(#[case] pattern: &str, #[case] text: &str, #[case] matches: bool) {
        assert_eq!(Pattern::from(pattern).matches(text), matches);
    }
}
