//! The capabilities(7) tracing needs.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
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

/// All of them.
pub const NEEDED: [Capability; 4] = [
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
];

const CAP_SYS_ADMIN: u8 = 21;

/// Those this process does not have in effect.
///
/// # Errors
/// /proc/self/status cannot be read.
pub fn missing() -> procfs::ProcResult<Vec<Capability>> {
    let effective = procfs::process::Process::myself()?.status()?.capeff;
    Ok(missing_of(effective))
}

fn missing_of(effective: u64) -> Vec<Capability> {
    let has = |number: u8| effective >> number & 1 == 1;
    NEEDED
        .into_iter()
        .filter(|needed| !(has(needed.number) || needed.in_sys_admin && has(CAP_SYS_ADMIN)))
        .collect()
}

/// Without this one nothing can be traced at all; without others, less.
///
/// # Errors
/// It is missing; how to get all of them.
pub fn require_bpf() -> anyhow::Result<()> {
    let missing = missing().context("cannot read the capabilities of this process")?;
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
        missing_of(effective)
            .iter()
            .map(|missing| missing.name)
            .collect()
    }

    #[test]
    fn unprivileged_lacks_all() {
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
    fn remedy_names_what_lacks_and_sets_everything() {
        let sentence = remedy(&missing_of(1 << 21));
        assert!(sentence.contains("lacks CAP_NET_ADMIN, CAP_SYS_PTRACE: run it with sudo"));
        assert!(sentence.contains("setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace+ep /"));
    }
}
