//! Kernel modules for the guest, with those they depend on.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::kernel::Kernel;
use crate::process;

/// What the tests need beyond what Debian builds in; loaded on demand.
const NAMES: &[&str] = &[
    "inet_diag",
    "nf_log_syslog",
    "nf_tables",
    "sch_fq_codel",
    "sch_htb",
    "sch_netem",
    "sch_prio",
    "sch_tbf",
    "tcp_diag",
    "tls",
    "veth",
];

/// Each expression of nftables is a module of its own.
const PREFIX: &str = "nft_";

/// Changes when the list of modules does.
pub fn generation() -> u64 {
    let mut hasher = DefaultHasher::new();
    (NAMES, PREFIX).hash(&mut hasher);
    hasher.finish()
}

/// Uncompressed modules and the indexes that modprobe reads, below `stage`.
///
/// # Errors
/// A module cannot be read, or busybox fails.
pub fn stage(kernel: &Kernel, busybox: &Path, stage: &Path) -> Result<PathBuf> {
    let mut available = BTreeMap::new();
    list(&kernel.modules.join("kernel"), &mut available)?;
    let folder = stage.join("lib/modules").join(&kernel.version);
    fs::create_dir_all(&folder)?;
    let expressions = available.keys().filter(|name| name.starts_with(PREFIX));
    let names = NAMES.iter().map(|&name| name.to_owned());
    let mut wanted: Vec<String> = names.chain(expressions.cloned()).collect();
    while let Some(name) = wanted.pop() {
        let file = folder.join(format!("{name}.ko"));
        // What is not there is built in, or this kernel has no such thing.
        let Some(source) = available.get(&name).filter(|_| !file.exists()) else {
            continue;
        };
        let module = read(source, busybox)?;
        wanted.extend(dependencies(&module));
        fs::write(&file, module)?;
    }
    let builtin = "modules.builtin";
    fs::copy(kernel.modules.join(builtin), folder.join(builtin))?;
    let mut depmod = Command::new(busybox);
    depmod.args(["depmod", "-b"]).arg(stage);
    process::run_quietly(depmod.arg(&kernel.version))?;
    Ok(folder)
}

/// All modules of a folder, by name with underscores.
fn list(folder: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()));
    for entry in entries? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, found)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some((name, _)) = name.split_once(".ko")
        {
            found.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn read(path: &Path, busybox: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new(busybox).arg("xzcat").arg(path).output()?;
        ensure!(output.status.success(), "cannot unpack {}", path.display());
        Ok(output.stdout)
    } else {
        fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// The `depends=` entry of the `.modinfo` section, which holds strings that end in NUL.
fn dependencies(module: &[u8]) -> Vec<String> {
    module
        .split(|&byte| byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry.strip_prefix(b"depends=")?).ok())
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dependencies() {
        let module = b"\x7fELF\0junk\0license=GPL\0depends=nf_tables,nf-reject\0name=x\0";
        assert_eq!(dependencies(module), ["nf_tables", "nf_reject"]);
        assert!(dependencies(b"license=GPL\0depends=\0").is_empty());
    }
}
