//! The capabilities(7) tracing needs.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use nix::unistd::{Uid, geteuid};
use procfs::process::Process;
use serde::Serialize;

/// A capability and what it is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Name as in capabilities(7).
    pub name: &'static str,
    /// Number in include/uapi/linux/capability.h.
    #[serde(skip)]
    number: u8,
    /// What does not work without it.
    pub purpose: &'static str,
    /// `CAP_SYS_ADMIN` includes it (include/linux/capability.h: `bpf_capable`, `perfmon_capable`).
    #[serde(skip)]
    in_sys_admin: bool,
}

/// All of them, with what an ordinary user needs beside root's file permissions last.
const NEEDED: [Capability; 5] = [
    Capability {
        name: "CAP_BPF",
        number: 39,
        purpose: "load eBPF programs and maps",
        in_sys_admin: true,
    },
    Capability {
        name: "CAP_PERFMON",
        number: 38,
        purpose: "attach to kernel tracepoints and functions",
        in_sys_admin: true,
    },
    Capability {
        name: "CAP_NET_ADMIN",
        number: 12,
        purpose: "see the first bytes of each connection (cgroup_skb)",
        in_sys_admin: false,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        number: 19,
        purpose: "find the processes of connections that are already open",
        in_sys_admin: false,
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        number: 2,
        purpose: "list the open files of other users' processes",
        in_sys_admin: false,
    },
];

const CAP_SYS_ADMIN: u8 = 21;

/// Those a process of this user needs.
pub fn needed() -> impl Iterator<Item = Capability> {
    needed_by(geteuid())
}

fn needed_by(user: Uid) -> impl Iterator<Item = Capability> {
    let last = usize::from(user.is_root());
    NEEDED.into_iter().take(NEEDED.len() - last)
}

/// Those this process does not have in effect.
///
/// # Errors
/// /proc/self/status cannot be read.
pub fn missing() -> anyhow::Result<Vec<Capability>> {
    let status = Process::myself().and_then(|process| process.status());
    let status = status.context("cannot read the capabilities of this process")?;
    Ok(missing_of(needed(), status.capeff))
}

fn missing_of(needed: impl Iterator<Item = Capability>, effective: u64) -> Vec<Capability> {
    let has = |number: u8| effective >> number & 1 == 1;
    needed
        .filter(|needed| !(has(needed.number) || needed.in_sys_admin && has(CAP_SYS_ADMIN)))
        .collect()
}

/// Without this one nothing can be traced at all; without others, less.
///
/// # Errors
/// It is missing; how to get all of them.
pub fn require_bpf() -> anyhow::Result<()> {
    let missing = missing()?;
    if missing.iter().any(|missing| missing.name == "CAP_BPF") {
        bail!("{}", remedy(&missing));
    }
    for missing in missing {
        tracing::warn!("without {}: cannot {}", missing.name, missing.purpose);
    }
    Ok(())
}

/// Names the missing ones and how to get them, in one sentence.
#[must_use]
pub fn remedy(missing: &[Capability]) -> String {
    let names: Vec<_> = missing.iter().map(|capability| capability.name).collect();
    let all: Vec<_> = NEEDED
        .iter()
        .map(|capability| capability.name.to_lowercase())
        .collect();
    let mut sentence = format!("this process lacks {}: run it with sudo", names.join(", "));
    if let Ok(program) = std::env::current_exe() {
        let program = program.display();
        let all = all.join(",");
        // Writing to a String cannot fail.
        let _ = write!(sentence, ", or once: sudo setcap {all}+ep {program}");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(effective: u64) -> Vec<&'static str> {
        let missing = missing_of(needed_by(Uid::from_raw(0)), effective);
        missing.iter().map(|missing| missing.name).collect()
    }

    #[test]
    fn without_privileges_all_are_missing() {
        let all = ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"];
        assert_eq!(names(0), all);
        assert_eq!(names(u64::MAX), [""; 0]);
    }

    #[test]
    fn sys_admin_stands_in_for_bpf_and_perfmon_only() {
        assert_eq!(names(1 << 21), ["CAP_NET_ADMIN", "CAP_SYS_PTRACE"]);
        assert_eq!(names(1 << 39 | 1 << 12), ["CAP_PERFMON", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn only_root_lists_other_users_files_by_itself() {
        let of_user = missing_of(needed_by(Uid::from_raw(1000)), !(1 << 2));
        assert_eq!(of_user.len(), 1);
        assert_eq!(of_user[0].name, "CAP_DAC_READ_SEARCH");
    }

    #[test]
    fn the_remedy_names_what_is_missing_and_sets_everything() {
        let sentence = remedy(&missing_of(needed_by(Uid::from_raw(0)), 1 << 21));
        assert!(sentence.contains("lacks CAP_NET_ADMIN, CAP_SYS_PTRACE: run it with sudo"));
        assert!(sentence.contains("setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace"));
    }
}
