//! Explanations as a page: docs/verdicts.md.

use std::fmt::Write as _;

use super::{Set, sets};
use crate::report::Explanation;

const HEAD: &str = "\
# Verdicts

What every label means, what proves it, what usually causes it, and what to do next. `tls-trace explain LABEL`
prints the same. Made by `tls-trace explain --markdown`: change tls-trace/src/report, not this page.
";

/// docs/verdicts.md.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for set in sets() {
        heading(&mut page, &set);
        for explanation in &set.labels {
            label(&mut page, explanation);
        }
    }
    page
}

fn heading(page: &mut String, set: &Set) {
    let mut title = set.plural.to_owned();
    title[..1].make_ascii_uppercase();
    let _ = write!(
        page,
        "\n## {title}\n\n{} In reports: `{}`.",
        set.about, set.field
    );
    if !set.metrics.is_empty() {
        let metrics: Vec<_> = set.metrics.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(page, " Label `{}` of {}.", set.name, metrics.join(", "));
    }
    page.push('\n');
}

fn label(page: &mut String, explanation: &Explanation) {
    let Explanation {
        label,
        meaning,
        proof,
        usual,
        next,
    } = explanation;
    let _ = write!(
        page,
        "\n### {label}\n\n{meaning}\n\n- proof: {proof}\n- usually: {usual}\n- next: {next}\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_current() {
        let page = include_str!("../../../docs/verdicts.md");
        assert!(
            page == markdown(),
            "docs/verdicts.md is not current: tls-trace explain --markdown > docs/verdicts.md"
        );
    }
}
