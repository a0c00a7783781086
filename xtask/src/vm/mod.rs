//! Runs a program of this machine under another kernel, in a virtual machine without any disk.

mod arguments;
mod cpio;
mod kernel;
mod module;
mod qemu;
mod tree;

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};

pub use arguments::Arguments;
pub use kernel::{Kernel, Release};
pub use tree::Tree;

use crate::{ebpf::target_dir, process};

/// A program to run in a guest.
#[derive(Debug)]
pub struct Guest {
    /// The kernel.
    pub release: Release,
    /// More words for the kernel's command line.
    pub append: String,
    /// What the guest has beyond a shell and the kernel's modules.
    pub tree: Tree,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Guest {
    /// Boots, runs the command, hands each line it prints to `line`, and returns its exit status.
    ///
    /// # Errors
    /// The kernel cannot be had, qemu is missing, the guest dies or takes too long.
    pub fn run(mut self, root: &Path, line: impl FnMut(&str)) -> Result<i32> {
        let folder = target_dir(root).join("vm");
        fs::create_dir_all(&folder)?;
        let kernel = Kernel::provide(self.release, &folder)?;
        add_base(&mut self.tree, &kernel, &folder)?;
        let script = script(&self.environment, &self.command);
        self.tree.content("/vm/command", 0o644, script);
        let scratch = Scratch::create(&folder)?;
        let initrd = scratch.0.join("initrd");
        self.tree.write(BufWriter::new(File::create(&initrd)?))?;
        let machine = qemu::Machine {
            kernel: &kernel.image,
            initrd: &initrd,
            append: &self.append,
            timeout: self.timeout,
            scratch: &scratch.0,
        };
        machine.run(line)
    }
}

/// A folder for one guest, removed when dropped. Guests may run side by side.
struct Scratch(PathBuf);

impl Scratch {
    const PREFIX: &str = "guest-";

    fn create(parent: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Those of killed processes are large.
        for entry in fs::read_dir(parent)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(rest) = name.strip_prefix(Self::PREFIX)
                && let Some(pid) = rest.split('-').next()
                && !Path::new("/proc").join(pid).exists()
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = parent.join(format!("{}{pid}-{number}", Self::PREFIX));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one tries again.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What every guest has: busybox, modules, and a first process.
fn add_base(tree: &mut Tree, kernel: &Kernel, folder: &Path) -> Result<()> {
    for link in ["bin", "lib", "lib64", "sbin"] {
        tree.directory(&format!("/usr/{link}"));
        tree.symlink(link, &format!("usr/{link}"));
    }
    for directory in [
        "dev", "proc", "root", "run", "sys", "tmp", "var/log", "var/tmp",
    ] {
        tree.directory(directory);
    }
    let busybox = process::find("busybox").context("busybox is missing")?;
    tree.copy(&busybox, "/vm/busybox");
    tree.symlink("/usr/bin/sh", "/vm/busybox");
    tree.symlink("/usr/sbin/modprobe", "/vm/busybox");
    tree.content("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n");
    for file in ["/etc/passwd", "/etc/group"] {
        tree.host(Path::new(file))?;
    }
    tree.content("/init", 0o755, include_str!("init.sh"));
    let modules = modules(kernel, &busybox, folder)?;
    for entry in fs::read_dir(&modules)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.context("modules have plain names")?;
        tree.copy(
            &path,
            &format!("/usr/lib/modules/{}/{name}", kernel.version),
        );
    }
    Ok(())
}

/// Staged once for each kernel.
fn modules(kernel: &Kernel, busybox: &Path, folder: &Path) -> Result<PathBuf> {
    let generation = module::generation();
    let stage = folder.join(format!("modules-{}-{generation:x}", kernel.version));
    let staged = stage.join("lib/modules").join(&kernel.version);
    if staged.is_dir() {
        return Ok(staged);
    }
    let partial = folder.join(format!("modules.partial-{}", std::process::id()));
    module::stage(kernel, busybox, &partial)?;
    fs::rename(&partial, &stage)?;
    Ok(staged)
}

fn script(environment: &[(String, String)], command: &[String]) -> String {
    let exports = environment
        .iter()
        .map(|(name, value)| format!("export {name}={}", quote(value)));
    let words: Vec<_> = command.iter().map(|word| quote(word)).collect();
    let lines: Vec<_> = exports
        .chain([format!("exec {}\n", words.join(" "))])
        .collect();
    lines.join("\n")
}

/// As one word of a shell command.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_of_dead_processes_is_removed() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let dead = parent.path().join("guest-none");
        fs::create_dir(&dead)?;
        let scratch = Scratch::create(parent.path())?;
        assert!(scratch.0.is_dir() && !dead.exists());
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn quotes_for_the_shell() {
        let environment = [("A".to_owned(), "it's $x".to_owned())];
        let command = ["printf".to_owned(), "%s\n".to_owned(), "a b".to_owned()];
        assert_eq!(
            script(&environment, &command),
            "export A='it'\\''s $x'\nexec 'printf' '%s\n' 'a b'\n"
        );
    }
}
