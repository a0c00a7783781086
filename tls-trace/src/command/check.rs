//! `tls-trace check`: what this machine allows.

use std::{fmt, fs, path::PathBuf, process::ExitCode};

use anstyle::{AnsiColor, Style};
use aya::{maps::MapType, sys::is_map_supported};
use serde::Serialize;

use super::{
    capability::{self, Capability},
    coverage::Processes,
    tracer::Source,
};
use crate::{
    probe::{HookReport, HookState, Kernel},
    report::SCHEMA,
    source::live::{self, Live},
};

/// Say what this machine allows, what is missing and why, and what to do about it
///
/// Attaches every hook, reports how it went, and detaches. Nothing that runs is disturbed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// End with exit code 1 when anything is missing, needed or not
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  sudo tls-trace check                                what is there, what is missing, what to do
  sudo tls-trace check --strict && echo complete      for scripts
  sudo tls-trace check --json | jq '.hooks[] | select(.state == \"skipped\")'

Ends with 0 when connections can be traced, with 1 when not, or with --strict when anything is missing.";

impl Check {
    /// Attaches everything, says how it went, and detaches.
    // Attaching needs a runtime to register ring buffers with.
    #[expect(clippy::unused_async, reason = "commands run on the runtime alike")]
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let options = live::Options::from(self.source);
        let missing = capability::missing()?;
        let conditions = conditions(options.cgroup.as_ref(), &missing);
        let processes = Processes::look();
        let live = Live::start(&options);
        let hooks = live.as_ref().map(Live::hooks).unwrap_or_default();
        let findings = Findings {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            traces: live.is_ok() && required_are_attached(hooks),
            error: live.as_ref().err().map(ToString::to_string),
            remedy: (!missing.is_empty()).then(|| capability::remedy(&missing)),
            conditions,
            hooks,
            processes,
        };
        if self.json {
            anstream::println!("{}", serde_json::to_string(&findings)?);
        } else {
            anstream::print!("{findings}");
        }
        let well = if self.strict {
            findings.is_complete()
        } else {
            findings.traces
        };
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Everything `check` finds out; `--json` prints it so.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    schema: u32,
    version: &'static str,
    /// Every required hook is attached.
    traces: bool,
    /// Why nothing at all could be attached.
    error: Option<String>,
    /// How to get the capabilities that are missing.
    remedy: Option<String>,
    conditions: Vec<Condition>,
    hooks: &'a [HookReport],
    /// Which processes use TLS, and by which library.
    processes: Processes,
}

/// Something hooks depend on.
#[derive(Debug, Serialize)]
struct Condition {
    name: &'static str,
    state: State,
    /// What was found; when it is not met, what that costs and what to do.
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Met,
    Missing,
    Unknown,
}

fn conditions(cgroup: Option<&PathBuf>, missing: &[Capability]) -> Vec<Condition> {
    let kernel = Kernel::probe(cgroup.map(PathBuf::as_path));
    let mut conditions = vec![
        Condition {
            name: "kernel",
            state: State::Met,
            detail: kernel.release,
        },
        condition("BTF", kernel.btf.map(|_| "types of the kernel".to_owned())),
        condition(
            "cgroup v2",
            kernel.cgroup.map(|path| path.display().to_string()),
        ),
        ring_buffer(),
        lockdown(),
    ];
    conditions.extend(capabilities(missing));
    conditions
}

fn condition(name: &'static str, found: Result<String, impl fmt::Display>) -> Condition {
    let (state, detail) = match found {
        Ok(detail) => (State::Met, detail),
        Err(reason) => (State::Missing, reason.to_string()),
    };
    Condition {
        name,
        state,
        detail,
    }
}

