//! What `tls-trace check` says where the kernel allows less than Debian's does.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{Outcome, count::Count, guest::QEMU, suite::build_release};
use crate::{
    process,
    vm::{Guest, Release, Tree},
};

/// A kernel that allows less.
struct Case {
    name: &'static str,
    /// On the kernel's command line.
    append: &'static str,
    /// What the shell does before.
    prepare: &'static str,
    /// Beginnings of lines that must be there, with one space between words.
    expected: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case {
        name: "lockdown",
        append: "lockdown=confidentiality",
        prepare: "true",
        expected: &[
            "missing lockdown the kernel is locked down for confidentiality",
            "skipped tcp_destroy_sock",
            "attached wire_egress",
        ],
    },
    Case {
        name: "no BTF",
        append: "",
        prepare: "mount -t tmpfs none /sys/kernel/btf",
        expected: &[
            "missing BTF cannot read /sys/kernel/btf/vmlinux",
            "skipped tcp_destroy_sock",
            "attached wire_egress",
        ],
    },
];

pub fn check(root: &Path) -> Result<Outcome> {
    if process::find(QEMU).is_none() {
        return Ok(Outcome::Skipped(format!("no {QEMU}")));
    }
    let tracer = build_release(root)?;
    let mut sum = Count::default();
    for case in &CASES {
        let missing = case.missing(root, &tracer)?;
        sum += if missing.is_empty() {
            Count::PASSED
        } else {
            println!("{}: not said: {}", case.name, missing.join("; "));
            Count::FAILED
        };
    }
    Ok(Outcome::Ran(sum))
}

impl Case {
    /// What was expected and not said; without needed hooks the exit status must be 1.
    fn missing(&self, root: &Path, tracer: &Path) -> Result<Vec<&'static str>> {
        let mut tree = Tree::default();
        tree.host(tracer)?;
        let script = format!("{}; {} check", self.prepare, tracer.display());
        let guest = Guest {
            release: Release::V6_12,
            append: self.append.to_owned(),
            tree,
            environment: Vec::new(),
            command: ["sh", "-c", &script].map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(120),
        };
        let mut lines = Vec::new();
        let status = guest.run(root, |line| {
            println!("{line}");
            lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        })?;
        let said = |expected: &&str| lines.iter().any(|line| line.starts_with(expected));
        let mut missing = self.expected.to_vec();
        missing.retain(|expected| !said(expected));
        if status != 1 {
            missing.push("exit status 1");
        }
        Ok(missing)
    }
}
