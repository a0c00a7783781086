//! Struct offsets read out of OpenSSL's code, against what the library's own accessors say when they
//! are called. The releases are those that `cargo xtask offsets` downloaded, and this machine's own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tls_trace::inspect::{Finding, inspect};

/// Members whose accessors are called, in every release.
const ACCESSORS: usize = 25;

/// Members that may be read, and who says so.
type Found = BTreeMap<&'static str, Finding>;

fn found(files: &[PathBuf]) -> Result<Found> {
    let mut found = Found::new();
    for file in files {
        let inspection = inspect(&File::open(file)?)?;
        let members = inspection
            .libraries
            .into_iter()
            .flat_map(|library| library.members);
        let readable = members.filter(|member| member.finding.offsets().is_some());
        found.extend(readable.map(|member| (member.name, member.finding)));
    }
    Ok(found)
}

/// Every library below a folder that is one half of an OpenSSL, or both.
fn libraries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if ["libssl", "libcrypto", "_rust", "_openssl"]
                .iter()
                .any(|start| name.starts_with(start))
                && name.contains(".so")
                && !found(&[entry.path()])?.is_empty()
            {
                libraries.push(entry.path());
            }
        }
    }
    // libssl, then libcrypto.
    libraries.sort();
    libraries.reverse();
    Ok(libraries)
}

/// Calls the accessors; how many there are.
fn ask(libraries: &[PathBuf], folder: Option<&Path>) -> Result<usize> {
    let (Some(ssl), Some(crypto)) = (libraries.first(), libraries.last()) else {
        return Ok(0);
    };
    let found = found(libraries)?;
    let places: BTreeMap<_, Value> = found
        .iter()
        .filter_map(|(name, finding)| Some((*name, json!({"path": finding.offsets()?.path}))))
        .collect();
    let places = serde_json::to_string(&places)?;
    let answers = pythons(ssl, folder).into_iter().map(|mut python| {
        python.args(["-c", include_str!("../programs/offsets.py")]);
        python.args([ssl, crypto]);
        run(&mut python, &places)
    });
    let mut output = None;
    for answer in answers {
        output = output.or(answer?);
    }
    let output = output.context("it cannot be loaded")?;
    for line in output.lines() {
        ensure!(line.starts_with("right "), "{}: {line}", ssl.display());
    }
    Ok(output.lines().count())
}

/// What a program writes; None when it fails.
fn run(command: &mut Command, input: &str) -> Result<Option<String>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    // One that has ended does not read; its status says so.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(output.status.success().then_some(text))
}

/// Python as it is, and on the C library of the release: either may be too old for the other.
fn pythons(ssl: &Path, folder: Option<&Path>) -> Vec<Command> {
    let mut plain = Command::new("/usr/bin/python3");
    plain.envs(ssl.parent().map(|folder| ("LD_LIBRARY_PATH", folder)));
    let mut pythons = vec![plain];
    let names = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
    let own = names.iter().filter_map(|name| Some(folder?.join(name)));
    let own: Vec<_> = own.collect();
    let loaders = own.iter().map(|folder| folder.join("ld-linux-x86-64.so.2"));
    if let Some(loader) = loaders.rev().find(|loader| loader.exists()) {
        let own = own.iter().map(|folder| folder.display().to_string());
        let all: Vec<_> = own.chain(names.map(|name| format!("/{name}"))).collect();
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(all.join(":"));
        command.arg("/usr/bin/python3");
        pythons.insert(0, command);
    }
    pythons
}

fn downloaded(processor: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("offsets");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    let is_arm = |path: &PathBuf| path.to_string_lossy().ends_with("-arm64");
    folders.retain(|folder| folder.is_dir() && is_arm(folder) == (processor == "arm64"));
    folders.sort();
    if folders.is_empty() {
        println!("skipped: cargo xtask offsets has not been run");
    }
    folders
}

#[test]
fn of_this_machine() -> Result<()> {
    let folder = Path::new("/usr/lib/x86_64-linux-gnu");
    let libraries = ["libssl.so.3", "libcrypto.so.3"].map(|name| folder.join(name));
    if !libraries.iter().all(|library| library.exists()) {
        println!("skipped: no OpenSSL 3");
        return Ok(());
    }
    assert_eq!(ask(&libraries, None)?, ACCESSORS);
    Ok(())
}

#[test]
fn of_releases_for_x86_64() -> Result<()> {
    for folder in downloaded("amd64") {
        let libraries = libraries(&folder)?;
        let asked = ask(&libraries, Some(&folder)).with_context(|| folder.display().to_string())?;
        assert_eq!(asked, ACCESSORS, "{}", folder.display());
        println!(
            "{}: {asked} members are where their accessors read",
            folder.display()
        );
    }
    Ok(())
}

/// The same release has the same structs on both processors: pointers, `long` and `int` are alike.
#[test]
fn of_releases_for_aarch64() -> Result<()> {
    for folder in downloaded("arm64") {
        let twin = folder.to_string_lossy().replace("-arm64", "-amd64");
        if !Path::new(&twin).is_dir() {
            println!("skipped: no {twin}");
            continue;
        }
        let (arm, x86) = (
            found(&libraries(&folder)?)?,
            found(&libraries(Path::new(&twin))?)?,
        );
        assert_eq!(arm, x86, "{}", folder.display());
        let proven = arm.values();
        let proven = proven.filter(|finding| matches!(finding, Finding::BinaryAndTable(_)));
        assert_eq!(
            proven.count(),
            ACCESSORS - 1,
            "{}: all but bio.num",
            folder.display()
        );
    }
    Ok(())
}
