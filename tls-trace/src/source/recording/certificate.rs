//! Names out of certificates (RFC 5280): what else tells whose they are, keys and numbers, becomes zero.
//! Validity, algorithms and the kinds of names stay.

use super::others::Others;

/// Tags of X.690 that may be there.
mod tag {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(super) const UTF8_STRING: u8 = 0x0c;
    pub(super) const PRINTABLE_STRING: u8 = 0x13;
    pub(super) const IA5_STRING: u8 = 0x16;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    /// With other values inside.
    pub(super) const CONSTRUCTED: u8 = 0x20;
    /// GeneralName: rfc822Name, dNSName, uniformResourceIdentifier, iPAddress.
    pub(super) const EMAIL: u8 = 0x81;
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const URI: u8 = 0x86;
    pub(super) const IP_ADDRESS: u8 = 0x87;
}

/// 2.5.29.17, subjectAltName.
const SUBJECT_ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
/// Values inside values; certificates have about ten.
const DEPTH: u32 = 20;

/// Overwrites names in the body of a Certificate message (RFC 5246 §7.4.2).
pub(super) fn scrub(body: &mut [u8], others: &mut Others) {
    let Some((_, mut list)) = body.split_at_mut_checked(3) else {
        return body.fill(0);
    };
    while let Some(&[a, b, c]) = list.first_chunk() {
        let whole = 3 + u32::from_be_bytes([0, a, b, c]) as usize;
        let (certificate, rest) = list.split_at_mut(whole.min(list.len()));
        let certificate = &mut certificate[3..];
        values(certificate, DEPTH, others);
        list = rest;
    }
    list.fill(0);
}

/// Overwrites names in values that follow each other.
fn values(mut bytes: &mut [u8], depth: u32, others: &mut Others) {
    let mut is_alternative_name = false;
    while let Some((kind, header, length)) = header(bytes)
        && depth > 0
    {
        let whole = header.saturating_add(length).min(bytes.len());
        let (value, rest) = bytes.split_at_mut(whole);
        let value = &mut value[header..];
        bytes = rest;
        match kind {
            tag::OBJECT_IDENTIFIER => is_alternative_name = *value == SUBJECT_ALTERNATIVE_NAME,
            tag::BOOLEAN | tag::NULL | tag::UTC_TIME | tag::GENERALIZED_TIME => {}
            // The version of the certificate.
            tag::INTEGER if length == 1 => {}
            tag::OCTET_STRING if is_alternative_name => values(value, depth - 1, others),
            tag::UTF8_STRING
            | tag::PRINTABLE_STRING
            | tag::IA5_STRING
            | tag::EMAIL
            | tag::DNS_NAME
            | tag::URI => others.name(value),
            tag::IP_ADDRESS => others.address_bytes(value),
            _ if kind & tag::CONSTRUCTED != 0 => values(value, depth - 1, others),
            _ => value.fill(0),
        }
    }
    bytes.fill(0);
}

/// Tag, length of the header and length of the value; `None` where none begins.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (tag, length) = (*bytes.first()?, *bytes.get(1)?);
    let count = match length {
        0..=0x7f => return Some((tag, 2, length.into())),
        0x81..=0x83 => usize::from(length & 0x7f),
        _ => return None,
    };
    let digits = bytes.get(2..2 + count)?;
    let length = digits
        .iter()
        .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    Some((tag, 2 + count, length))
}
