//! `cargo xtask vm`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Guest, Release, Tree};
use crate::process;

/// What to run, and where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which kernel.
    #[arg(long, value_enum, default_value_t = Release::V6_12)]
    kernel: Release,
    /// More for the kernel's command line, such as lockdown=confidentiality.
    #[arg(long, default_value = "")]
    append: String,
    /// A file or folder that the guest needs too; may be repeated.
    #[arg(long)]
    file: Vec<PathBuf>,
    /// An environment variable; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Seconds that the guest may take.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// The program and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

impl Arguments {
    /// Runs it; the exit status is the program's.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        let mut tree = Tree::default();
        for path in &self.file {
            tree.host(&std::path::absolute(path)?)?;
        }
        let (program, arguments) = self.command.split_first().context("required by clap")?;
        let program = if program.contains('/') {
            std::path::absolute(program)?
        } else {
            process::find(program).with_context(|| format!("{program} is missing"))?
        };
        tree.host(&program)?;
        let mut command = vec![program.display().to_string()];
        command.extend_from_slice(arguments);
        let guest = Guest {
            release: self.kernel,
            append: self.append,
            tree,
            environment: self.env,
            command,
            timeout: Duration::from_secs(self.timeout),
        };
        let status = guest.run(root, |line| println!("{line}"))?;
        Ok(ExitCode::from(u8::try_from(status)?))
    }
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn parses() {
        let command = ["vm", "--kernel", "6.1", "--env", "A=b=c", "--", "ls", "-l"];
        let Arguments {
            kernel,
            env,
            command,
            ..
        } = Command::parse_from(command).arguments;
        assert_eq!(kernel, Release::V6_1);
        assert_eq!(env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(command, ["ls", "-l"]);
        assert!(Command::try_parse_from(["vm", "--env", "A", "--", "ls"]).is_err());
        assert!(Command::try_parse_from(["vm"]).is_err());
    }
}
