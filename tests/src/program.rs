//! Real programs: started, talked to, waited for, and never left behind.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use crate::{environment::find, netns::Netns, seconds};

/// A program to be started.
#[derive(Debug)]
pub struct Program {
    name: String,
    command: Command,
}

impl Program {
    /// The program of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::at(&find(name).unwrap_or_else(|| name.into()))
    }

    /// The program in that file.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            command: Command::new(path),
        }
    }

    /// One argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Arguments as one would type them; those with spaces need [`Self::arg`].
    #[must_use]
    pub fn args(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_whitespace());
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// As a user without any rights.
    #[must_use]
    pub fn as_nobody(mut self) -> Self {
        const NOBODY: u32 = 65_534;
        self.command.uid(NOBODY).gid(NOBODY);
        self
    }

    /// Inside a network namespace.
    #[must_use]
    pub fn within(mut self, netns: &Netns) -> Self {
        netns.enter_at_start(&mut self.command);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut self) -> Result<Running> {
        self.command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        die_with_parent(&mut self.command, Signal::SIGKILL);
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let output = Arc::new(Output::default());
        output.follow(child.stdout.take());
        output.follow(child.stderr.take());
        Ok(Running {
            name: self.name,
            child,
            output,
        })
    }

    /// Starts it and waits until it listens on a TCP port, without connecting to it.
    ///
    /// # Errors
    /// It cannot be started, ended, or the deadline passed.
    pub fn listening(self, port: u16) -> Result<Running> {
        self.start()?.listening(port)
    }

    /// Starts it, gives it no input, and waits for its end.
    ///
    /// # Errors
    /// It cannot be started or did not end in time.
    pub fn run(self) -> Result<Finished> {
        self.start()?.finish()
    }

    /// As [`Self::run`], for programs that take long.
    ///
    /// # Errors
    /// It cannot be started or did not end in time.
    pub fn run_for(self, longest: Duration) -> Result<Finished> {
        self.start()?.finish_within(longest)
    }
}

/// The library of that name that Python has mapped.
///
/// # Errors
/// There is none.
pub fn mapped(name: &str) -> Result<PathBuf> {
    let script = "import _ssl; print(open('/proc/self/maps').read())";
    let maps = Program::new("python3").arg("-c").arg(script).run()?;
    let line = maps.output.lines().find(|line| line.contains(name));
    let path = line.and_then(|line| line.split_whitespace().last());
    Ok(path.context(name.to_owned())?.into())
}

/// Lets the kernel send `signal` to the child when the thread that starts it ends, however.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    // SAFETY: prctl is async-signal-safe and touches no memory of this process.
    unsafe {
        command
            .pre_exec(move || nix::sys::prctl::set_pdeathsig(signal).map_err(std::io::Error::from));
    }
}

/// A program that runs, or has ended unnoticed. Killed with its children when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    output: Arc<Output>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output and standard error as they came.
    pub output: String,
}

impl Finished {
    /// Fails unless the program exited with 0.
    ///
    /// # Errors
    /// It did not; the error shows its output.
    pub fn success(self) -> Result<Self> {
        ensure!(self.status.success(), "{}: {}", self.status, self.output);
        Ok(self)
    }

