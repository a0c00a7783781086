//! What tls-trace costs and what it can take, measured on this machine: `cargo xtask bench`.
//!
//! Traffic goes to loopback only, and every run is bounded in time. The figures of a machine that
//! does something else at the same time are no figures.

mod alternate;
mod analyze;
mod bpftrace;
mod daemon;
mod engine;
mod figure;
mod handshake;
mod kernel;
mod latency;
mod libraries;
mod load;
mod machine;
mod memory;
mod moments;
mod nginx;
mod programs;
mod rate;
mod throughput;
mod usage;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use figure::Section;

/// What tls-trace costs and what it can take, as Markdown.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// What to measure; everything unless given
    names: Vec<Bench>,

    /// Shorter and fewer runs: a look, not a figure
    #[arg(long)]
    quick: bool,

    /// Not a measurement: open so many connections and keep them until standard input ends
    #[arg(long, hide = true)]
    hold: Option<usize>,

    #[command(flatten)]
    subject: Subject,
}

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
struct Subject {
    /// The daemon, a release build
    #[arg(long, env = "TLS_TRACE_BIN")]
    daemon: PathBuf,

    /// The object with programs that do nothing
    #[arg(long, env = "TLS_TRACE_EMPTY_OBJECT")]
    empty: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Time of each eBPF program, and of all for one connection
    Kernel,
    /// Handshakes per second of nginx with and without the tracer
    Nginx,
    /// What asking TLS libraries costs, beside bpftrace; programs that live for a moment
    Libraries,
    /// Throughput of an open connection with and without the tracer
    Throughput,
    /// Events per second of the engine on one core
    Engine,
    /// Highest connection rate without loss
    Rate,
    /// Memory at 10,000 and 100,000 open connections
    Memory,
    /// Time to start, and from a failure to its line
    Latency,
    /// Captures beside tshark and tcpdump
    Analyze,
}

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
struct Effort {
    quick: bool,
}

impl Effort {
    /// `full`, or `quick` when only a look is wanted.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let started = Instant::now();
    let Arguments {
        names,
        quick,
        hold,
        subject,
    } = arguments;
    if let Some(connections) = hold {
        return memory::hold(connections);
    }
    let effort = Effort { quick };
    println!("{}", machine::describe()?);
    for bench in Bench::value_variants() {
        if names.is_empty() || names.contains(bench) {
            for section in bench.measure(&subject, effort)? {
                println!("{section}");
            }
        }
    }
    eprintln!("measured in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

impl Bench {
    fn measure(self, subject: &Subject, effort: Effort) -> Result<Vec<Section>> {
        let section = match self {
            Self::Libraries => {
                return Ok(vec![
                    libraries::measure(subject, effort)?,
                    moments::measure(subject, effort)?,
                ]);
            }
            Self::Kernel => kernel::measure(subject, effort),
            Self::Nginx => nginx::measure(subject, effort),
            Self::Throughput => throughput::measure(subject, effort),
            Self::Engine => engine::measure(effort),
            Self::Rate => rate::measure(subject, effort),
            Self::Memory => memory::measure(subject),
            Self::Latency => latency::measure(subject, effort),
            Self::Analyze => analyze::measure(subject, effort),
        };
        Ok(vec![section?])
    }
}
