//! Recordings that have to give the same reports for ever: `recordings/NAME.tlsrec` gives `NAME.jsonl`.
//!
//! A recording becomes a test by being put there, with what it gives today, once that is right:
//! `tls-trace replay --all --json NAME.tlsrec > NAME.jsonl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "tlsrec")
    });
    files.sort();
    files
}

#[test]
fn recordings_give_what_they_gave() {
    let recordings = recordings();
    assert!(!recordings.is_empty());
    for path in recordings {
        let output = Command::new(env!("CARGO_BIN_EXE_tls-trace"))
            .args(["replay", "--all", "--json"])
            .arg(&path)
            .output()
            .unwrap();
        let expected = path.with_extension("jsonl");
        let expected = fs::read_to_string(&expected)
            .unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
        let found = String::from_utf8(output.stdout).unwrap();
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "{}", path.display());
        }
        assert_eq!(
            found.lines().count(),
            expected.lines().count(),
            "{}",
            path.display()
        );
    }
}
