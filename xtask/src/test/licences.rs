//! Dependencies: free for everybody to use, and from crates.io only.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{MetadataCommand, Package};
use spdx::{Expression, LicenseReq, ParseMode};

use super::{Outcome, count::Count};

/// Licences that ask for no more than to be named, by their SPDX identifiers.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Checks every dependency of the workspace, for any platform.
pub fn check(root: &Path) -> Result<Outcome> {
    let mut metadata = MetadataCommand::new();
    metadata.manifest_path(root.join("Cargo.toml"));
    let problems: Vec<_> = metadata
        .other_options(vec!["--locked".to_owned()])
        .exec()?
        .packages
        .iter()
        .filter_map(|package| {
            let problem = problem(package).err()?;
            Some(format!("{} {}: {problem:#}", package.name, package.version))
        })
        .collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(Outcome::Ran(Count::PASSED))
}

fn problem(package: &Package) -> Result<()> {
    if let Some(source) = &package.source {
        ensure!(source.is_crates_io(), "comes from {source}");
    }
    let licence = package.license.as_deref().context("names no licence")?;
    ensure!(is_allowed(licence)?, "licence {licence}");
    Ok(())
}

fn is_allowed(licence: &str) -> Result<bool> {
    let expression = Expression::parse_mode(licence, ParseMode::LAX)?;
    let allowed = |requirement: &LicenseReq| {
        let id = requirement.license.id();
        id.is_some_and(|id| ALLOWED.contains(&id.name)) && requirement.addition.is_none()
    };
    Ok(expression.evaluate(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_alternative_is_enough() {
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "Unlicense OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_allowed(licence).unwrap(), "{licence}");
        }
        for licence in ["GPL-2.0-only", "MIT AND GPL-3.0-only", "MPL-2.0"] {
            assert!(!is_allowed(licence).unwrap(), "{licence}");
        }
        assert!(is_allowed("free as in beer").is_err());
    }
}
