//! `tls-trace analyze`, as a user without privileges runs it.

mod failures;
mod known;
mod make;
mod unreadable;

use std::{
    ffi::OsStr,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tls_trace::report::{Cause, Outcome, Report};

use make::{Connection, Folder, established, failed, pcap};

/// What the program said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn analyze(arguments: &[&dyn AsRef<OsStr>]) -> Said {
    analyze_input(arguments, b"")
}

fn analyze_input(arguments: &[&dyn AsRef<OsStr>], input: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tls-trace"))
        .arg("analyze")
        .args(arguments.iter().map(AsRef::as_ref))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// The reports of `--json`, and the summary after them.
    fn json(&self) -> (Vec<Report>, Value) {
        let mut lines: Vec<_> = self.stdout.lines().collect();
        let last: Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
        let reports = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        (reports.collect(), last["summary"].clone())
    }

    fn causes(&self) -> Vec<Cause> {
        let (reports, _) = self.json();
        reports.iter().map(|report| report.verdict.cause).collect()
    }
}

#[test]
fn something_failed() {
    let folder = Folder::new();
    let packets = [
        established(40_001, "good.example", 0),
        failed(40_002, "bad.example", 20),
    ];
    let said = analyze(&[&folder.capture("a.pcap", &packets.concat())]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), ""), "{said:?}");
    let lines: Vec<_> = said.stdout.lines().collect();
    for part in [
        "handshake_failure",
        "10.0.0.9:40002 → 10.0.0.7:443",
        "bad.example",
    ] {
        assert!(lines[0].contains(part), "{said:?}");
    }
    assert_eq!(lines[1], "2 TLS connections: 1 established, 1 failed");
    assert!(
        said.stdout
            .contains("1/1  10.0.0.9 → 10.0.0.7:443 bad.example  handshake_failure")
    );
}

#[test]
fn nothing_failed() {
    let folder = Folder::new();
    let file = folder.capture("a.pcap", &established(40_001, "good.example", 0));
    let said = analyze(&[&file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.starts_with("1 TLS connection: 1 established\n"),
        "{said:?}"
    );
    let said = analyze(&[&"--all", &file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.lines().next().unwrap().contains("good.example"),
        "{said:?}"
    );
}

#[test]
fn json_of_all() {
    let folder = Folder::new();
    let packets = [
        established(40_001, "good.example", 0),
        failed(40_002, "bad.example", 20),
    ];
    let file = folder.capture("a.pcap", &packets.concat());
    let (reports, summary) = analyze(&[&"--json", &"--all", &file]).json();
    let verdicts = reports
        .iter()
        .map(|report| (report.verdict.outcome, report.verdict.cause));
    let expected = [
        (Outcome::Established, Cause::None),
        (Outcome::Failed, Cause::HandshakeFailure),
    ];
    assert_eq!(verdicts.collect::<Vec<_>>(), expected);
    assert_eq!(summary["connections"], 2);
    assert_eq!(summary["outcomes"]["failed"], 1);
    assert_eq!(summary["causes"][0]["cause"], "handshake_failure");
    assert_eq!(summary["worst"][0]["sni"], "bad.example");
}

#[test]
fn filters() {
    let folder = Folder::new();
    let packets = [
        failed(40_001, "a.example", 0),
        failed(40_002, "b.example", 20),
    ];
    let file = folder.capture("a.pcap", &packets.concat());
    let count = |filter: &[&'static str]| {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"--json", &file];
        arguments.extend(filter.iter().map(|part| part as &dyn AsRef<OsStr>));
        let said = analyze(&arguments);
        let (reports, summary) = said.json();
        // The summary and the exit code are of what was asked for.
        assert_eq!(summary["connections"], reports.len(), "{said:?}");
        assert_eq!(said.code, Some(i32::from(!reports.is_empty())));
        reports.len()
    };
    assert_eq!(count(&["--sni", "*.example"]), 2);
    assert_eq!(count(&["--sni", "a.*"]), 1);
    assert_eq!(count(&["--port", "40002"]), 1);
    assert_eq!(count(&["--cause", "handshake_failure", "--port", "443"]), 2);
    assert_eq!(count(&["--cause", "certificate_expired"]), 0);
    assert_eq!(count(&["--initiator", "server_app"]), 2);
    assert_eq!(count(&["--phase", "established"]), 0);
}

/// Files of a rotating capture are one capture, in whatever order their connections lie.
#[test]
fn several_files() {
    let folder = Folder::new();
    let packets = failed(40_001, "a.example", 0);
    let (first, second) = packets.split_at(4);
    let (first, second) = (folder.capture("a0", first), folder.capture("a1", second));
    let said = analyze(&[&"--json", &first, &second]);
    assert_eq!(said.causes(), [Cause::HandshakeFailure], "{said:?}");
    // These do not continue each other.
    let again = folder.capture("b", &failed(40_001, "a.example", 0));
    let said = analyze(&[&"--json", &again, &again]);
    assert_eq!(said.causes(), [Cause::HandshakeFailure; 2], "{said:?}");
}

#[test]
fn standard_input_and_compression() {
    let file = pcap(&failed(40_001, "a.example", 0));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&file).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&file[..], 1).unwrap();
    let folder = Folder::new();
    for input in [file, gzip, zstd] {
        let said = analyze_input(&[&"--json", &"-"], &input);
        assert_eq!(said.causes(), [Cause::HandshakeFailure], "{said:?}");
        let said = analyze(&[&"--json", &folder.file("compressed", &input)]);
        assert_eq!(said.causes(), [Cause::HandshakeFailure], "{said:?}");
    }
}

