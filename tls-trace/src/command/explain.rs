//! `tls-trace explain`: what the labels of verdicts mean.

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

use crate::explain;

/// Columns of the output.
const WIDTH: usize = 100;

/// Say what a cause, notice, phase or other label of a verdict means
///
/// For each label: what it says, what proves it, what usually causes it, and what to do next. Without
/// LABEL: the list of all.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// A label as it stands in a report
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,

    /// Print docs/verdicts.md
    #[arg(long, conflicts_with = "labels")]
    markdown: bool,
}

const EXAMPLES: &str = "\
Examples:
  tls-trace explain                        every label, one a line
  tls-trace explain certificate_unknown_ca
  tls-trace explain --markdown > docs/verdicts.md

Exit code 2: there is no such label.";

impl Explain {
    /// Prints what was asked for.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        let text = if self.markdown {
            explain::markdown()
        } else if self.labels.is_empty() {
            explain::list()
        } else {
            let mut blocks = Vec::new();
            for label in &self.labels {
                match explain::find(label) {
                    Ok(found) => {
                        let found = found.iter();
                        blocks.extend(found.map(|(set, label)| explain::full(set, label, WIDTH)));
                    }
                    Err(unknown) => {
                        anstream::eprintln!("tls-trace: {unknown}");
                        code = ExitCode::from(2);
                    }
                }
            }
            blocks.join("\n")
        };
        match anstream::stdout().lock().write_all(text.as_bytes()) {
            // Whoever read it has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(code),
            written => Ok(written.map(|()| code)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_label_is_exit_code_2() {
        let run = |label: &str| {
            let explain = Explain {
                labels: vec![label.to_owned()],
                markdown: false,
            };
            format!("{:?}", explain.execute().unwrap())
        };
        assert_eq!(run("unused"), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(run("unusd"), format!("{:?}", ExitCode::from(2)));
    }
}
