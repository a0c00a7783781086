//! Other programs: run, and named when they fail.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// What cargo tells this program about its own package begins so. Build scripts look at it (ring's does), and what they
/// build would be built again whenever cargo runs within cargo, and once more when it does not.
const OWN_PACKAGE: [&str; 3] = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"];

/// The cargo that runs this program, to be run in the workspace as if by hand.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OWN_PACKAGE.iter().any(|own| text.starts_with(own)) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Runs a program; what it prints is shown.
///
/// # Errors
/// It cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_run(command))?;
    ensure!(status.success(), "{} failed: {status}", name(command));
    Ok(())
}

/// Runs a program that this one ends with: its failure is this one's.
///
/// # Errors
/// It cannot be started.
pub fn end_with(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a program; what it prints is shown only if it fails.
///
/// # Errors
/// It cannot be started, or fails.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program and takes its standard output.
///
/// # Errors
/// It cannot be started, or fails; the error shows what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null());
    let output = command.output().with_context(|| cannot_run(command))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{} failed: {}\n{stdout}{}",
        name(command),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(stdout.into_owned())
}

/// Runs a program and hands over each line that it writes to standard output.
///
/// # Errors
/// It cannot be started or waited for. Its failure is none.
pub fn lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| cannot_run(command))?;
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).split(b'\n') {
            line(&String::from_utf8_lossy(&text?));
        }
    }
    Ok(child.wait()?)
}

/// Where a program is. The system's own comes before what a version manager puts into `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    ["/usr/bin", "/usr/sbin", "/usr/local/go/bin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn cannot_run(command: &Command) -> String {
    format!("cannot run {}", name(command))
}

/// The program and its first arguments, enough to know which call it was.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name();
    let words: Vec<_> = program
        .into_iter()
        .chain(command.get_args().take(3))
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_program_and_output() {
        let mut shell = Command::new("sh");
        let error = output(shell.args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.starts_with("sh -c"), "{message}");
        assert!(
            message.contains("exit status: 3") && message.contains("why"),
            "{message}"
        );
    }

    #[test]
    fn missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot run no-such-program"));
        assert_eq!(find("no-such-program"), None);
    }
}
