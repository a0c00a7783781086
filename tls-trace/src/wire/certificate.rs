//! The server's certificate, in the clear up to TLS 1.2 (RFC 5246 §7.4.2). Nothing is verified: this is
//! what the client was shown.

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{escape, reader::Reader};

/// Names kept; certificates of large sites have a hundred.
const NAMES: usize = 8;
/// Characters kept of subject and issuer.
const TEXT: usize = 128;

/// What an X.509 certificate says of itself (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// Subject, as in RFC 4514; escaped.
    pub subject: String,
    /// Issuer, as in RFC 4514; escaped.
    pub issuer: String,
    /// DNS names and addresses it is for, the first few; escaped.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Whether it is for the server name asked for; absent when none was.
    pub name_matches: Option<bool>,
}

impl Certificate {
    /// Reads the first certificate of a Certificate message's body. `None` when there is none, or it
    /// cannot be decoded.
    #[must_use]
    pub fn parse(body: &[u8], server_name: Option<&[u8]>) -> Option<Self> {
        let mut list = Reader::new(vector24(&mut Reader::new(body))?);
        let (_, certificate) = X509Certificate::from_der(vector24(&mut list)?).ok()?;
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let alternative = alternative.map_or(&[][..], |names| &names.value.general_names[..]);
        let dns = |name: &GeneralName| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        let wanted = server_name.and_then(|name| str::from_utf8(name).ok());
        let mut common = certificate.subject().iter_common_name();
        let matches = |wanted: &str| {
            let mut known = alternative.iter().filter_map(dns).peekable();
            if known.peek().is_some() {
                known.any(|known| is_for(&known, wanted))
            } else {
                // RFC 6125 §6.4.4; few clients still do so.
                common.any(|name| name.as_str().is_ok_and(|known| is_for(known, wanted)))
            }
        };
        Some(Self {
            name_matches: wanted.map(matches),
            subject: text(&certificate.subject().to_string()),
            issuer: text(&certificate.issuer().to_string()),
            names: alternative.iter().filter_map(name).take(NAMES).collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

/// A vector with a length of three bytes.
fn vector24<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let [a, b, c] = reader.array()?;
    reader.take(u32::from_be_bytes([0, a, b, c]) as usize)
}

fn text(text: &str) -> String {
    let short: String = text.chars().take(TEXT).collect();
    escape(short.as_bytes())
}

fn name(name: &GeneralName) -> Option<String> {
    match *name {
        GeneralName::DNSName(name) => Some(text(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| v6()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// RFC 6125 §6.4: without regard to case; `*` stands for the first label.
fn is_for(known: &str, wanted: &str) -> bool {
    let known = known.trim_end_matches('.');
    let wanted = wanted.trim_end_matches('.');
    let below = |name: &str| {
        name.split_once('.')
            .map(|(_, rest)| rest.to_ascii_lowercase())
    };
    known.eq_ignore_ascii_case(wanted)
        || (known.starts_with("*.") && below(wanted).is_some() && below(known) == below(wanted))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn message(names: &[&str]) -> Vec<u8> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2025, 1, 1);
        let name = rcgen::DnType::CommonName;
        parameters.distinguished_name.push(name, "a\x1b[2J");
        let key = rcgen::KeyPair::generate().unwrap();
        let der = parameters.self_signed(&key).unwrap().der().to_vec();
        let vector = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length[1..], bytes].concat()
        };
        vector(&vector(&der))
    }

    #[test]
    fn fields() {
        let message = message(&["example.org", "192.0.2.1"]);
        let found = Certificate::parse(&message, Some(b"other.example")).unwrap();
        assert!(found.subject.starts_with("CN=a"), "{found:?}");
        assert!(!found.subject.contains('\x1b'), "{found:?}");
        assert_eq!(found.names, ["example.org", "192.0.2.1"]);
        assert_eq!(found.not_before, 1_704_067_200);
        assert_eq!(found.not_after, 1_735_689_600);
        assert_eq!(found.name_matches, Some(false));
        let found = Certificate::parse(&message, None).unwrap();
        assert_eq!(found.name_matches, None);
    }

    #[test]
    fn every_truncation_is_refused() {
        let message = message(&["example.org"]);
        for length in 0..message.len() {
            assert_eq!(Certificate::parse(&message[..length], None), None);
        }
        assert_eq!(Certificate::parse(&[0, 0, 0], None), None);
    }

    #[rstest]
    #[case("example.org", "EXAMPLE.org", true)]
    #[case("example.org", "example.org.", true)]
    #[case("*.example.org", "a.example.org", true)]
    #[case("*.example.org", "a.b.example.org", false)]
    #[case("*.example.org", "example.org", false)]
    #[case("example.org", "a.example.org", false)]
    #[case("*", "example", false)]
    fn names(#[case] known: &str, #[case] wanted: &str, #[case] matches: bool) {
        assert_eq!(is_for(known, wanted), matches);
    }
}
