//! The virtual machine itself.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Quiet and fast to boot; a panic ends the machine (`panic=-1` with qemu's `-no-reboot`).
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable \
    no_timer_check nokaslr random.trust_cpu=on audit=0 selinux=0 apparmor=0 rdinit=/init";

/// Lines of the console that explain a death.
const LAST_WORDS: usize = 30;

/// A machine about to boot.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Compressed kernel image.
    pub kernel: &'a Path,
    /// Initial RAM file system.
    pub initrd: &'a Path,
    /// More words for the kernel's command line.
    pub append: &'a str,
    /// How long it may run.
    pub timeout: Duration,
    /// A folder for files of the machine.
    pub scratch: &'a Path,
}

impl Machine<'_> {
    /// Runs until the guest leaves; returns the exit status its first process reports.
    ///
    /// # Errors
    /// qemu cannot be started, or the guest dies or takes too long.
    pub fn run(&self, mut line: impl FnMut(&str)) -> Result<i32> {
        let console = self.scratch.join("console");
        let status = self.scratch.join("status");
        let mut qemu = self.qemu(&console, &status);
        let mut child = Running(qemu.spawn().context("cannot run qemu-system-x86_64")?);
        let deadline = Instant::now() + self.timeout;
        let lines = lines(&mut child.0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.timeout.as_secs();
                    bail!("the guest took longer than {seconds} s\n{}", tail(&console));
                }
            }
        }
        child.0.wait()?;
        let status = fs::read_to_string(&status).unwrap_or_default();
        exit_status(&status)
            .with_context(|| format!("the guest died without a word\n{}", tail(&console)))
    }

    fn qemu(&self, console: &Path, status: &Path) -> Command {
        let [accelerator, cpu] = if has_kvm() {
            ["kvm", "host"]
        } else {
            // Five-level page tables slow an emulated machine down, and so does what libraries do with AVX: SHA-256
            // takes two and a half times as long, AES-GCM five times.
            ["tcg,thread=multi", "max,la57=off,avx=off,avx2=off"]
        };
        // A machine must not outlive this program, however that ends.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-machine", "pc,hpet=off"])
            .args(["-accel", accelerator, "-cpu", cpu])
            .args(["-smp", "2", "-m", "3072"])
            // ISA serial ports need no module: the console, the output, the exit status.
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-chardev", "stdio,id=output,signal=off"])
            .args(["-serial", "chardev:output"])
            .args(["-serial", &format!("file:{}", status.display())])
            .args(["-device", "isa-debug-exit,iobase=0x501,iosize=1"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initrd)
            .args(["-append", &format!("{COMMAND_LINE} {}", self.append)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        qemu
    }
}

/// Real hardware virtualisation. /dev/kvm alone may be an emulation that a stock kernel hangs in.
fn has_kvm() -> bool {
    let writable = fs::OpenOptions::new().write(true).open("/dev/kvm").is_ok();
    let real = ["kvm_intel", "kvm_amd"]
        .iter()
        .any(|module| Path::new("/sys/module").join(module).exists());
    writable && real
}

fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

fn exit_status(report: &str) -> Option<i32> {
    report
        .lines()
        .find_map(|line| line.trim().strip_prefix("exit="))?
        .parse()
        .ok()
}

fn tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// Killed unless it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_exit_status() {
        assert_eq!(exit_status("exit=0\r\n"), Some(0));
        assert_eq!(exit_status("noise\nexit=101\n"), Some(101));
        assert_eq!(exit_status(""), None);
    }
}
