//! Bytes from strangers as text that is safe to print.

/// Shows bytes that may be anything (SNI, ALPN) as printable text: what is not printable UTF-8, and
/// double quotes and backslashes, as escapes of Rust source. Different bytes give different text.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            text.extend(byte.escape_ascii().map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["example.com", "h2", "it's", "日本"] {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_passes() {
        let hostile = b"a\x1b[31m\r\n\0\"\\\xff\x9b\xe2\x80\xae";
        let escaped = r#"a\u{1b}[31m\r\n\0\"\\\xff\x9b\u{202e}"#;
        assert_eq!(escape(hostile), escaped);
    }
}
