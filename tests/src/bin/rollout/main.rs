//! A gRPC service of three servers behind a proxy is replaced, one server after the other, while `ghz` calls it: well,
//! with one server that selects no protocol, and with one whose faults are not those of connections. Prints what
//! tls-trace makes of it for `cargo xtask rollout` (docs/rollout.md); fails where it blames anything but what is known to
//! be bad.

mod account;
mod act;

use std::process::ExitCode;

use account::Account;
use act::{Act, Version};
use anyhow::Result;

/// Which of the servers is replaced by something bad, counted from 0.
const BAD: usize = 1;

const ACTS: [Act; 3] = [
    Act {
        name: "clean: each server is asked to stop, and replaced",
        bad: None,
    },
    Act {
        name: "mixed: the second server's new version selects no protocol (FAULT_ALPN=none)",
        bad: Some(Version {
            environment: &[("FAULT_ALPN", "none")],
            fails_connections: true,
        }),
    },
    Act {
        name: "faulty: the second server's new version is slow and fails calls (FAULT_DELAY=20 FAULT_ERRORS=30)",
        bad: Some(Version {
            environment: &[("FAULT_DELAY", "20"), ("FAULT_ERRORS", "30")],
            fails_connections: false,
        }),
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether exactly those were blamed that are to blame.
fn run() -> Result<bool> {
    let mut right = true;
    for act in &ACTS {
        println!("{}\n", act.name);
        let played = act.play()?;
        let account = Account::of(&played);
        print!("{account}");
        let known = act.bad.as_ref().filter(|bad| bad.fails_connections);
        let known: Vec<u16> = known.map(|_| played.ports[BAD]).into_iter().collect();
        if account.bad() != known {
            println!("  WRONG: known to be bad: {known:?}");
            right = false;
        }
        println!();
    }
    Ok(right)
}
