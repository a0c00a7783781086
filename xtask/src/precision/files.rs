//! What the finder is tried on.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::truth::{self, Known};
use crate::{offsets, process, setup};

/// Releases of gRPC's C core that have symbols, of 2018 to 2021, and a Python they are for.
const GRPC: [(&str, &str); 9] = [
    ("1.12.1", "3.6"),
    ("1.17.1", "3.6"),
    ("1.20.1", "3.6"),
    ("1.24.3", "3.6"),
    ("1.27.2", "3.8"),
    ("1.30.0", "3.8"),
    ("1.34.1", "3.8"),
    ("1.38.1", "3.9"),
    ("1.39.0", "3.9"),
];
/// curl_cffi with symbols, of 2024 to 2026.
const CURL: [(&str, &str); 6] = [
    ("0.6.4", "3.9"),
    ("0.7.4", "3.9"),
    ("0.10.0", "3.9"),
    ("0.13.0", "3.9"),
    ("0.16.3", "3.11"),
    ("0.17.0", "3.11"),
];
/// Releases of gRPC's C core without symbols, of 2021 to 2026.
const STRIPPED: [(&str, &str); 9] = [
    ("1.41.1", "3.9"),
    ("1.46.5", "3.9"),
    ("1.51.3", "3.11"),
    ("1.56.2", "3.11"),
    ("1.62.3", "3.11"),
    ("1.67.1", "3.11"),
    ("1.71.2", "3.11"),
    ("1.76.0", "3.11"),
    ("1.85.1", "3.11"),
];
/// cryptography with OpenSSL 3.0 to 4.0 linked in, and symbols, of 2022 to 2026.
const OPENSSL: [(&str, &str); 7] = [
    ("38.0.4", "3.9"),
    ("41.0.7", "3.9"),
    ("42.0.8", "3.9"),
    ("43.0.3", "3.9"),
    ("44.0.3", "3.9"),
    ("46.0.3", "3.9.18"),
    ("50.0.2", "3.9.18"),
];
/// The same with OpenSSL 1.1.1.
const OPENSSL_1: [(&str, &str); 1] = [("3.4.8", "3.9")];
/// Programs with OpenSSL 3.0 in them, and symbols, where they are.
const NODE: [&str; 2] = ["/usr/bin/node", "/usr/local/bin/node"];

/// Name of those that can be compared with nothing.
pub const UNKNOWN: &str =
    "grpcio 1.41 to 1.85, Envoy 1.40, nginx 1.31 with OpenSSL 3.3 (no symbols to compare with)";

/// A file with symbols, and a copy without.
pub struct Subject {
    pub name: String,
    pub file: PathBuf,
    pub stripped: PathBuf,
}

/// Files that have the same library.
pub struct Group {
    pub name: &'static str,
    pub known: &'static Known,
    pub subjects: Vec<Subject>,
}

/// Files with a library and symbols.
pub fn with_symbols(folder: &Path) -> Result<Vec<Group>> {
    let group = |name, known, files: Vec<(String, PathBuf)>| {
        let subjects = files.into_iter().map(|(name, file)| {
            let stripped = folder.join(format!("{name}.stripped"));
            let mut strip = Command::new("strip");
            strip.args(["--strip-all", "-o"]).arg(&stripped).arg(&file);
            process::run_quietly(&mut strip)?;
            Ok(Subject {
                name,
                file,
                stripped,
            })
        });
        let subjects = subjects.collect::<Result<_>>()?;
        Ok(Group {
            name,
            known,
            subjects,
        })
    };
    let node = NODE.into_iter().map(Path::new).filter(|file| is_elf(file));
    let node = node.map(|file| ("node".to_owned(), file.to_owned()));
    [
        (
            "grpcio 1.12 to 1.39, by GCC",
            &truth::BORINGSSL,
            wheels(folder, "grpcio", &GRPC, "cygrpc")?,
        ),
        (
            "curl_cffi 0.6 to 0.17, by Clang",
            &truth::BORINGSSL,
            wheels(folder, "curl_cffi", &CURL, "_wrapper")?,
        ),
        (
            "cryptography 38 to 50, with OpenSSL 3.0 to 4.0",
            &truth::OPENSSL,
            wheels(folder, "cryptography", &OPENSSL, "_")?,
        ),
        ("Node, with OpenSSL 3.0", &truth::OPENSSL, node.collect()),
    ]
    .into_iter()
    .map(|(name, known, files)| group(name, known, files))
    .collect()
}

/// Files with a library and without symbols.
pub fn without_symbols(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = wheels(folder, "grpcio", &STRIPPED, "cygrpc")?;
    setup::envoy::provide(root)?;
    if let Some(envoy) = setup::envoy::find(root) {
        let found = libraries(&envoy, "envoy")?;
        files.extend(found.into_iter().map(|file| ("envoy".to_owned(), file)));
    }
    setup::nginx::provide(root)?;
    if let Some(nginx) = setup::nginx::find(root) {
        let found = libraries(&nginx, "nginx")?;
        files.extend(found.into_iter().map(|file| ("nginx".to_owned(), file)));
    }
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// Files with another TLS library, and all programs and libraries of this machine.
pub fn without(folder: &Path) -> Result<Vec<(&'static str, Vec<PathBuf>)>> {
    let openssl = wheels(folder, "cryptography", &OPENSSL_1, "_")?;
    let openssl = openssl.into_iter().map(|(_, file)| file).collect();
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for place in ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec"] {
        walk(Path::new(place), &mut |file, metadata| {
            if seen.insert((metadata.dev(), metadata.ino())) && is_elf(file) {
                all.push(file.to_owned());
            }
        })?;
    }
    Ok(vec![
        ("cryptography 3.4, with OpenSSL 1.1.1", openssl),
        ("programs and libraries below /usr", all),
    ])
}

/// What is called like that in releases of a Python package; what cannot be had is left out, and said so.
fn wheels(
    folder: &Path,
    package: &str,
    releases: &[(&str, &str)],
    library: &str,
) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for (version, python) in releases {
        let name = format!("{package}-{version}");
        let place = folder.join(&name);
        offsets::provide(&place, &name, |scratch| {
            offsets::python(package, version, python, scratch)
        })?;
        if place.is_dir() {
            let found = libraries(&place, library)?;
            let file = found.into_iter().next();
            files.push((
                name.clone(),
                file.with_context(|| format!("no library in {name}"))?,
            ));
        }
    }
    Ok(files)
}

/// The programs and libraries below a folder that are called like that, the largest first.
fn libraries(folder: &Path, start: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(folder, &mut |file, metadata| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(start) && is_elf(file) {
            files.push((std::cmp::Reverse(metadata.len()), file.to_owned()));
        }
    })?;
    files.sort();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// Tells all files below a folder, in order of their names.
fn walk(folder: &Path, tell: &mut dyn FnMut(&Path, &fs::Metadata)) -> Result<()> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let metadata = path.symlink_metadata()?;
        if metadata.is_dir() {
            walk(&path, tell)?;
        } else if metadata.is_file() {
            tell(&path, &metadata);
        }
    }
    Ok(())
}

/// Whether it is an executable or a shared library (`ET_EXEC`, `ET_DYN`).
fn is_elf(file: &Path) -> bool {
    let mut head = [0; 18];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF") && matches!(head[16..], [2 | 3, 0])
}

/// Whether it has the name of a source file that only BoringSSL or OpenSSL has.
pub fn has_library(file: &Path) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    has(b"ssl/tls13_client.cc") || has(b"ssl/statem/statem_lib.c")
}
