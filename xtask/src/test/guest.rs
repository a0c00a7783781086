//! The truth suite under other kernels.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Message;

use super::{
    Outcome,
    count::Count,
    suite::{BINARY, PACKAGE, build_release},
};
use crate::{
    process,
    vm::{Guest, Release, Tree},
};

/// Programs that the suite starts. Java is missing: it is large, and slow when emulated.
const PROGRAMS: &[&str] = &[
    "curl",
    "gnutls-cli",
    "gnutls-serv",
    "ip",
    "nft",
    "nginx",
    "node",
    "openssl",
    "python3",
    "ss",
    "tc",
];

/// What these programs read.
const FILES: &[&str] = &[
    "/etc/nginx/mime.types",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl",
    "/usr/lib/tc",
    "/usr/lib/x86_64-linux-gnu/ossl-modules",
    "/var/lib/nginx",
];

/// An emulated machine is about this much slower than a real one.
const SLOWNESS: &str = "8";

const TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// Runs the suite's test programs one after the other in one guest.
pub fn suite(root: &Path, release: Release) -> Result<Outcome> {
    if process::find("qemu-system-x86_64").is_none() {
        return Ok(Outcome::Skipped("no qemu-system-x86_64".to_owned()));
    }
    let daemon = build_release(root)?;
    let tests = build_tests(root)?;
    let mut tree = Tree::default();
    tree.host(&daemon)?;
    for program in PROGRAMS {
        // The suite says which it misses.
        if let Some(program) = process::find(program) {
            tree.host(&program)?;
        }
    }
    for file in FILES.iter().map(Path::new).filter(|file| file.exists()) {
        tree.host(file)?;
    }
    for library in python_library()? {
        tree.host(&library)?;
    }
    let mut script = String::from("status=0\n");
    for (index, test) in tests.iter().enumerate() {
        let place = format!("/usr/bin/suite-{index}");
        tree.program(test, &place)?;
        script += &place;
        script += " || status=1\n";
    }
    script += "exit $status\n";
    let guest = Guest {
        release,
        append: String::new(),
        tree,
        environment: vec![
            (BINARY.to_owned(), daemon.display().to_string()),
            ("TLS_TRACE_TEST_SLOW".to_owned(), SLOWNESS.to_owned()),
        ],
        command: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        timeout: TIMEOUT,
    };
    let mut sum = Count::default();
    let status = guest.run(root, |line| {
        println!("{line}");
        if let Some(count) = Count::parse(line) {
            sum += count;
        }
    })?;
    Ok(Outcome::Ran(sum.settle(status == 0)))
}

/// The suite's test programs.
fn build_tests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--quiet", "--package", PACKAGE, "--no-run"]);
    let output = process::output(cargo.arg("--message-format=json"))?;
    let mut programs = BTreeMap::new();
    for message in Message::parse_stream(output.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(program) = artifact.executable
            && artifact.profile.test
        {
            programs.insert(artifact.target.name, program.into_std_path_buf());
        }
    }
    ensure!(!programs.is_empty(), "{PACKAGE} has no tests");
    Ok(programs.into_values().collect())
}

/// Debian's Python, whose version is part of the name.
fn python_library() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir("/usr/lib").context("cannot read /usr/lib")?;
    Ok(entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("python3."))
        })
        .collect())
}