    /// Fails unless the program said this.
    ///
    /// # Errors
    /// It did not; the error shows its output.
    pub fn said(self, text: &str) -> Result<Self> {
        ensure!(
            self.output.contains(text),
            "did not say '{text}': {}: {}",
            self.status,
            self.output
        );
        Ok(self)
    }
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().text.clone()
    }

    /// Writes to its standard input.
    ///
    /// # Errors
    /// It does not read.
    pub fn say(&mut self, text: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("input is closed")?;
        stdin.write_all(text.as_bytes())?;
        stdin.flush()?;
        Ok(())
    }

    /// Closes its standard input.
    pub fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until it has written this.
    ///
    /// # Errors
    /// It ended, or the deadline passed.
    pub fn until(&self, text: &str) -> Result<()> {
        ensure!(
            self.says_within(text, seconds(20.0)),
            "{} did not say '{text}' but: {}",
            self.name,
            self.output()
        );
        Ok(())
    }

    /// Waits until it has written this; says whether it did in time.
    #[must_use]
    pub fn says_within(&self, text: &str, longest: Duration) -> bool {
        self.output.wait(longest, |state| state.text.contains(text))
    }

    /// Waits until it has written so many whole lines with this; the last of them.
    pub(crate) fn nth_line_with(&self, text: &str, count: usize) -> Result<String> {
        let nth = |state: &State| {
            let lines = state.text.split_inclusive('\n');
            let mut lines = lines.filter(|line| line.ends_with('\n') && line.contains(text));
            lines.nth(count - 1).map(str::to_owned)
        };
        let written = self
            .output
            .wait(seconds(20.0), |state| nth(state).is_some());
        ensure!(written, "{} said: {}", self.name, self.output());
        nth(&self.output.lock()).context("it was there")
    }

    /// Waits until it listens on a TCP port, without connecting to it.
    ///
    /// # Errors
    /// It ended, or the deadline passed.
    pub fn listening(self, port: u16) -> Result<Self> {
        let deadline = Instant::now() + seconds(20.0);
        while !listens(self.pid(), port) {
            ensure!(
                Instant::now() < deadline && !self.output.lock().closed(),
                "{} does not listen on {port}: {}",
                self.name,
                self.output()
            );
            pause();
        }
        Ok(self)
    }

    /// Sends a signal to it, not to its children.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.group(), signal)?;
        Ok(())
    }

    /// Closes its input and waits for its end.
    ///
    /// # Errors
    /// The deadline passed.
    pub fn finish(self) -> Result<Finished> {
        self.finish_within(seconds(60.0))
    }

    fn finish_within(mut self, longest: Duration) -> Result<Finished> {
        self.end_input();
        let deadline = Instant::now() + longest;
        self.output.wait(longest, State::closed);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Finished {
                    status,
                    output: self.output(),
                });
            }
            if Instant::now() > deadline {
                bail!("{} does not end: {}", self.name, self.output());
            }
            pause();
        }
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let finished = self.finish()?;
        ensure!(finished.status.signal() == Some(9), "{}", finished.status);
        Ok(())
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not yet waited for, so the group's number cannot have become another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(self.group(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Between two looks at something that only polling shows.
pub(crate) fn pause() {
    thread::sleep(Duration::from_millis(2));
}

/// Whether a TCP port listens in a process's network namespace.
fn listens(pid: u32, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().unwrap_or_default();
            local.ends_with(&port) && fields.nth(1) == Some(LISTEN)
        })
    })
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    /// Streams that have ended.
    ended: usize,
}

impl State {
    fn closed(&self) -> bool {
        self.ended == 2
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(self: &Arc<Self>, stream: Option<impl Read + Send + 'static>) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            if let Some(mut stream) = stream {
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    output.lock().text.push_str(&text);
                    output.changed.notify_all();
                }
            }
            output.lock().ended += 1;
            output.changed.notify_all();
        });
    }

    /// Waits for a condition; says whether it came true before the deadline and the streams' end.
    fn wait(&self, longest: Duration, condition: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + longest;
        let mut state = self.lock();
        loop {
            if condition(&state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.closed() {
                return false;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Program, pause};
    use crate::seconds;

    #[test]
    fn talks_and_ends() -> anyhow::Result<()> {
        let mut cat = Program::new("cat").start()?;
        cat.say("hello\n")?;
        cat.until("hello")?;
        cat.finish()?.success()?.said("hello")?;
        Ok(())
    }

    #[test]
    fn reports_failure_with_output() -> anyhow::Result<()> {
        let failed = Program::new("sh").arg("-c").arg("echo why; exit 3").run()?;
        let error = failed.success().unwrap_err().to_string();
        assert!(error.contains("why") && error.contains('3'), "{error}");
        Ok(())
    }

    #[test]
    fn is_killed_with_its_children_when_dropped() -> anyhow::Result<()> {
        let shell = Program::new("sh")
            .arg("-c")
            .arg("sleep 100 & echo $!; wait")
            .start()?;
        shell.until("\n")?;
        let child = format!("/proc/{}/stat", shell.output().trim());
        drop(shell);
        let deadline = Instant::now() + seconds(10.0);
        // The orphan's new parent may leave it a zombie.
        while std::fs::read_to_string(&child).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "still runs");
            pause();
        }
        Ok(())
    }
}
