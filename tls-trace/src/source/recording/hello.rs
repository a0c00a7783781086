//! Names out of a ClientHello (RFC 8446 §4.1.2).

use std::ops::Range;

use super::others::Others;

/// Extensions with numbers, keys and names of protocols: supported_groups, ec_point_formats,
/// signature_algorithms, application_layer_protocol_negotiation, extended_master_secret,
/// compress_certificate, record_size_limit, early_data, supported_versions, psk_key_exchange_modes,
/// signature_algorithms_cert, key_share.
const KEPT: [usize; 12] = [10, 11, 13, 16, 23, 27, 28, 42, 43, 45, 50, 51];
const SERVER_NAME: usize = 0;
const PRE_SHARED_KEY: usize = 41;

/// Overwrites the server name by another of the same length, and with zeros what may be as good as a
/// name: tickets, identities, extensions that are not known. What cannot be read becomes zero.
pub(super) fn scrub(body: &mut [u8], others: &Others) {
    let read = extensions(body, others);
    let end = read.unwrap_or_else(|at| at).min(body.len());
    body[end..].fill(0);
}

/// Returns where the extensions end, as an error where something does not fit.
fn extensions(body: &mut [u8], others: &Others) -> Result<usize, usize> {
    const VERSION_AND_RANDOM: usize = 34;
    let mut at = VERSION_AND_RANDOM;
    // Session id, cipher suites, compression methods.
    for width in [1, 2, 1] {
        at = vector(body, at, width).ok_or(at)?.end;
    }
    let all = vector(body, at, 2).ok_or(at)?;
    at = all.start;
    while at < all.end {
        let data = vector(body, at + 2, 2).filter(|data| data.end <= all.end);
        let data = data.ok_or(at)?;
        let number = number(body, at, 2).ok_or(at)?;
        at = data.end;
        extension(number, &mut body[data], others);
    }
    Ok(all.end)
}

fn extension(number: usize, data: &mut [u8], others: &Others) {
    if number == SERVER_NAME {
        // A list of names, of which the first is the host's: its type, its length.
        let host = vector(data, 3, 2).filter(|_| data.get(2) == Some(&0));
        let end = host.map_or(0, |host| {
            others.name(&mut data[host.clone()]);
            host.end
        });
        data[end..].fill(0);
    } else if number == PRE_SHARED_KEY {
        identities(data);
    } else if !KEPT.contains(&number) {
        data.fill(0);
    }
}

/// Blanks the identities, of which the number stays, and what follows them.
fn identities(data: &mut [u8]) {
    const AGE: usize = 4;
    let all = vector(data, 0, 2).unwrap_or(0..0);
    let mut at = all.start;
    while let Some(identity) = vector(data, at, 2)
        && identity.end + AGE <= all.end
    {
        at = identity.end + AGE;
        data[identity.start..at].fill(0);
    }
    data[at..].fill(0);
}

/// The vector at `at`, whose length has so many bytes; `None` where it does not fit.
fn vector(bytes: &[u8], at: usize, width: usize) -> Option<Range<usize>> {
    let start = at.checked_add(width)?;
    let end = start.checked_add(number(bytes, at, width)?)?;
    (end <= bytes.len()).then_some(start..end)
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    let digit = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
    Some(bytes.iter().fold(0, digit))
}
