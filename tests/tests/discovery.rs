//! TLS libraries are found in the processes that map them, whatever their files are called and wherever
//! they are.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tls_trace::{
    discover::library::{FileId, Finder, Observer},
    inspect::{Coverage, Family, Inspection},
};
use tls_trace_tests::say_skipped;

const SOON: Duration = Duration::from_secs(60);

/// What an observer hears.
#[derive(Debug)]
enum Heard {
    Found(FileId, PathBuf, Vec<Family>),
    Gone(FileId),
}

struct Listener(Sender<Heard>);

impl Observer for Listener {
    fn found(&mut self, id: FileId, file: &File, inspection: Inspection) -> Coverage {
        use std::os::fd::AsRawFd as _;
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = fs::read_link(link).unwrap_or_default();
        let families = inspection.libraries.iter().map(|library| library.family);
        // Nobody listens any more at the end of a test.
        let _ = self.0.send(Heard::Found(id, path, families.collect()));
        inspection.coverage
    }

    fn gone(&mut self, id: FileId) {
        let _ = self.0.send(Heard::Gone(id));
    }
}

fn start() -> Result<(Finder, Receiver<Heard>)> {
    let (sender, heard) = channel();
    let finder = Finder::start(Box::new(Listener(sender)))?;
    if let Err(reason) = finder.follows() {
        bail!("{reason}");
    }
    Ok((finder, heard))
}

/// Waits for the file of that name.
fn found(heard: &Receiver<Heard>, name: &str) -> Result<(FileId, Vec<Family>)> {
    loop {
        if let Heard::Found(id, path, families) =
            heard.recv_timeout(SOON).context(name.to_owned())?
            && path.to_string_lossy().contains(name)
        {
            return Ok((id, families));
        }
    }
}

/// A process that maps a library, says so, and waits for its end.
struct Mapper(Child);

impl Mapper {
    fn start(mut command: Command) -> Result<Self> {
        use std::io::{BufRead as _, BufReader};
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output")?;
        let mapper = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "mapped\n", "{command:?} says {line:?}");
        Ok(mapper)
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Maps the first argument as the loader does, then waits until standard input ends.
const MAP: &str =
    "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print('mapped', flush=True); sys.stdin.read()";

fn python(library: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-S", "-c", MAP]).arg(library);
    command
}

/// The libssl that Python uses.
fn libssl() -> Result<PathBuf> {
    const FIND: &str = "import _ssl; [path] = {line.split()[-1] for line in open('/proc/self/maps') \
                        if 'libssl' in line}; print(path)";
    let found = Command::new("python3").args(["-c", FIND]).output()?;
    let path = String::from_utf8(found.stdout)?;
    ensure!(
        !path.is_empty(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    Ok(path.trim().into())
}

fn copy(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::copy(libssl()?, &path)?;
    Ok(path)
}

fn is_covered(finder: &Finder, process: &Mapper) -> bool {
    let coverage = finder.coverages().of(process.0.id());
    matches!(coverage, Some(Coverage::Covered { by, .. }) if by.contains(&Family::OpensslSsl))
}

#[test]
fn what_is_mapped_later_is_found_by_what_is_in_it() -> Result<()> {
    let (finder, heard) = start()?;
    let folder = tempfile::tempdir()?;
    let library = copy(folder.path(), "tt_dd_later.jpeg")?;
    let process = Mapper::start(python(&library))?;
    let (id, families) = found(&heard, "tt_dd_later.jpeg")?;
    assert_eq!(families, [Family::OpensslSsl]);
    wait_until(|| is_covered(&finder, &process))?;

    // A second process: known already, told once.
    let second = Mapper::start(python(&library))?;
    wait_until(|| is_covered(&finder, &second))?;
    drop(finder);
    let again = |heard: Heard| matches!(heard, Heard::Found(other, ..) if other == id);
    ensure!(!heard.try_iter().any(again), "told twice");
    Ok(())
}

#[test]
fn what_was_mapped_before_is_found_though_its_name_is_gone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = copy(folder.path(), "tt_dd_before.so")?;
    let process = Mapper::start(python(&library))?;
    fs::remove_file(&library)?;
    let (finder, heard) = start()?;
    found(&heard, "tt_dd_before.so")?;
    wait_until(|| is_covered(&finder, &process))
}

/// A file that is written over in place is another file.
#[test]
fn a_file_that_changes_is_inspected_again() -> Result<()> {
    let (finder, heard) = start()?;
    let folder = tempfile::tempdir()?;
    let library = copy(folder.path(), "tt_dd_changes.so")?;
    let process = Mapper::start(python(&library))?;
    let (old, _) = found(&heard, "tt_dd_changes.so")?;
    drop(process);
    fs::write(&library, fs::read(libssl()?)?)?;
    let process = Mapper::start(python(&library))?;
    loop {
        if let Heard::Gone(id) = heard.recv_timeout(SOON)?
            && id == old
        {
            break;
        }
    }
    let (new, _) = found(&heard, "tt_dd_changes.so")?;
    ensure!(new != old);
    wait_until(|| is_covered(&finder, &process))
}

/// Two containers of one image: two mounts of an overlay on the same file, in mount namespaces of
/// their own. One file to probe, told once.
#[test]
fn containers_of_one_image_share_a_file() -> Result<()> {
    let (finder, heard) = start()?;
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("image");
    fs::create_dir(&image)?;
    copy(&image, "tt_dd_image.so")?;
    let container = |number: u32| {
        let upper = folder.path().join(format!("upper{number}"));
        let (work, root) = (upper.with_extension("work"), upper.with_extension("root"));
        for each in [&upper, &work, &root] {
            fs::create_dir(each)?;
        }
        let mut command = Command::new("unshare");
        let script = r#"mount -t tmpfs none "$2" && mkdir "$2/u" "$2/w" &&
            mount -t overlay -o "lowerdir=$1,upperdir=$2/u,workdir=$2/w" overlay "$3" &&
            exec python3 -S -c "$4" "$3/tt_dd_image.so""#;
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.args([&image, &work, &root]).arg(MAP);
        Mapper::start(command)
    };
    let one = match container(1) {
        Ok(one) => one,
        Err(error) => {
            say_skipped(
                "containers_of_one_image_share_a_file",
                &format!("no overlay: {error}"),
            );
            return Ok(());
        }
    };
    let (id, _) = found(&heard, "tt_dd_image.so")?;
    let two = container(2)?;
    wait_until(|| is_covered(&finder, &one) && is_covered(&finder, &two))?;
    drop(finder);
    let again = |heard: Heard| {
        let Heard::Found(other, path, _) = heard else {
            return false;
        };
        other == id || path.to_string_lossy().contains("tt_dd_image")
    };
    ensure!(!heard.try_iter().any(again), "told twice");
    Ok(())
}

/// Waits for what another thread is about to find out.
fn wait_until(mut holds: impl FnMut() -> bool) -> Result<()> {
    let started = std::time::Instant::now();
    while !holds() {
        ensure!(started.elapsed() < SOON, "in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
