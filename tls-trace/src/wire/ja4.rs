//! JA4, the fingerprint of a TLS client (FoxIO, technical_details/JA4.md; this part is under the BSD
//! licence).

use std::fmt::Write;

use ring::digest::{SHA256, digest};

use super::{
    extension::{ALPN, SERVER_NAME, is_grease},
    message::ClientHello,
};

impl ClientHello {
    /// The JA4 fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    #[must_use]
    pub fn ja4(&self) -> String {
        let ciphers = without_grease(&self.cipher_suites);
        let extensions = without_grease(&self.extensions);
        let server_name = if extensions.contains(&SERVER_NAME) {
            'd'
        } else {
            'i'
        };
        format!(
            "t{version}{server_name}{ciphers:02}{extensions:02}{alpn}_{b}_{c}",
            version = self.ja4_version(),
            ciphers = ciphers.len().min(99),
            extensions = extensions.len().min(99),
            alpn = self.ja4_alpn(),
            b = hash(&sorted_list(ciphers)),
            c = self.ja4_extensions(extensions),
        )
    }

    fn ja4_version(&self) -> &'static str {
        let offered = without_grease(&self.supported_versions);
        match offered.into_iter().max().unwrap_or(self.legacy_version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        }
    }

    /// First and last character of the first protocol. Where one is ASCII but not alphanumeric, those
    /// of its hex form; a byte that is not ASCII is a 9, as in FoxIO's own expected results.
    fn ja4_alpn(&self) -> String {
        let protocol = self.alpn.as_ref().and_then(|protocols| protocols.first());
        let Some((&first, &last)) = protocol.and_then(|name| name.first().zip(name.last())) else {
            return "00".to_owned();
        };
        if [first, last]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
        {
            let character = |byte: u8| if byte.is_ascii() { byte.into() } else { '9' };
            return [first, last].map(character).into_iter().collect();
        }
        format!("{:x}{:x}", first >> 4, last & 0x0f)
    }

    fn ja4_extensions(&self, mut extensions: Vec<u16>) -> String {
        extensions.retain(|kind| ![SERVER_NAME, ALPN].contains(kind));
        let mut text = sorted_list(extensions);
        let algorithms = without_grease(&self.signature_algorithms);
        if !text.is_empty() && !algorithms.is_empty() {
            text.push('_');
            text.push_str(&list(&algorithms));
        }
        hash(&text)
    }
}

fn without_grease(numbers: &[u16]) -> Vec<u16> {
    numbers
        .iter()
        .copied()
        .filter(|number| !is_grease(*number))
        .collect()
}

fn sorted_list(mut numbers: Vec<u16>) -> String {
    numbers.sort_unstable();
    list(&numbers)
}

fn list(numbers: &[u16]) -> String {
    let numbers: Vec<String> = numbers
        .iter()
        .map(|number| format!("{number:04x}"))
        .collect();
    numbers.join(",")
}

/// The first twelve hex digits of SHA-256; zeros for nothing.
fn hash(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    let mut hex = String::with_capacity(12);
    for byte in &digest(&SHA256, text.as_bytes()).as_ref()[..6] {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;

    use super::*;

    /// The example of the specification.
    fn example() -> ClientHello {
        ClientHello {
            legacy_version: 0x0303,
            cipher_suites: vec![
                0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
                0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005,
                0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a,
            ],
            signature_algorithms: vec![
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ],
            supported_versions: vec![0xfafa, 0x0304, 0x0303],
            alpn: Some(vec![Bytes::from("h2"), Bytes::from("http/1.1")]),
            ..ClientHello::default()
        }
    }

    #[test]
    fn example_of_the_specification() {
        assert_eq!(example().ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let without_algorithms = ClientHello {
            signature_algorithms: Vec::new(),
            ..example()
        };
        assert_eq!(
            without_algorithms.ja4(),
            "t13d1516h2_8daaf6152771_6d807ffa2a79"
        );
    }

    #[test]
    fn nothing_offered() {
        let hello = ClientHello::default();
        assert_eq!(hello.ja4(), "t00i000000_000000000000_000000000000");
    }

    #[rstest]
    #[case::one_character(b"x", "xx")]
    #[case::empty(b"", "00")]
    #[case::not_alphanumeric(b"-x", "28")]
    #[case::ends_not_alphanumeric(b"h2\n", "6a")]
    #[case::not_ascii(b"\xba\xad", "99")]
    #[case::ends_not_ascii(b"0\xab", "09")]
    fn protocols(#[case] protocol: &'static [u8], #[case] expected: &str) {
        let hello = ClientHello {
            alpn: Some(vec![Bytes::from(protocol)]),
            ..example()
        };
        assert_eq!(&hello.ja4()[8..10], expected);
    }
}
