//! Debian's package manager.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use super::Package;
use crate::process;

/// Why packages cannot be installed here, if so.
pub fn obstacle() -> Option<&'static str> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !is_debian_12(&release) {
        return Some("this is not Debian 12");
    }
    (!nix::unistd::geteuid().is_root()).then_some("this needs root")
}

fn is_debian_12(os_release: &str) -> bool {
    let has = |line| os_release.lines().any(|candidate| candidate == line);
    has("ID=debian") && has("VERSION_ID=\"12\"")
}

/// Installs packages and says so, one line each. None of their services is started.
///
/// # Errors
/// apt-get fails.
pub fn install(packages: &[&Package]) -> Result<()> {
    for package in packages {
        println!("installing {package}");
    }
    let _policy = NoServices::declare()?;
    update()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages.iter().map(|package| package.name));
    apt_get(&arguments)?;
    for service in packages.iter().filter_map(|package| package.service) {
        if process::find("systemctl").is_some() {
            process::run_quietly(Command::new("systemctl").args(["disable", service]))?;
        }
    }
    Ok(())
}

/// Fetches the lists of packages.
///
/// # Errors
/// apt-get fails, for one without root.
pub fn update() -> Result<()> {
    apt_get(&["update"])
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    process::run_quietly(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .arg("--quiet")
            .args(arguments),
    )
}

/// Asks Debian's package scripts not to start services, for as long as it lives.
/// See invoke-rc.d(8) on policy-rc.d: exit status 101 means "forbidden".
struct NoServices {
    ours: bool,
}

impl NoServices {
    const PATH: &str = "/usr/sbin/policy-rc.d";

    fn declare() -> Result<Self> {
        let ours = !Path::new(Self::PATH).exists();
        if ours {
            fs::write(Self::PATH, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(Self::PATH, Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot write {}", Self::PATH))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            // It is only ever missing if somebody removed it in the meantime.
            let _ = fs::remove_file(Self::PATH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debian_12() {
        assert!(is_debian_12(
            "NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n"
        ));
        assert!(!is_debian_12("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12(
            "VERSION_ID=\"12\"\nID=devuan\nID_LIKE=debian\n"
        ));
    }
}