fn ring_buffer() -> Condition {
    let (state, detail) = match is_map_supported(MapType::RingBuf) {
        Ok(true) => (State::Met, "BPF_MAP_TYPE_RINGBUF".to_owned()),
        Ok(false) => (
            State::Missing,
            "this kernel has none: Linux 5.8 or newer is needed".to_owned(),
        ),
        Err(error) => (State::Unknown, format!("could not be tried: {error}")),
    };
    Condition {
        name: "ring buffer",
        state,
        detail,
    }
}

/// `kernel_lockdown(7)`: in confidentiality mode eBPF programs may not read kernel memory.
fn lockdown() -> Condition {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown");
    let (state, detail) = match modes.as_deref() {
        Ok(modes) if modes.contains("[confidentiality]") => (
            State::Missing,
            "the kernel is locked down for confidentiality, so that kprobes and reads of kernel \
             memory are refused: boot with lockdown=integrity or none"
                .to_owned(),
        ),
        Ok(modes) => (State::Met, modes.trim().to_owned()),
        // No securityfs, or no lockdown in this kernel: nothing locks it down.
        Err(_) => (State::Met, "not locked down".to_owned()),
    };
    Condition {
        name: "lockdown",
        state,
        detail,
    }
}

fn capabilities(missing: &[Capability]) -> Vec<Condition> {
    let condition = |capability: Capability| {
        let lacks = missing.contains(&capability);
        Condition {
            name: capability.name,
            state: if lacks { State::Missing } else { State::Met },
            detail: format!("to {}", capability.purpose),
        }
    };
    capability::needed().map(condition).collect()
}

fn required_are_attached(hooks: &[HookReport]) -> bool {
    let blind =
        |hook: &HookReport| hook.required && matches!(hook.state, HookState::Skipped { .. });
    !hooks.iter().any(blind)
}

impl Findings<'_> {
    /// Nothing is missing, needed or not.
    fn is_complete(&self) -> bool {
        let mut hooks = self.hooks.iter();
        self.traces
            && self
                .conditions
                .iter()
                .all(|condition| condition.state == State::Met)
            && hooks.all(|hook| !matches!(hook.state, HookState::Skipped { .. }))
    }
}

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Condition {
            name,
            state,
            detail,
        } in &self.conditions
        {
            let word = match state {
                State::Met => GOOD.word("ok"),
                State::Missing => BAD.word("missing"),
                State::Unknown => WARN.word("unknown"),
            };
            writeln!(f, "{word}  {name:<22} {detail}")?;
        }
        for hook in self.hooks {
            let name = hook.name;
            match &hook.state {
                HookState::Attached => {
                    writeln!(f, "{}  {name:<22} {}", GOOD.word("attached"), hook.purpose)?;
                }
                HookState::Fallback { back_end, reason } => writeln!(
                    f,
                    "{}  {name:<22} {}; by {back_end}, because {reason}",
                    WARN.word("fallback"),
                    hook.purpose,
                )?,
                HookState::Skipped { reason } => {
                    let style = if hook.required { BAD } else { WARN };
                    let need = if hook.required { "needed" } else { "optional" };
                    let word = style.word("skipped");
                    writeln!(f, "{word}  {name:<22} {} ({need}): {reason}", hook.purpose)?;
                }
            }
        }
        write!(f, "{}", self.processes)?;
        let conclusion = match (&self.error, self.traces) {
            (Some(error), _) => error,
            (None, false) => "hooks are missing that are needed: verdicts are not to be trusted",
            (None, true) if self.is_complete() => "everything is there",
            (None, true) => "everything needed is there",
        };
        writeln!(f, "{conclusion}")?;
        match &self.remedy {
            Some(remedy) => writeln!(f, "{remedy}"),
            None => Ok(()),
        }
    }
}

struct Look(AnsiColor);

const GOOD: Look = Look(AnsiColor::Green);
const WARN: Look = Look(AnsiColor::Yellow);
const BAD: Look = Look(AnsiColor::Red);

impl Look {
    fn word(&self, word: &str) -> String {
        let style: Style = self.0.on_default();
        format!("{style}{word:<8}{style:#}")
    }
}