/// `tcpdump -i any` sees a packet on each interface it passes.
#[test]
fn packets_captured_twice() {
    let folder = Folder::new();
    let packets = failed(40_001, "a.example", 0);
    let twice: Vec<_> = packets
        .iter()
        .flat_map(|packet| [packet.clone(), packet.clone()])
        .collect();
    let once = analyze(&[&"--json", &folder.capture("once", &packets)]).json();
    let twice = analyze(&[&"--json", &folder.capture("twice", &twice)]).json();
    assert_eq!(once.0, twice.0);
    assert_eq!(twice.1["copies"], packets.len());
}

/// What is missing is said, and nothing guessed: a capture that begins or ends inside a connection.
#[test]
fn the_rest_was_not_captured() {
    let folder = Folder::new();
    let whole = established(40_001, "a.example", 0);
    for (begin, end) in [(5, whole.len()), (4, 6), (0, 4)] {
        let file = folder.capture("part", &whole[begin..end]);
        let said = analyze(&[&"--json", &"--all", &file]);
        let (reports, _) = said.json();
        assert_eq!(said.code, Some(0), "{begin}..{end}: {said:?}");
        for report in &reports {
            assert_ne!(
                report.verdict.outcome,
                Outcome::Failed,
                "{begin}..{end}: {said:?}"
            );
        }
    }
    let said = analyze(&[&"--json", &"--all", &folder.capture("begin", &whole[..4])]);
    assert_eq!(
        said.json().0[0].verdict.outcome,
        Outcome::Incomplete,
        "{said:?}"
    );
}

/// Everything that passed, the evidence between it.
#[test]
fn explain() {
    let folder = Folder::new();
    let file = folder.capture("a.pcap", &failed(40_001, "a.example", 0));
    let said = analyze(&[&"--explain", &file]);
    let lines: Vec<_> = said.stdout.lines().map(str::trim).collect();
    let index = |part: &str| {
        let found = lines.iter().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no {part} in {}", said.stdout))
    };
    assert!(index("→ SYN") < index("← SYN ACK"));
    assert!(index("← SYN ACK") < index("→ client_hello"));
    assert!(index("→ client_hello") < index("← alert: fatal handshake_failure"));
    assert!(index("← alert: fatal handshake_failure") < index("← FIN"));
    assert!(said.stdout.contains("  * "), "{}", said.stdout);
}

/// A pipe that nobody reads any more is no reason to complain.
#[test]
fn nobody_reads() {
    let folder = Folder::new();
    let packets: Vec<_> = (0..2000_u16)
        .flat_map(|index| failed(10_000 + index, "a.example", u32::from(index) * 20))
        .collect();
    let file = folder.capture("a.pcap", &packets);
    let mut child = Command::new(env!("CARGO_BIN_EXE_tls-trace"))
        .args([OsStr::new("analyze"), file.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// The connection is open, and silent, when the capture ends.
#[test]
fn still_open() {
    let folder = Folder::new();
    let packets = Connection::open(40_001, 0).send(&make::client_hello("a.example"));
    let said = analyze(&[
        &"--json",
        &"--all",
        &folder.capture("a", &packets.packets()),
    ]);
    assert_eq!(
        said.json().0[0].verdict.outcome,
        Outcome::Incomplete,
        "{said:?}"
    );
}

fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).exists());
    if !found {
        println!("skipped: no {program} here");
    }
    found
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
