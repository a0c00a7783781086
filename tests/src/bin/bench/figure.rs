//! Figures beside their budgets, as a Markdown table.

use std::fmt;

/// What was measured together.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    /// How it was measured, in a few sentences.
    pub method: String,
    pub figures: Vec<Figure>,
}

/// A measured value.
#[derive(Debug)]
pub struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    budget: Option<Budget>,
}

/// What design and documentation promise.
#[derive(Clone, Copy, Debug)]
enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            budget: None,
        }
    }

    /// The value must not be above this.
    pub fn at_most(mut self, limit: f64) -> Self {
        self.budget = Some(Budget::AtMost(limit));
        self
    }

    /// The value must not be below this.
    pub fn at_least(mut self, limit: f64) -> Self {
        self.budget = Some(Budget::AtLeast(limit));
        self
    }

    fn with_unit(&self, value: f64) -> String {
        let number = grouped(value);
        format!("{number} {}", self.unit).trim_end().to_owned()
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n", self.title, self.method)?;
        writeln!(f, "| | measured | budget | measured : budget |")?;
        writeln!(f, "| --- | ---: | ---: | ---: |")?;
        for figure in &self.figures {
            writeln!(f, "{figure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (budget, ratio) = match self.budget {
            None => (String::new(), String::new()),
            Some(budget) => {
                let (sign, limit, kept) = match budget {
                    Budget::AtMost(limit) => ('≤', limit, self.value <= limit),
                    Budget::AtLeast(limit) => ('≥', limit, self.value >= limit),
                };
                let verdict = if kept { "" } else { " **missed**" };
                (
                    format!("{sign} {}", self.with_unit(limit)),
                    format!("{:.2}{verdict}", self.value / limit),
                )
            }
        };
        let measured = self.with_unit(self.value);
        write!(f, "| {} | {measured} | {budget} | {ratio} |", self.what)
    }
}

/// Three significant digits at least, thousands apart.
fn grouped(value: f64) -> String {
    let decimals = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut number = String::new();
    for (index, digit) in whole.char_indices() {
        let left = whole.len() - index;
        if left % 3 == 0 && number.ends_with(|last: char| last.is_ascii_digit()) {
            number.push(',');
        }
        number.push(digit);
    }
    if !rest.is_empty() {
        number.push('.');
        number.push_str(rest);
    }
    number
}

/// The middle value; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
