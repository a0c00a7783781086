//! Counts of what was right, and the table of them.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::truth::{BORINGSSL, Known, OPENSSL, Truth};

/// Around the table, in the page.
const MARKS: [&str; 2] = [
    "<!-- by cargo xtask precision --write -->\n",
    "<!-- end -->\n",
];

/// Of one function or member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    right: u32,
    wrong: u32,
    /// Files of which it was not told.
    refused: u32,
}

/// Of a group of files.
#[derive(Debug, Default)]
pub struct Count {
    name: &'static str,
    files: u32,
    /// By label; those that were refused without a look at their votes are in none.
    grades: BTreeMap<String, u32>,
    told: BTreeMap<&'static str, Told>,
    /// Could not be read.
    failed: u32,
    /// Left out.
    has_it: u32,
}

impl Count {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Whether anything told was wrong.
    pub fn is_wrong(&self) -> bool {
        self.told.values().any(|told| told.wrong > 0)
    }

    /// Counts what was told of a file; what of it is wrong.
    pub fn compare(&mut self, found: &Value, truth: &Truth) -> Vec<String> {
        self.add(found);
        let found = &found["stripped"];
        let mut wrong = Vec::new();
        for (name, _) in truth.known.functions {
            let hooks = found["hooks"].as_array().into_iter().flatten();
            let hooks = hooks.filter(|hook| hook["name"] == *name);
            let mut is_told = false;
            for hook in hooks {
                is_told = true;
                let address = hook["address"].as_u64().unwrap_or_default();
                let is_right = truth.has(name, address);
                self.tell(name, Some(is_right));
                if !is_right {
                    wrong.push(format!("{name} at {address:#x}"));
                }
            }
            if !is_told {
                self.tell(name, None);
            }
        }
        for (name, ..) in truth.known.members {
            let is_right = member(found, name).zip(truth.member(name));
            let is_right = is_right.map(|(told, true_one)| (told == true_one, told));
            self.tell(name, is_right.map(|(is_right, _)| is_right));
            if let Some((false, told)) = is_right {
                wrong.push(format!("{name} at {told:#x}"));
            }
        }
        wrong
    }

    /// Counts a file of which nobody knows what it has.
    pub fn cannot_be_compared(&mut self, found: &Value) {
        self.add(found);
    }

    /// Counts a file that does have a library.
    pub fn leave_out(&mut self) {
        self.has_it += 1;
    }

    /// Counts a file that has no library: anything told is wrong.
    pub fn must_be_none(&mut self, found: &Value) -> bool {
        self.add(found);
        let hooks = found["stripped"]["hooks"].as_array();
        let is_right = hooks.is_none_or(Vec::is_empty);
        for hook in hooks.into_iter().flatten() {
            let of = names().find(|name| hook["name"] == *name);
            self.tell(of.unwrap_or("other"), Some(false));
        }
        is_right
    }

    fn add(&mut self, found: &Value) {
        self.files += 1;
        if !found["error"].is_null() {
            self.failed += 1;
            return;
        }
        let grade = found["stripped"]["grade"].as_str().unwrap_or("none");
        *self.grades.entry(grade.to_owned()).or_default() += 1;
    }

    fn tell(&mut self, name: &'static str, is_right: Option<bool>) {
        let told = self.told.entry(name).or_default();
        match is_right {
            Some(true) => told.right += 1,
            Some(false) => told.wrong += 1,
            None => told.refused += 1,
        }
    }

    fn grade(&self, label: &str) -> u32 {
        self.grades.get(label).copied().unwrap_or_default()
    }
}

/// A member that would be used: the grade allows it, and two pieces of code say so.
fn member(found: &Value, name: &str) -> Option<u64> {
    let may = matches!(found["grade"].as_str(), Some("high" | "medium"));
    let mut members = found["members"].as_array().into_iter().flatten();
    let member = members.find(|member| member["name"] == name)?;
    let (witnesses, against) = (member["witnesses"].as_u64()?, member["against"].as_u64()?);
    let is_used = may && witnesses >= 2 && against * 2 <= witnesses;
    member["offset"].as_u64().filter(|_| is_used)
}

