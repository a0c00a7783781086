//! Captures of real traffic with known answers. They are not part of the project; where their folder is
//! absent, nothing is tested.

use std::path::{Path, PathBuf};

use tls_trace::report::Outcome;

use super::analyze;

fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = std::env::var_os("TLS_TRACE_CAPTURES").map_or_else(beside, PathBuf::from);
    let found = folder.exists().then_some(folder);
    if found.is_none() {
        println!("skipped: no captures here; TLS_TRACE_CAPTURES names their folder");
    }
    found
}

/// Connections that failed with their cause, established ones, those not seen whole.
type Answer = (&'static [&'static str], usize, usize);

const ANSWERS: [(&str, Answer); 10] = [
    ("badcurveball.pcap", (&["certificate_unknown"], 0, 0)),
    ("browsers-x509.pcapng", (&[], 3, 0)),
    ("ipv6.pcapng", (&[], 0, 1)),
    ("macos_tcp_flags.pcap", (&[], 1, 0)),
    ("tls-alpn-h2.pcap", (&[], 0, 1)),
    ("tls-handshake.pcapng", (&[], 6, 53)),
    ("tls-non-ascii-alpn.pcapng", (&[], 0, 1)),
    ("tls-sni.pcapng", (&[], 0, 59)),
    ("tls12.pcap", (&[], 0, 1)),
    ("tls3.pcapng", (&[], 7, 13)),
];

#[test]
fn known_answers() {
    let Some(folder) = folder() else { return };
    for (name, (causes, established, incomplete)) in ANSWERS {
        let said = analyze(&[&"--json", &"--all", &folder.join(name)]);
        assert_eq!(
            said.code,
            Some(i32::from(!causes.is_empty())),
            "{name}: {said:?}"
        );
        let (reports, _) = said.json();
        let with = |outcome| {
            let of_outcome =
                move |verdict: &&tls_trace::report::Verdict| verdict.outcome == outcome;
            reports
                .iter()
                .map(|report| &report.verdict)
                .filter(of_outcome)
        };
        let failed: Vec<_> = with(Outcome::Failed)
            .map(|verdict| verdict.cause.label())
            .collect();
        assert_eq!(failed, causes, "{name}");
        assert_eq!(with(Outcome::Established).count(), established, "{name}");
        assert_eq!(with(Outcome::Incomplete).count(), incomplete, "{name}");
        assert_eq!(
            reports.len(),
            causes.len() + established + incomplete,
            "{name}"
        );
    }
}
