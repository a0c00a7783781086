//! Files that lie: an error, or something honest, but never a panic and never a place that the file
//! does not have.

pub mod sample;

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;
use sample::Sample;

fn limits() -> Limits {
    Limits {
        bytes: 64 << 20,
        time: Duration::from_secs(10),
    }
}

/// Inspects, and checks what must hold of any answer.
fn try_out(bytes: &Vec<u8>) -> Result<Inspection, Error> {
    let inspection = inspect_source(bytes, limits())?;
    for library in &inspection.libraries {
        let places = library.hooks.iter().filter_map(|hook| hook.place.as_ref());
        for place in places {
            let returns = place.returns.iter();
            for at in returns.chain([&place.offset]) {
                assert!(*at < bytes.len() as u64, "{at:#x} is not in the file");
            }
        }
        let members = library.members.iter();
        for offsets in members.filter_map(|member| member.finding.offsets()) {
            let near = offsets.path.iter().all(|offset| *offset < 0x8000);
            assert!(!offsets.path.is_empty() && near, "{offsets:?}");
        }
    }
    Ok(inspection)
}

fn changed(sample: &Sample, field: &std::ops::Range<usize>, value: u64) -> Vec<u8> {
    let mut bytes = sample.bytes.clone();
    let size = field.len();
    bytes[field.clone()].copy_from_slice(&value.to_le_bytes()[..size]);
    bytes
}

#[test]
fn the_sample_is_what_it_is_said_to_be() {
    let inspection = try_out(&sample::libssl().bytes).unwrap();
    let [library] = &inspection.libraries[..] else {
        panic!("{inspection:?}");
    };
    assert_eq!(
        (library.family, library.version.as_deref()),
        (Family::OpensslSsl, Some("3.6"))
    );
    assert_eq!(library.offsets("ssl.early_data").unwrap().path, [0xb20]);
    // Without an accessor, by the layout that all the others agree on.
    assert_eq!(library.offsets("ssl.client_random").unwrap().path, [0x188]);
    let place = library.place("SSL_do_handshake").unwrap();
    assert_eq!(
        (place.size, &place.returns[..]),
        (3, &[place.offset + 2][..])
    );
    let by = vec![Family::OpensslSsl];
    let except = Vec::new();
    assert_eq!(inspection.coverage, Coverage::Covered { by, except });
}

#[test]
fn every_field_takes_every_extreme() {
    let sample = sample::libssl();
    let length = sample.bytes.len() as u64;
    let extremes = [
        0,
        1,
        7,
        length - 1,
        length,
        length + 1,
        0x7fff,
        0xffff,
        i32::MAX as u64,
        u64::from(u32::MAX),
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX - 15,
        u64::MAX,
    ];
    let mut refused = 0;
    for field in &sample.fields {
        for value in extremes {
            refused += u32::from(try_out(&changed(&sample, field, value)).is_err());
        }
    }
    assert!(refused > 50, "only {refused} were refused");
}

#[test]
fn a_file_may_end_anywhere() {
    let sample = sample::libssl();
    let whole = sample.bytes.len();
    for length in (0..whole).step_by(7).chain(whole - 64..whole) {
        let mut bytes = sample.bytes.clone();
        bytes.truncate(length);
        // The section headers are last: nothing is known before them.
        assert!(try_out(&bytes).is_err(), "{length} of {whole} bytes");
    }
}

/// Where its code says something else than the table, the file is believed in nothing but what it
/// says itself.
#[test]
fn a_member_that_code_and_table_disagree_about_is_not_read() {
    let sample = sample::libssl();
    let offset = 0x508_u32.to_le_bytes();
    let at = sample
        .bytes
        .windows(4)
        .position(|four| four == offset)
        .unwrap();
    let bytes = changed(&sample, &(at..at + 4), 0x510);
    let inspection = try_out(&bytes).unwrap();
    let library = &inspection.libraries[0];
    assert_eq!(library.offsets("ssl.hit"), None);
    assert_eq!(
        library.offsets("ssl.client_random"),
        None,
        "nothing vouches for it"
    );
    assert_eq!(library.offsets("ssl.version").unwrap().path, [0x48]);
}

/// Code that cannot be read for what it is: no answer.
#[test]
fn an_accessor_that_tells_nothing_is_not_believed() {
    let sample = sample::libssl();
    let load = [&[0x8b, 0x87][..], &0xb20_u32.to_le_bytes()].concat();
    let at = sample.bytes.windows(6).position(|six| six == load).unwrap();
    // `syscall`, an unknown opcode, a jump to itself, a read relative to another register.
    for code in [[0x0f, 0x05], [0x0f, 0xff], [0xeb, 0xfe], [0x8b, 0x86]] {
        let mut bytes = sample.bytes.clone();
        bytes[at..at + 2].copy_from_slice(&code);
        let inspection = try_out(&bytes).unwrap();
        let members = &inspection.libraries[0].members;
        let member = members
            .iter()
            .find(|member| member.name == "ssl.early_data");
        let finding = &member.unwrap().finding;
        assert!(
            !matches!(finding, Finding::Binary(_) | Finding::BinaryAndTable(_)),
            "{code:x?}: {finding:?}"
        );
    }
}

/// A function without a size is nowhere either, where its segment lies outside of the file.
#[test]
fn two_fields_that_lie_together() {
    let sample = sample::libssl();
    let mut refused = 0;
    let places = || sample.fields.iter().filter(|field| field.len() == 8);
    for first in places() {
        let one = Sample {
            bytes: changed(&sample, first, 0xc500),
            fields: Vec::new(),
        };
        for second in places() {
            refused += u32::from(try_out(&changed(&one, second, 0)).is_err());
        }
    }
    assert!(refused > 300, "only {refused} were refused");
}

proptest! {
    #[test]
    fn random_bytes_are_no_library(bytes in vec(any::<u8>(), 0..4096)) {
        let _ = try_out(&bytes);
        // Past the first checks.
        let mut elf = sample::libssl().bytes;
        elf.truncate(64);
        elf.extend(bytes);
        let _ = try_out(&elf);
    }

    #[test]
    fn any_bytes_may_be_wrong(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..16)) {
        let mut bytes = sample::libssl().bytes;
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        let _ = try_out(&bytes);
    }
}
