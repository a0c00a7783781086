//! `tls-trace inspect`: what a file says about the TLS library in it.

use std::{
    fmt::{self, Write as _},
    fs::File,
    path::PathBuf,
    process::ExitCode,
};

use serde::Serialize;

use crate::{
    inspect::{
        self, Error, Family, Finding, Hook, Inspection, Library, Member,
        stripped::{Located, Stripped, Vote, Witnessed},
    },
    report::SCHEMA,
    sink::escape::escaped,
};

/// Say which TLS library is in a file, what could be probed in it, and how that was found
///
/// Reads the file, runs nothing of it. Needs no privileges.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    /// Programs or shared libraries
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print one JSON object a line for each file
    #[arg(long)]
    json: bool,

    /// Look as if the files had no symbols, and for BoringSSL and OpenSSL even where no string tells of TLS
    #[arg(long)]
    without_symbols: bool,
}

const EXAMPLES: &str = "\
Examples:
  tls-trace inspect /usr/lib/x86_64-linux-gnu/libssl.so.3
  tls-trace inspect --json \"$(which node)\" | jq .coverage

Ends with 1 when a file cannot be inspected. What is printed is explained in docs/inspect.md.";

/// What is said of a file.
#[derive(Serialize)]
struct Findings<'a> {
    schema: u32,
    file: String,
    #[serde(flatten)]
    inspection: Option<&'a Inspection>,
    error: Option<String>,
}

impl Inspect {
    /// Inspects and prints, file by file.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let mut well = true;
        for path in &self.files {
            let inspected = File::open(path).map_err(Error::Io);
            let inspected = inspected.and_then(|file| {
                if self.without_symbols {
                    inspect::inspect_without_symbols(&file)
                } else {
                    inspect::inspect(&file)
                }
            });
            well &= inspected.is_ok();
            let findings = Findings {
                schema: SCHEMA,
                file: path.display().to_string(),
                inspection: inspected.as_ref().ok(),
                error: inspected.as_ref().err().map(ToString::to_string),
            };
            if self.json {
                anstream::println!("{}", serde_json::to_string(&findings)?);
            } else {
                anstream::print!("{findings}");
            }
        }
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = escaped(&self.file);
        if let Some(error) = &self.error {
            return writeln!(f, "{file}: {}", escaped(error));
        }
        let Some(inspection) = self.inspection else {
            return Ok(());
        };
        writeln!(f, "{file}: {}", inspection.coverage)?;
        for library in &inspection.libraries {
            show(f, library)?;
        }
        match &inspection.stripped {
            Some(stripped) => show_stripped(f, stripped),
            None => Ok(()),
        }
    }
}

fn show_stripped(f: &mut fmt::Formatter<'_>, found: &Stripped) -> fmt::Result {
    writeln!(
        f,
        "  {} without symbols, grade {}",
        found.family.label(),
        found.grade.label()
    )?;
    if !found.refused.is_empty() {
        let reasons: Vec<_> = found.refused.iter().map(|each| each.label()).collect();
        writeln!(f, "    refused because of {}", reasons.join(", "))?;
    }
    let votes = &found.votes;
    for (by, vote) in [
        ("arguments", votes.arguments),
        ("file names", votes.names),
        ("alerts", votes.alerts),
    ] {
        let Vote {
            votes, next, total, ..
        } = vote;
        writeln!(
            f,
            "    votes by {by:<15} {votes} of {total}, the next has {next}"
        )?;
    }
    let what = match found.family {
        Family::Boringssl => "reasons",
        _ => "names",
    };
    writeln!(
        f,
        "    {} calls for {} {what} in {} functions, {} % of the code with an unwind table",
        found.sites, found.reasons, found.functions, found.unwind,
    )?;
    for Located {
        name,
        offset,
        size,
        callers,
        pointed_to,
        ..
    } in &found.hooks
    {
        let pointed_to = if *pointed_to { ", in a table" } else { "" };
        let name = name.name();
        writeln!(
            f,
            "    {name:<24} at {offset:#x}, {size} bytes, {callers} callers{pointed_to}"
        )?;
    }
    for member in &found.members {
        let Witnessed {
            name,
            offset,
            witnesses,
            against,
        } = member;
        match offset {
            Some(offset) => {
                let doubt = if member.is_verified() {
                    ""
                } else {
                    ": not to be used"
                };
                writeln!(
                    f,
                    "    {name:<24} {offset:<#14x} {witnesses} witnesses, {against} against{doubt}"
                )?;
            }
            None => writeln!(f, "    {name:<24} not found")?,
        }
    }
    Ok(())
}

fn show(f: &mut fmt::Formatter<'_>, library: &Library) -> fmt::Result {
    let version = library.version.as_deref().unwrap_or("of no known layout");
    writeln!(f, "  {} {}", library.family.label(), escaped(version))?;
    for Hook { name, place } in &library.hooks {
        match place {
            Some(place) => writeln!(
                f,
                "    {name:<24} at {:#x}, {} bytes, {} returns{}",
                place.offset,
                place.size,
                place.returns.len(),
                if place.leaves == 0 {
                    ""
                } else {
                    ", tail calls"
                },
            )?,
            None => writeln!(f, "    {name:<24} not found")?,
        }
    }
    for Member { name, finding } in &library.members {
        match finding {
            Finding::BinaryAndTable(_) | Finding::Binary(_) | Finding::Table(_) => {
                let how = match finding {
                    Finding::BinaryAndTable(_) => "in the file and in the table",
                    Finding::Binary(_) => "in the file",
                    _ => "in the table",
                };
                writeln!(f, "    {name:<24} {:<14} {how}", path(finding))?;
            }
            Finding::Unavailable { reason } => {
                writeln!(f, "    {name:<24} unavailable: {}", escaped(reason))?;
            }
        }
    }
    if !library.itabs.is_empty() {
        writeln!(
            f,
            "    {} method tables of connections and errors",
            library.itabs.len()
        )?;
    }
    Ok(())
}

fn path(finding: &Finding) -> String {
    let mut text = String::new();
    for (index, offset) in finding
        .offsets()
        .iter()
        .flat_map(|found| found.path.iter().enumerate())
    {
        let arrow = if index == 0 { "" } else { "→" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{arrow}{offset:#x}");
    }
    text
}
