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

fn samples() -> [Program; 2] {
    [sample::boringssl(), sample::openssl()]
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
    let mut truth = program.truth.clone();
    // What it has in common with the other is enough, should it not call that any more.
    let set_error = program.functions.get("ERR_set_error");
    truth.extend(set_error.map(|at| (Role::SetError, *at as u64)));
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
fn samples_are_found_and_graded() {
    for program in samples() {
        let found = look(&program.bytes).unwrap().unwrap();
        assert_eq!(
            (found.grade, &found.refused[..]),
            (Grade::High, &[][..]),
            "{found:#x?}"
        );
        assert_eq!(told(&found), program.truth);
        let members = found.members.iter();
        let members = members.map(|member| (member.name, member.offset));
        let members: Vec<_> = members.take(2).collect();
        let expected = match found.family {
            Family::Boringssl => [
                ("ssl.s3", Some(0x30)),
                ("s3.early_data_reason", Some(0x100)),
            ],
            _ => [("ssl.client_random", Some(0x148)), ("ssl.type", Some(0))],
        };
        assert_eq!(members, expected);
        assert!(
            found.members[..2].iter().all(Witnessed::is_verified),
            "{found:#x?}"
        );
        assert_eq!(
            look(&program.bytes).unwrap().unwrap(),
            found,
            "not the same again"
        );
    }
}

/// A file written over between the search and the probe.
#[test]
fn a_file_that_was_changed_since_is_told() {
    for program in samples() {
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
}

/// The rest of the program need not know that there were no symbols.
#[test]
fn it_is_a_library_like_others() {
    for (program, family) in samples()
        .iter()
        .zip([Family::Boringssl, Family::OpensslSsl])
    {
        let inspection = inspect_source(&program.bytes, Limits::default()).unwrap();
        let (by, except) = (vec![family], Vec::new());
        assert_eq!(inspection.coverage, Coverage::Covered { by, except });
        let [library] = &inspection.libraries[..] else {
            panic!("{inspection:?}");
        };
        let places = library.hooks.iter().filter(|hook| hook.place.is_some());
        assert_eq!(places.count(), program.truth.len());
        let expected = match family {
            Family::Boringssl => ("ssl.early_data_reason", vec![0x30, 0x100]),
            _ => ("ssl.client_random", vec![0x148]),
        };
        assert_eq!(library.offsets(expected.0).unwrap().path, expected.1);
        assert!(inspection.stripped.is_some());
    }
}

/// Where the unwind table says that a function begins elsewhere, it is not probed.
#[test]
fn a_function_that_begins_elsewhere_is_refused() {
    for program in samples() {
        let functions = program.functions.iter();
        let functions = functions.filter(|(_, at)| {
            let mut truth = program.truth.iter();
            truth.any(|(_, there)| *there == **at as u64)
        });
        // Beside that one there is another.
        let functions = functions.filter(|(name, _)| **name != "ssl_send_alert_impl");
        for (name, at) in functions {
            for by in [-16, -4, -1, 1, 2, 4, 5, 16] {
                let bytes = changed(&program, program.unwind[name], by);
                let found = told_of(&program, &bytes).unwrap();
                let is_told = found.hooks.iter().any(|hook| hook.offset == *at as u64);
                assert!(
                    !is_told && found.grade < Grade::High,
                    "{name} {by}: {found:#x?}"
                );
            }
        }
    }
}

#[test]
fn without_a_table_of_functions_only_errors_are_certain() {
    for (program, certain) in samples().iter().zip([1, 3]) {
        let mut bytes = program.bytes.clone();
        let name = bytes
            .windows(9)
            .position(|nine| nine == b".eh_frame")
            .unwrap();
        bytes[name] = b'-';
        let found = look(&bytes).unwrap().unwrap();
        assert_eq!(
            (found.grade, &found.refused[..]),
            (Grade::ErrorsOnly, &[Refusal::NoUnwindTable][..])
        );
        assert_eq!(found.hooks.len(), certain);
    }
}

/// Two copies of the library in one file: nobody knows which is which.
#[test]
fn two_functions_with_votes_are_none() {
    for program in samples() {
        let mut bytes = program.bytes.clone();
        // Every third call of the function goes to another.
        let target = program.functions[program.elected];
        let calls = (0..bytes.len() - 5).filter(|at| {
            let distance = i32::from_le_bytes(*bytes[at + 1..].first_chunk().unwrap());
            let to = i64::try_from(at + 5).unwrap() + i64::from(distance);
            bytes[*at] == 0xe8 && to == i64::try_from(target).unwrap()
        });
        let calls: Vec<_> = calls.collect();
        let by = i32::try_from(program.functions["other"] - target).unwrap();
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
}

/// What names elect must be called before what arguments elect.
#[test]
fn votes_of_openssl_that_disagree() {
    let program = sample::openssl();
    let mut bytes = program.bytes.clone();
    // Errors without a name, of another function, are more than those with one.
    let other = program.functions["other"];
    let call = |at: usize| {
        let distance = i64::try_from(other).unwrap() - i64::try_from(at + 16).unwrap();
        let distance = i32::try_from(distance).unwrap().to_le_bytes();
        [
            &[0xbe, 1, 0, 0, 0, 0xbf, 20, 0, 0, 0, 0x90, 0xe8][..],
            &distance,
        ]
        .concat()
    };
    // Over the functions that only send alerts: two each.
    let named = bytes.clone();
    let fatal = [0x48, 0x89, 0xdf, 0xba, 0x2c, 1, 0, 0];
    for (at, _) in named
        .windows(8)
        .enumerate()
        .filter(|(_, eight)| *eight == fatal)
    {
        let start = at - 24;
        for at in [start, start + 16] {
            bytes[at..at + 16].copy_from_slice(&call(at));
        }
    }
    let found = told_of(&program, &bytes).unwrap();
    assert_eq!(found.refused, [Refusal::VotesDisagree], "{found:#x?}");
}

/// A function with the code of another inside is another.
#[test]
fn a_function_around_the_handshake_is_not_it() {
    let program = sample::openssl_inlined();
    let found = told_of(&program, &program.bytes).unwrap();
    assert_eq!(found.grade, Grade::ErrorsOnly, "{found:#x?}");
    assert_eq!(found.refused, [Refusal::Handshake]);
    let handshake = |hook: &Located| hook.name == Role::Handshake;
    assert!(!found.hooks.iter().any(handshake));
}

#[test]
fn a_file_may_end_anywhere() {
    for program in samples() {
        for length in (0..program.bytes.len()).step_by(61) {
            let mut bytes = program.bytes.clone();
            bytes.truncate(length);
            assert!(look(&bytes).is_err(), "{length}");
        }
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
    let ways = [&[i32::MIN, -1, 1, 0x1000][..], &[-1, 0x1000]];
    for (program, ways) in samples().iter().zip(ways) {
        let [unwind, relocations, sections] = program.tables;
        let places = (unwind..unwind + 64).chain(relocations..relocations + 96);
        for at in places
            .step_by(4)
            .chain((sections..program.bytes.len() - 4).step_by(4))
        {
            for by in ways {
                told_of(program, &changed(program, at, *by));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_may_be_wrong(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for program in samples() {
            let mut bytes = program.bytes.clone();
            for (index, byte) in &changes {
                *index.get_mut(&mut bytes) = *byte;
            }
            told_of(&program, &bytes);
        }
    }

    /// Whatever is in the place of the table of functions.
    #[test]
    fn random_tables(random in vec(any::<u8>(), 64..2048)) {
        for program in samples() {
            let mut bytes = program.bytes.clone();
            let unwind = program.tables[0];
            bytes[unwind..unwind + random.len()].copy_from_slice(&random);
            told_of(&program, &bytes);
        }
    }
}
