//! `--write-failures`: what Wireshark shows of it.

use std::{path::Path, process::Command};

use super::{Folder, analyze, analyze_input, established, exists, failed, pcap};

/// Fields of each packet, by tshark; fields are separated by `|`.
fn tshark(file: &Path, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-N", "n", "-T", "fields", "-E", "separator=|", "-r"]);
    command.arg(file);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_verdict_is_at_the_decisive_packet() {
    let folder = Folder::new();
    let packets = [
        established(40_001, "good.example", 0),
        failed(40_002, "bad.example", 20),
    ]
    .concat();
    let (input, output) = (
        folder.capture("a.pcap", &packets),
        folder.path("out.pcapng"),
    );
    let said = analyze(&[&"--write-failures", &output, &input]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let count = failed(40_002, "bad.example", 20).len();
    let told = format!("tls-trace: {count} packets of 1 failed connection written\n");
    assert_eq!(said.stderr, told);
    if !exists("tshark") {
        return;
    }
    let rows = tshark(
        &output,
        &["tcp.port", "tls.alert_message.desc", "frame.comment"],
    );
    assert_eq!(rows.len(), count, "{rows:?}");
    for row in &rows {
        assert!(row.contains("40002"), "{row}");
        let columns: Vec<_> = row.splitn(3, '|').collect();
        // Only the alert decides.
        assert_eq!(columns[1] == "40", !columns[2].is_empty(), "{row}");
    }
    let comment = rows.iter().find(|row| row.contains("|40|")).unwrap();
    for part in ["failed handshake_failure", "bad.example", "by server_app"] {
        assert!(comment.contains(part), "{comment}");
    }
    let hosts = tshark(&output, &["ip.dst_host"]);
    assert_eq!(hosts[0], "bad.example", "{hosts:?}");
    let times = |file: &Path| tshark(file, &["frame.time_epoch", "tcp.seq_raw"]);
    assert_eq!(times(&output), times(&input)[packets.len() - count..]);
    if exists("capinfos") {
        let output = Command::new("capinfos")
            .arg("-k")
            .arg(&output)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("failed handshake_failure: 10.0.0.9:40002"),
            "{text}"
        );
    }
}

#[test]
fn of_standard_input() {
    let folder = Folder::new();
    let output = folder.path("out.pcapng");
    let input = pcap(&failed(40_002, "bad.example", 20));
    let said = analyze_input(&[&"--write-failures", &output, &"-"], &input);
    assert_eq!(said.code, Some(1), "{said:?}");
    // What was written says the same again.
    let again = analyze(&[&"--json", &output]);
    let first = analyze_input(&[&"--json", &"-"], &input);
    assert_eq!(again.json().0, first.json().0);
}

#[test]
fn only_what_was_asked_for() {
    let folder = Folder::new();
    let packets = [
        failed(40_001, "a.example", 0),
        failed(40_002, "b.example", 20),
    ];
    let (input, output) = (
        folder.capture("a.pcap", &packets.concat()),
        folder.path("out"),
    );
    let said = analyze(&[&"--write-failures", &output, &"--sni", &"b.*", &input]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let (reports, summary) = analyze(&[&"--json", &output]).json();
    assert_eq!(reports.len(), 1);
    assert_eq!(summary["packets"], packets[1].len());
}

#[test]
fn not_over_a_capture_and_not_nowhere() {
    let folder = Folder::new();
    let input = folder.capture("a.pcap", &failed(40_001, "a.example", 0));
    let said = analyze(&[&"--write-failures", &input, &input]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("is one of the captures"), "{said:?}");
    let said = analyze(&[&"--write-failures", &folder.path("no/out.pcapng"), &input]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("cannot write"), "{said:?}");
}
