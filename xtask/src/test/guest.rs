//! The truth suite under other kernels.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Message;

use super::{
    Outcome,
    count::Tally,
    suite::{BINARY, BORINGSSL, GO_CLIENT, GRPC, PACKAGE, build_go_client, build_release},
};
use crate::{
    ebpf, process, setup,
    vm::{Guest, Release, Tree},
};

/// What guests run in.
pub const QEMU: &str = "qemu-system-x86_64";

/// Programs that the suite starts.
const PROGRAMS: &[&str] = &[
    "curl",
    "gnutls-cli",
    "gnutls-serv",
    "ip",
    "java",
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

const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What needs no third kernel beside this machine's and 6.1: it reads bytes, files and libraries, and probes
/// libraries by the `uprobe_multi` links that 6.12 has like this machine's kernel.
pub const ON_ANY_KERNEL: &[&str] = &[
    "boringssl",
    "captures",
    "daemon",
    "early_data",
    "envoy",
    "gnutls",
    "leaving",
    "libraries",
    "library",
    "node",
    "not_tls",
    "offsets",
    "preface",
    "proxies",
    "short_lives",
    "static_nginx",
    "wire_only",
];

/// Runs test programs, its arguments.
const RUN_ALL: &str =
    r#"status=0; for test; do "$test" --show-output || status=1; done; exit $status"#;

/// The suite, built for guests.
#[derive(Debug)]
pub struct Suite {
    tree: Tree,
    environment: Vec<(String, String)>,
    /// Test programs by the name of their file in tests/.
    tests: BTreeMap<String, PathBuf>,
}

impl Suite {
    /// Builds it; absent where guests cannot run.
    ///
    /// # Errors
    /// It does not build.
    pub fn build(root: &Path) -> Result<Option<Self>> {
        if process::find(QEMU).is_none() {
            return Ok(None);
        }
        let (mut tree, environment) = equipment(root)?;
        let mut tests = BTreeMap::new();
        for (name, program) in build_tests(root)? {
            let program = stripped(root, &program)?;
            tree.host(&program)?;
            tests.insert(name, program);
        }
        Ok(Some(Self {
            tree,
            environment,
            tests,
        }))
    }

    /// Runs its test programs one after the other in one guest, without those named in `left_out`.
    ///
    /// # Errors
    /// The guest cannot run, or takes too long.
    pub fn run(&self, root: &Path, release: Release, left_out: &[&str]) -> Result<Outcome> {
        let mut command = ["sh", "-c", RUN_ALL, "sh"].map(str::to_owned).to_vec();
        let wanted = |name: &String| !left_out.contains(&name.as_str());
        let tests = self.tests.iter().filter(|(name, _)| wanted(name));
        command.extend(tests.map(|(_, program)| program.display().to_string()));
        let guest = Guest {
            release,
            append: String::new(),
            tree: self.tree.clone(),
            environment: self.environment.clone(),
            command,
            timeout: TIMEOUT,
        };
        let mut tally = Tally::default();
        let status = guest.run(root, |line| {
            println!("{line}");
            tally.read(line);
        })?;
        tally.finish(status == 0).map(Outcome::Ran)
    }
}

/// Prints the table of docs/netem.md, measured in a guest: not every kernel has netem.
///
/// # Errors
/// Something cannot be built, or the guest cannot run.
pub fn netem(root: &Path) -> Result<ExitCode> {
    setup::toolchain(root)?;
    setup::programs(root)?;
    let (mut tree, mut environment) = equipment(root)?;
    environment.push(("TLS_TRACE_TEST_STRICT".to_owned(), "1".to_owned()));
    let mut build = process::cargo(root);
    build.args(["build", "--quiet", "--package", PACKAGE]);
    process::run(build.args(["--bin", "netem_table"]))?;
    let table = ebpf::target_dir(root).join("debug/netem_table");
    tree.host(&table)?;
    let guest = Guest {
        release: Release::V6_12,
        append: String::new(),
        tree,
        environment,
        command: vec![table.display().to_string()],
        timeout: 2 * TIMEOUT,
    };
    let status = guest.run(root, |line| println!("{line}"))?;
    Ok(ExitCode::from(u8::try_from(status)?))
}

/// What the suite's programs need in a guest: files and environment.
fn equipment(root: &Path) -> Result<(Tree, Vec<(String, String)>)> {
    let mut tree = installed()?;
    let mut environment = vec![("TLS_TRACE_TEST_SLOW".to_owned(), SLOWNESS.to_owned())];
    let mut program = |variable: &str, program: PathBuf| {
        environment.push((variable.to_owned(), program.display().to_string()));
        tree.host(&program)
    };
    program(BINARY, build_release(root)?)?;
    if let Some(client) = build_go_client(root)? {
        program(GO_CLIENT, client)?;
    }
    if let Some(folder) = setup::go::build_grpc(root)? {
        program(GRPC, folder)?;
    }
    if let Some(folder) = setup::boringssl::find(root) {
        program(BORINGSSL, folder)?;
    }
    Ok((tree, environment))
}

/// What the suite uses of this machine.
fn installed() -> Result<Tree> {
    let mut tree = Tree::default();
    let programs = PROGRAMS.iter().filter_map(|program| process::find(program));
    let files = FILES.iter().map(PathBuf::from);
    // Java's first: a folder that came with one library of it would count as there.
    let parts = java_runtime().into_iter().chain(programs).chain(files);
    for path in parts.chain(python_library()?) {
        // What is missing, the suite names.
        if path.exists() {
            tree.host(&path)?;
        }
    }
    Ok(tree)
}

/// The suite's test programs by name.
fn build_tests(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
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
    Ok(programs)
}

/// A copy without debug information, which is most of a program: the guest's memory has to hold them all.
fn stripped(root: &Path, program: &Path) -> Result<PathBuf> {
    let folder = ebpf::target_dir(root).join("vm/tests");
    fs::create_dir_all(&folder)?;
    let copy = folder.join(program.file_name().context("a program has a name")?);
    let mut strip = Command::new("strip");
    process::run(strip.args(["--strip-debug", "-o"]).arg(&copy).arg(program))?;
    Ok(copy)
}

/// What Java's launcher reads: its home is found from the program itself.
fn java_runtime() -> Vec<PathBuf> {
    let program = process::find("java").and_then(|java| java.canonicalize().ok());
    let home = program.as_deref().and_then(|java| java.ancestors().nth(2));
    let part = |name| home.map(|home| home.join(name));
    ["conf", "lib", "release"]
        .into_iter()
        .filter_map(part)
        .collect()
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