/// What can be told, each once.
fn names() -> impl Iterator<Item = &'static str> {
    let functions = |known: &'static Known| known.functions.iter().map(|(name, _)| *name);
    let members = |known: &'static Known| known.members.iter().map(|(name, ..)| *name);
    let openssl =
        functions(&OPENSSL).filter(move |name| functions(&BORINGSSL).all(|own| own != *name));
    let boringssl = functions(&BORINGSSL).chain(members(&BORINGSSL));
    boringssl.chain(openssl).chain(members(&OPENSSL))
}

/// Both tables.
pub fn text(counts: &[Count]) -> String {
    let mut text = String::from(
        "| Files | | high | medium | errors only | refused | no vote | right | wrong | not told |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    // Writing to a String cannot fail.
    for count in counts {
        let mut all = Told::default();
        for told in count.told.values() {
            all.right += told.right;
            all.wrong += told.wrong;
            all.refused += told.refused;
        }
        let [high, medium, errors, refused] =
            ["high", "medium", "errors_only", "refused"].map(|label| count.grade(label));
        let none = count.grade("none") + count.failed;
        let _ = writeln!(
            text,
            "| {} | {} | {high} | {medium} | {errors} | {refused} | {none} | {} | {} | {} |",
            count.name, count.files, all.right, all.wrong, all.refused,
        );
    }
    text.push_str(
        "\n| Function or member | right | wrong | not told |\n| --- | --- | --- | --- |\n",
    );
    for name in names() {
        let mut all = Told::default();
        for told in counts.iter().filter_map(|count| count.told.get(name)) {
            all.right += told.right;
            all.wrong += told.wrong;
            all.refused += told.refused;
        }
        let Told {
            right,
            wrong,
            refused,
        } = all;
        let _ = writeln!(text, "| `{name}` | {right} | {wrong} | {refused} |");
    }
    let left_out: u32 = counts.iter().map(|count| count.has_it).sum();
    if left_out > 0 {
        let _ = writeln!(
            text,
            "\nLeft out, as they do have BoringSSL or OpenSSL: {left_out} files."
        );
    }
    text
}

/// Puts it into the page.
pub fn write(page: &Path, text: &str) -> Result<()> {
    let old = fs::read_to_string(page)?;
    let new = replaced(&old, text).with_context(|| format!("no place in {}", page.display()))?;
    Ok(fs::write(page, new)?)
}

fn replaced(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], text, MARKS[1], after].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_told_of_a_file_without_it_is_wrong() {
        let hook = json!({"name": "tls_free", "address": 16});
        let found = json!({"stripped": {"grade": "medium", "hooks": [hook]}});
        let mut count = Count::new("none");
        assert!(count.must_be_none(&json!({"coverage": "no_tls"})));
        assert!(!count.is_wrong());
        assert!(!count.must_be_none(&found));
        assert!(count.is_wrong() && count.files == 2);

        let mut count = Count::new("stripped");
        let wrong = count.compare(&found, &Truth::nothing(&BORINGSSL));
        assert_eq!(wrong, ["tls_free at 0x10"]);
        assert!(count.is_wrong());
        assert_eq!(count.told["ERR_put_error"].refused, 1);

        let hook = json!({"name": "SSL_clear", "address": 16});
        let found = json!({"stripped": {"grade": "high", "hooks": [hook]}});
        let wrong = count.compare(&found, &Truth::nothing(&OPENSSL));
        assert_eq!(wrong, ["SSL_clear at 0x10"]);
        assert_eq!(count.told["SSL_do_handshake"].refused, 2);
    }

    #[test]
    fn the_table_goes_between_its_marks() {
        let page = ["a\n", MARKS[0], "old\n", MARKS[1], "b\n"].concat();
        let new = ["a\n", MARKS[0], "new\n", MARKS[1], "b\n"].concat();
        assert_eq!(replaced(&page, "new\n"), Some(new));
        assert_eq!(replaced("a\n", "new\n"), None);
    }
}
