//! A file that was changed in any way gives the functions it had, or fewer: never another place.

mod sample;

use std::{collections::BTreeSet, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::inspect::{Coverage, Error, Limits, Reason, inspect_source};
use sample::Program;

fn look(bytes: &Vec<u8>) -> Result<Option<Stripped>, Error> {
    let limits = Limits {
        bytes: 64 << 20,
        time: Duration::from_secs(60),
    };
    Ok(inspect_source(bytes, limits)?.stripped)
}

/// What the program really has.
fn truth(program: &Program) -> BTreeSet<(Role, u64)> {
    let functions = [
        (Role::PutError, "ERR_put_error"),
        (Role::Handshake, "SSL_do_handshake"),
        (Role::Alert, "ssl_send_alert"),
        (Role::Alert, "ssl_send_alert_impl"),
        (Role::Free, "tls_free"),
    ];
    let at = |name| program.functions[name] as u64;
    functions
        .into_iter()
        .map(|(role, name)| (role, at(name)))
        .collect()
}

fn told(found: &Stripped) -> BTreeSet<(Role, u64)> {
    found
        .hooks
        .iter()
        .map(|hook| (hook.name, hook.offset))
        .collect()
}

/// Looks at a changed program. What is told of it must be true.
fn told_of(program: &Program, bytes: &Vec<u8>) -> Option<Stripped> {
    let found = look(bytes).ok().flatten()?;
    let truth = truth(program);
    assert!(
        told(&found).is_subset(&truth),
        "{found:#x?} is not of {truth:x?}"
    );
    Some(found)
}

fn changed(program: &Program, at: usize, by: i32) -> Vec<u8> {
    let mut bytes = program.bytes.clone();
    let field: &mut [u8; 4] = bytes[at..].first_chunk_mut().unwrap();
    *field = i32::from_le_bytes(*field).wrapping_add(by).to_le_bytes();
    bytes
}

#[test]
fn the_sample_is_found_and_graded() {
    let program = sample::boringssl();
    let found = look(&program.bytes).unwrap().unwrap();
    assert_eq!(
        (found.grade, &found.refused[..]),
        (Grade::High, &[][..]),
        "{found:#x?}"
    );
    assert_eq!(told(&found), truth(&program));
    let members = found
        .members
        .iter()
        .map(|member| (member.name, member.offset));
    let members: Vec<_> = members.take(2).collect();
    let [state, early] = [
        ("ssl.s3", Some(0x30)),
        ("s3.early_data_reason", Some(0x100)),
    ];
    assert_eq!(members, [state, early]);
    assert!(found.members[1].is_verified());
    assert_eq!(
        look(&program.bytes).unwrap().unwrap(),
        found,
        "not the same again"
    );
}

/// A file written over between the search and the probe.
#[test]
fn a_file_that_was_changed_since_is_told() {
    let program = sample::boringssl();
    let found = look(&program.bytes).unwrap().unwrap();
    assert!(found.is_still_in(&program.bytes));
    for hook in &found.hooks {
        let at = usize::try_from(hook.offset).unwrap();
        for byte in at..at + HEAD {
            let mut bytes = program.bytes.clone();
            bytes[byte] ^= 1;
            assert!(!found.is_still_in(&bytes), "{byte:#x}");
        }
        let mut bytes = program.bytes.clone();
        bytes.truncate(at + HEAD - 1);
        assert!(!found.is_still_in(&bytes));
    }
}

/// The rest of the program need not know that there were no symbols.
#[test]
fn it_is_a_library_like_others() {
    let program = sample::boringssl();
    let inspection = inspect_source(&program.bytes, Limits::default()).unwrap();
    let by = vec![Family::Boringssl];
    let except = Vec::new();
    assert_eq!(inspection.coverage, Coverage::Covered { by, except });
    let [library] = &inspection.libraries[..] else {
        panic!("{inspection:?}");
    };
    let alerts = |hook: &&Hook| hook.name == "ssl_send_alert" && hook.place.is_some();
    assert_eq!(library.hooks.iter().filter(alerts).count(), 2);
    assert_eq!(library.offsets("ssl.s3").unwrap().path, [0x30]);
    let reason = library.offsets("ssl.early_data_reason").unwrap();
    assert_eq!(reason.path, [0x30, 0x100]);
    assert!(inspection.stripped.is_some());
}

/// Where the unwind table says that a function begins elsewhere, it is not probed.
#[test]
fn a_function_that_begins_elsewhere_is_refused() {
    let program = sample::boringssl();
    for name in [
        "ERR_put_error",
        "SSL_do_handshake",
        "ssl_send_alert",
        "tls_free",
    ] {
        for by in [-16, -4, -1, 1, 2, 4, 5, 16] {
            let bytes = changed(&program, program.unwind[name], by);
            let found = told_of(&program, &bytes).unwrap();
            let at = program.functions[name] as u64;
            let is_told = found.hooks.iter().any(|hook| hook.offset == at);
            assert!(
                !is_told && found.grade < Grade::High,
                "{name} {by}: {found:#x?}"
            );
        }
    }
}

#[test]
fn without_a_table_of_functions_only_errors_are_certain() {
    let program = sample::boringssl();
    let mut bytes = program.bytes.clone();
    let name = bytes
        .windows(9)
        .position(|nine| nine == b".eh_frame")
        .unwrap();
    bytes[name] = b'-';
    let found = told_of(&program, &bytes).unwrap();
    assert_eq!(
        (found.grade, &found.refused[..]),
        (Grade::ErrorsOnly, &[Refusal::NoUnwindTable][..])
    );
    assert_eq!(found.hooks.len(), 1);
}

/// Two copies of the library in one file: nobody knows which is which.
#[test]
fn two_functions_with_votes_are_none() {
    let program = sample::boringssl();
    let mut bytes = program.bytes.clone();
    // Every third call of the function goes to another.
    let target = program.functions["ERR_put_error"];
    let calls = (0..bytes.len() - 5).filter(|at| {
        let distance = i32::from_le_bytes(*bytes[at + 1..].first_chunk().unwrap());
        let to = i64::try_from(at + 5).unwrap() + i64::from(distance);
        bytes[*at] == 0xe8 && to == i64::try_from(target).unwrap()
    });
    let calls: Vec<_> = calls.collect();
    let by = i32::try_from(program.functions["tls_other"] - target).unwrap();
    for at in calls.into_iter().step_by(3) {
        let field: &mut [u8; 4] = bytes[at + 1..].first_chunk_mut().unwrap();
        *field = i32::from_le_bytes(*field).wrapping_add(by).to_le_bytes();
    }
    let found = told_of(&program, &bytes).unwrap();
    assert_eq!(
        (found.grade, &found.refused[..]),
        (Grade::Refused, &[Refusal::SplitVotes][..])
    );
}

#[test]
fn a_file_may_end_anywhere() {
    let program = sample::boringssl();
    for length in (0..program.bytes.len()).step_by(61) {
        let mut bytes = program.bytes.clone();
        bytes.truncate(length);
        assert!(look(&bytes).is_err(), "{length}");
    }
}

/// Without votes the search ends at once, and the file is what it was.
#[test]
fn a_file_without_it_is_left_alone() {
    let program = sample::boringssl();
    let mut bytes = program.bytes.clone();
    for at in 0..bytes.len() - 5 {
        if bytes[at..at + 5] == [0xbf, 16, 0, 0, 0] {
            bytes[at + 1] = 20;
        }
    }
    assert_eq!(look(&bytes).unwrap(), None);
    let why = vec![Reason::StrippedBoringssl];
    assert_eq!(
        inspect_source(&bytes, Limits::default()).unwrap().coverage,
        Coverage::WireOnly { why }
    );
}

/// Each field of the tables, with extremes and off by a little.
#[test]
fn tables_that_lie() {
    let program = sample::boringssl();
    let [unwind, relocations, sections] = program.tables;
    let places = (unwind..unwind + 64).chain(relocations..relocations + 96);
    for at in places
        .step_by(4)
        .chain((sections..program.bytes.len() - 4).step_by(4))
    {
        for by in [i32::MIN, -1, 1, 0x1000] {
            told_of(&program, &changed(&program, at, by));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_may_be_wrong(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let program = sample::boringssl();
        let mut bytes = program.bytes.clone();
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        told_of(&program, &bytes);
    }

    /// Whatever is in the place of the table of functions.
    #[test]
    fn random_tables(random in vec(any::<u8>(), 64..2048)) {
        let program = sample::boringssl();
        let mut bytes = program.bytes.clone();
        let unwind = program.tables[0];
        bytes[unwind..unwind + random.len()].copy_from_slice(&random);
        told_of(&program, &bytes);
    }
}
