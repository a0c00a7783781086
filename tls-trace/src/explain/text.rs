//! Explanations for a terminal.

use std::fmt::Write as _;

use anstyle::Style;

use super::{Set, sets};
use crate::report::Explanation;

const BOLD: Style = Style::new().bold();

/// Every label with its meaning, one a line.
#[must_use]
pub fn list() -> String {
    let sets = sets();
    let labels = sets.iter().flat_map(|set| &set.labels);
    let width = labels.map(|found| found.label.len()).max().unwrap_or(0);
    let mut text = String::new();
    for set in sets {
        let _ = writeln!(text, "{BOLD}{}{BOLD:#}: {}", set.plural, set.about);
        for Explanation { label, meaning, .. } in set.labels {
            let _ = writeln!(text, "  {label:width$}  {meaning}");
        }
        text.push('\n');
    }
    text.push_str("tls-trace explain LABEL says more of one.\n");
    text
}

/// All of one label, wrapped at `width` columns.
#[must_use]
pub fn full(set: &Set, explanation: &Explanation, width: usize) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#} ({})\n", explanation.label, set.name);
    for (title, field) in [
        ("means", explanation.meaning),
        ("proof", explanation.proof),
        ("usually", explanation.usual),
        ("next", explanation.next),
    ] {
        for (number, line) in wrapped(field, width.saturating_sub(INDENT)).enumerate() {
            let title = if number == 0 { title } else { "" };
            let _ = writeln!(text, "  {title:<8} {line}");
        }
    }
    text
}

/// Columns before the text of a field.
const INDENT: usize = 11;

/// Lines of at most `width` characters, where words allow it. Code in backticks stays together, so that
/// a command can be copied.
fn wrapped(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        let Some(line) = lines.last_mut() else {
            break;
        };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.into_iter()
}

/// Splits at spaces outside backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.split(move |character| {
        code ^= character == '`';
        character == ' ' && !code
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_never_inside_code() {
        let lines: Vec<_> = wrapped("one two `ss -ltn now`, three", 9).collect();
        assert_eq!(lines, ["one two", "`ss -ltn now`,", "three"]);
    }

    #[test]
    fn the_list_has_a_line_for_each_label() {
        let list = list();
        assert!(list.lines().any(|line| {
            line.starts_with("  connect_refused ")
                && line.ends_with(" SYN was answered with RST: nobody listens there.")
        }));
        let labels: usize = sets().iter().map(|set| set.labels.len()).sum();
        assert_eq!(list.lines().filter(|l| l.starts_with("  ")).count(), labels);
    }

    #[test]
    fn all_four_fields_are_shown() {
        for set in sets() {
            for explanation in &set.labels {
                let text = full(&set, explanation, 80);
                for title in ["means", "proof", "usually", "next"] {
                    assert!(text.contains(&format!("\n  {title:<8} ")), "{text}");
                }
            }
        }
    }
}
