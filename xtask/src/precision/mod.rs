//! How often `tls-trace inspect` is right about files without symbols (docs/stripped.md): files that have
//! symbols are stripped, looked at, and compared with their symbols; files without BoringSSL and OpenSSL must
//! give nothing.

mod files;
mod table;
mod truth;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{ebpf, process};
use files::Subject;
use table::Count;
use truth::{Known, Truth};

/// Files that one run of the finder is given.
const BATCH: usize = 64;

/// Arguments of `cargo xtask precision`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write the table into docs/stripped.md
    #[arg(long)]
    write: bool,
}

impl Arguments {
    /// Downloads, looks, compares and prints. Fails if anything that was told is wrong.
    ///
    /// # Errors
    /// The finder cannot be built or run; a file cannot be written.
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        let finder = Finder::build(root)?;
        let folder = ebpf::target_dir(root).join("precision");
        fs::create_dir_all(&folder)?;
        let mut counts = Vec::new();
        for group in files::with_symbols(&folder)? {
            let mut count = Count::new(group.name);
            for subject in group.subjects {
                compare(&finder, &subject, group.known, &mut count)?;
            }
            counts.push(count);
        }
        let mut unknown = Count::new(files::UNKNOWN);
        finder.look(&files::without_symbols(root, &folder)?, |_, found| {
            unknown.cannot_be_compared(found);
        })?;
        counts.push(unknown);
        for (name, files) in files::without(&folder)? {
            let mut count = Count::new(name);
            finder.look(&files, |file, found| {
                let is_told = !found["stripped"].is_null();
                if is_told && files::has_library(Path::new(file)) {
                    println!("left out: {file} has BoringSSL or OpenSSL");
                    count.leave_out();
                } else if !count.must_be_none(found) {
                    println!("wrong: {file} has neither library: {}", found["stripped"]);
                }
            })?;
            counts.push(count);
        }
        let text = table::text(&counts);
        println!("{text}");
        if self.write {
            table::write(&root.join("docs/stripped.md"), &text)?;
        }
        if counts.iter().any(Count::is_wrong) {
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Looks at a file without its symbols, and compares.
fn compare(
    finder: &Finder,
    subject: &Subject,
    known: &'static Known,
    count: &mut Count,
) -> Result<()> {
    let mut truth = Truth::of(&subject.file, known)?;
    finder.inspect(
        &["inspect", "--json"],
        std::slice::from_ref(&subject.file),
        |_, with| {
            truth.members(with);
        },
    )?;
    finder.look(std::slice::from_ref(&subject.stripped), |_, found| {
        for wrong in count.compare(found, &truth) {
            println!("wrong: {}: {wrong}", subject.name);
        }
    })
}

/// `tls-trace inspect`.
struct Finder(PathBuf);

impl Finder {
    /// That of `TLS_TRACE_BIN`, or one that is built.
    fn build(root: &Path) -> Result<Self> {
        if let Some(binary) = env::var_os("TLS_TRACE_BIN") {
            return Ok(Self(binary.into()));
        }
        let mut build = process::cargo(root);
        build.args(["build", "--release", "--quiet", "--package", "tls-trace"]);
        process::run(&mut build)?;
        Ok(Self(ebpf::target_dir(root).join("release/tls-trace")))
    }

    /// Looks for libraries without symbols.
    fn look(&self, files: &[PathBuf], see: impl FnMut(&str, &Value)) -> Result<()> {
        let arguments = ["inspect", "--json", "--without-symbols"];
        self.inspect(&arguments, files, see)
    }

    /// Hands over what is said of each file, with its name.
    fn inspect(
        &self,
        arguments: &[&str],
        files: &[PathBuf],
        mut see: impl FnMut(&str, &Value),
    ) -> Result<()> {
        for files in files.chunks(BATCH) {
            let mut inspect = Command::new(&self.0);
            let mut seen = 0;
            // It fails where a single file cannot be read, and says so of that file.
            process::lines(inspect.args(arguments).args(files), |line| {
                if let Ok(found) = serde_json::from_str::<Value>(line) {
                    see(found["file"].as_str().unwrap_or_default(), &found);
                    seen += 1;
                }
            })?;
            let all = (seen == files.len()).then_some(());
            all.with_context(|| {
                format!(
                    "{} told of {seen} files of {}",
                    self.0.display(),
                    files.len()
                )
            })?;
        }
        Ok(())
    }
}
