//! Text from strangers made safe for a terminal. SNI, ALPN and process names are bytes that anybody
//! may choose: escape sequences, line breaks, bidirectional overrides.

use std::fmt::{self, Write as _};

/// Shows `text` with everything that is not plainly printable escaped as in Rust source; a
/// backslash is doubled, so that the original can be told apart.
#[must_use]
pub fn escaped(text: &str) -> Escaped<'_> {
    Escaped {
        text,
        limit: usize::MAX,
    }
}

/// As [`escaped`], cut with `…` after `limit` characters of the original.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> Escaped<'_> {
    Escaped { text, limit }
}

/// The result of [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    text: &'a str,
    limit: usize,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.text.chars();
        for character in characters.by_ref().take(self.limit) {
            match character {
                '\'' | '"' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        if characters.next().is_some() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_terminal_passes() {
        let hostile = "a\u{1b}[31m\n\r\t\0\u{7f}\u{9b}2J\u{202e}gpj\u{200b}\u{feff}\u{2028}é\\";
        let shown = escaped(hostile).to_string();
        assert_eq!(
            shown,
            "a\\u{1b}[31m\\n\\r\\t\\0\\u{7f}\\u{9b}2J\\u{202e}gpj\\u{200b}\\u{feff}\\u{2028}é\\\\"
        );
    }

    #[test]
    fn ordinary_names_are_untouched() {
        for name in [
            "api.local",
            "Web Content",
            "xn--bcher-kva.example",
            "it's",
            "日本",
        ] {
            assert_eq!(escaped(name).to_string(), name);
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("abcdef", 6).to_string(), "abcdef");
        assert_eq!(shortened("abcdefg", 6).to_string(), "abcdef…");
    }
}
