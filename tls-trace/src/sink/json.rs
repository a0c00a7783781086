//! Reports for machines: one JSON object a line. The schema is docs/json.md.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// One line, with its line break. Characters that a terminal may act upon are escaped beyond what
/// JSON asks for, because people look at JSON in terminals; to a parser it is the same.
///
/// # Errors
/// The value has no JSON form, such as a map with keys that are no strings.
pub fn line<T: Serialize>(value: &T) -> serde_json::Result<String> {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, TerminalSafe);
    value.serialize(&mut serializer)?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// Compact JSON in which control and format characters outside ASCII are `\u` escapes.
struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices() {
            if character == '\u{7f}' || (!character.is_ascii() && !printable(character)) {
                writer.write_all(&fragment.as_bytes()[plain..at])?;
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
                plain = at + character.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

fn printable(character: char) -> bool {
    character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Report, sink::sample};

    #[test]
    fn what_goes_out_comes_in() {
        let mut report = sample::failed();
        report.sni = Some("a\u{1b}\u{9b}\u{202e}\u{7f}\u{e0001}é\"\\ 日\n".to_owned());
        let line = line(&report).unwrap();
        assert!(line.contains(r#""sni":"a\u001b\u009b\u202e\u007f\udb40\udc01é\"\\ 日\n""#));
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }

    #[test]
    fn the_documented_example_is_a_report() {
        let docs = include_str!("../../../docs/json.md");
        let example = docs.split("```").nth(1).unwrap();
        let example = example.strip_prefix("json\n").unwrap();
        let report: Report = serde_json::from_str(example).unwrap();
        let ours = serde_json::to_value(&report).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(example).unwrap();
        assert_eq!(ours, theirs);
        for field in theirs.as_object().unwrap().keys() {
            assert!(
                docs.contains(&format!("`{field}")),
                "{field} is not described"
            );
        }
    }
}
