//! Where OpenSSL keeps ClientHello.random, by functions that are known by name. It and the server's are
//! neighbours in `SSL`: what uses both tells them apart from all else, and what writes a ClientHello
//! uses one of them only.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        Witnessed,
        body::{Body, Value},
        raises::Raisers,
    },
    Named,
};
use crate::inspect::{
    Elf, Error,
    decode::{Memory, Register, Source, Step},
};

const RSP: Register = 4;
/// Bytes of a random (RFC 8446, 4.1.2), and so the distance of the two.
const RANDOM: i64 = 32;
/// Offsets that it may have.
const OFFSETS: std::ops::Range<i64> = 0x80..0x1000;
/// Functions that use both: for the keys of TLS 1.2 and what is exported from them, and for signatures of
/// its key exchange (ssl/t1_enc.c, ssl/s3_enc.c, ssl/statem/statem_lib.c, ssl/ssl_lib.c).
const BOTH: [&str; 7] = [
    "tls1_setup_key_block",
    "tls1_export_keying_material",
    "tls1_generate_master_secret",
    "ssl3_setup_key_block",
    "ssl3_generate_master_secret",
    "construct_key_exchange_tbs",
    "ossl_gost_ukm",
];
/// Functions that write or read a ClientHello (ssl/statem/statem_clnt.c, ssl/statem/statem_srvr.c).
const HELLO: [&str; 3] = [
    "tls_construct_client_hello",
    "tls_construct_client_hello_aux",
    "tls_early_post_process_client_hello",
];

/// Functions that an application calls with a session (ssl/ssl_lib.c).
const KIND: [&str; 6] = [
    "SSL_do_handshake",
    "SSL_shutdown",
    "SSL_read_early_data",
    "SSL_write_early_data",
    "ssl_read_internal",
    "ssl_write_internal",
];

/// Looks for `ssl.client_random`.
///
/// # Errors
/// The file cannot be read.
pub fn client_random(elf: &Elf, raisers: &Raisers<Named>) -> Result<Witnessed, Error> {
    let (mut pairs, mut hellos) = <(BTreeMap<i64, u32>, BTreeMap<i64, u32>)>::default();
    for raiser in raisers.functions.values() {
        let is = |names: &[&str]| names.iter().any(|name| raiser.has(name));
        let (both, hello) = (is(&BOTH), is(&HELLO));
        let Some(body) = Body::read(elf, &raiser.range)?.filter(|_| both || hello) else {
            continue;
        };
        let used = used(&body);
        for offset in &used {
            if both && used.contains(&(offset - RANDOM)) {
                *pairs.entry(*offset).or_default() += 1;
            }
            if hello {
                *hellos.entry(*offset).or_default() += 1;
            }
        }
    }
    let both = pairs.into_iter().filter_map(|(offset, pairs)| {
        let hellos = *hellos.get(&offset)?;
        Some((pairs + hellos, offset))
    });
    let mut both: Vec<_> = both.collect();
    both.sort_unstable_by_key(|(witnesses, offset)| (std::cmp::Reverse(*witnesses), *offset));
    let first = both.first();
    Ok(Witnessed {
        name: "ssl.client_random",
        offset: first.and_then(|(_, offset)| u32::try_from(*offset).ok()),
        witnesses: first.map_or(0, |(witnesses, _)| *witnesses),
        against: both.get(1).map_or(0, |(witnesses, _)| *witnesses),
    })
}

/// What is in front of all else from OpenSSL 3.2 on, to tell TLS from QUIC: functions look at it that have
/// no other use for what was there before, the version.
///
/// # Errors
/// The file cannot be read.
pub fn kind(elf: &Elf, raisers: &Raisers<Named>) -> Result<Witnessed, Error> {
    let mut witnesses = 0;
    for raiser in raisers.functions.values() {
        let is_one = KIND.iter().any(|name| raiser.has(name));
        let Some(body) = Body::read(elf, &raiser.range)?.filter(|_| is_one) else {
            continue;
        };
        let is_kind = |(at, step): (usize, &Step)| match step {
            Step::Read(memory) | Step::Set(_, Source::Memory(memory), _) => {
                (memory.offset, memory.width) == (0, 4) && is_session(&body, at, memory.base)
            }
            _ => false,
        };
        witnesses += u32::from(body.steps().any(is_kind));
    }
    Ok(Witnessed {
        name: "ssl.type",
        offset: (witnesses > 0).then_some(0),
        witnesses,
        against: 0,
    })
}

/// Whether a register holds the first argument.
fn is_session(body: &Body, at: usize, register: Register) -> bool {
    let values = body.before(at, [register]);
    !values.is_empty() && values.iter().all(|[value]| *value == Value::Argument(7))
}

/// Distances from pointers to what is used, by its address or eight bytes and more at once.
fn used(body: &Body) -> BTreeSet<i64> {
    let of = |memory: &Memory| (memory.base != RSP && memory.width >= 8).then_some(memory.offset);
    let offsets = body.steps().filter_map(|(_, step)| match step {
        Step::Set(_, Source::Register(base, offset), 8) if *base != RSP => Some(*offset),
        Step::Set(_, Source::Memory(memory), _) | Step::Read(memory) | Step::Store(memory, _) => {
            of(memory)
        }
        _ => None,
    });
    offsets.filter(|offset| OFFSETS.contains(offset)).collect()
}
