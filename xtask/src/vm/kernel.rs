//! Debian's kernels for virtual machines, unpacked but not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{process, setup::debian};

/// Kernels that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Release {
    /// Debian 12's own.
    #[value(name = "6.1")]
    V6_1,
    /// The newer one that Debian 12 offers.
    #[value(name = "6.12")]
    V6_12,
}

impl Release {
    /// As in `--kernel`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The package that always depends on the newest build.
    fn meta_package(self) -> &'static str {
        match self {
            Self::V6_1 => "linux-image-cloud-amd64",
            Self::V6_12 => "linux-image-6.12-cloud-amd64",
        }
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// What a boot loader would load.
    pub image: PathBuf,
    /// As `uname -r` prints it.
    pub version: String,
    /// The folder of its modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// Takes the kernel from `folder`, or downloads it there.
    ///
    /// # Errors
    /// apt does not offer it, or it cannot be unpacked.
    pub fn provide(release: Release, folder: &Path) -> Result<Self> {
        let unpacked = folder.join(release.name());
        if !unpacked.is_dir() {
            download(release, &unpacked)?;
        }
        Self::open(&unpacked)
    }

    fn open(unpacked: &Path) -> Result<Self> {
        for entry in fs::read_dir(unpacked.join("boot"))? {
            let image = entry?.path();
            let name = image.file_name().and_then(|name| name.to_str());
            let Some(version) = name.and_then(|name| name.strip_prefix("vmlinuz-")) else {
                continue;
            };
            return Ok(Self {
                version: version.to_owned(),
                modules: unpacked.join("lib/modules").join(version),
                image,
            });
        }
        bail!("{} holds no kernel", unpacked.display())
    }
}

fn download(release: Release, unpacked: &Path) -> Result<()> {
    println!("downloading Debian's kernel {} (test VM)", release.name());
    let scratch = unpacked.with_extension("partial");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    // The list of packages may be missing, or older than the archive.
    fetch(release, &scratch).or_else(|_| {
        debian::update()?;
        fetch(release, &scratch)
    })?;
    for entry in fs::read_dir(&scratch)? {
        let deb = entry?.path();
        process::run_quietly(Command::new("dpkg").arg("-x").arg(&deb).arg(&scratch))?;
        fs::remove_file(&deb)?;
    }
    fs::rename(&scratch, unpacked)?;
    Ok(())
}

/// Puts the package into `folder`.
fn fetch(release: Release, folder: &Path) -> Result<()> {
    let package = newest(release)?;
    let mut download = Command::new("apt-get");
    // The unprivileged user that apt downloads as by default may not write here.
    download.args(["download", "--quiet", "-oAPT::Sandbox::User=root", &package]);
    process::run_quietly(download.current_dir(folder))
}

fn newest(release: Release) -> Result<String> {
    let meta_package = release.meta_package();
    let listing = process::output(Command::new("apt-cache").args(["depends", meta_package]))?;
    first_dependency(&listing)
        .map(str::to_owned)
        .with_context(|| format!("apt offers no {meta_package}"))
}

fn first_dependency(listing: &str) -> Option<&str> {
    listing
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Depends: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_apt_cache() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            first_dependency(listing),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(first_dependency("linux-image\n  Suggests: other\n"), None);
    }
}
