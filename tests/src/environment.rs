//! What the suite finds around it.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// A deadline that long on an ordinary machine; longer by `TLS_TRACE_TEST_SLOW`.
#[must_use]
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds * slowness())
}

/// [`seconds`] in milliseconds, for programs whose timers are told so.
#[must_use]
pub fn milliseconds(of: f64) -> u128 {
    seconds(of).as_millis()
}

/// Whether this machine is so slow, an emulated one, that handshakes may take long by themselves.
#[must_use]
pub fn is_slow() -> bool {
    slowness() > 1.0
}

fn slowness() -> f64 {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    *FACTOR.get_or_init(|| {
        env::var("TLS_TRACE_TEST_SLOW")
            .ok()
            .and_then(|factor| factor.parse().ok())
            .unwrap_or(1.0)
    })
}

/// The folder of what set-up installs for the suite: where an environment variable says, or of that name among the
/// target folder's tools. Absent where it is not there.
#[must_use]
pub fn installed(variable: &str, name: &str) -> Option<PathBuf> {
    let tools = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let folder = env::var_os(variable).map_or_else(|| tools().join(name), PathBuf::from);
    folder.canonicalize().ok()
}

/// Whether a test has to be skipped for want of root; says so.
#[must_use]
pub fn skip_without_root(name: &str) -> bool {
    let skip = !nix::unistd::geteuid().is_root();
    if skip {
        say_skipped(name, "needs root");
    }
    skip
}

/// What set-up installs only where npm or Maven is: Debian's own bring hundreds of packages with them.
const OPTIONAL: [&str; 2] = ["grpc-js", "grpc-java"];

/// Whether all programs are there; if not, says which is missing.
///
/// # Errors
/// One is missing that set-up installs, and `TLS_TRACE_TEST_STRICT` is set.
pub(crate) fn have_programs(name: &str, programs: &[&str]) -> Result<bool> {
    let Some(missing) = programs.iter().find(|program| find(program).is_none()) else {
        return Ok(true);
    };
    let strict = env::var_os("TLS_TRACE_TEST_STRICT").is_some();
    ensure!(
        !strict || OPTIONAL.contains(missing),
        "{missing} is missing"
    );
    say_skipped(name, &format!("{missing} is missing"));
    Ok(false)
}

/// Says that a test cannot run here. Past the test harness, which hides what passed tests print; it may be
/// in mid-line.
pub fn say_skipped(name: &str, why: &str) {
    let _ = writeln!(io::stdout(), "\n{name}: skipped: {why}");
}

/// Where a program is. The system's own comes before what a version manager puts into `PATH`:
/// its wrappers are scripts that take longer than the handshake under test.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    ["/usr/bin", "/usr/sbin", "/usr/local/go/bin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A folder for this process's files. It outlives the process: the next one removes it.
///
/// # Errors
/// The folder cannot be made.
pub fn scratch() -> Result<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let parent = env::temp_dir();
    for entry in fs::read_dir(&parent)?.flatten() {
        if owner(&entry.file_name().to_string_lossy()).is_some_and(|pid| !alive(pid)) {
            // Another process may be clearing up the same folder.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = parent.join(format!("tt-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(FOLDER.get_or_init(|| folder))
}

/// The process that made something named `tt-PID…`.
pub(crate) fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("tt-")?.split('-').next()?.parse().ok()
}

/// Whether a process still runs.
pub(crate) fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::{find, owner};

    #[test]
    fn owner_is_the_first_number() {
        assert_eq!(owner("tt-123"), Some(123));
        assert_eq!(owner("tt-123-4c"), Some(123));
        assert_eq!(owner("tt-x"), None);
        assert_eq!(owner("other-123"), None);
    }

    #[test]
    fn finds_programs_by_name_only() {
        assert!(find("ls").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
