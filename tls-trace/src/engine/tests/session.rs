//! Certificates, resumption, renegotiation.

use rstest::rstest;

use super::{bytes::*, story::Story};
use crate::report::{ClientCertificate, Initiator, Notice, Outcome, Report, Resumption};

/// Both directions of a real handshake of TLS 1.2, told in the order in which they were said.
fn told(client: &[u8], server: &[u8]) -> Report {
    let hello = 5 + usize::from(u16::from_be_bytes([client[3], client[4]]));
    let change = [20, 3, 3, 0, 1, 1];
    let done = server.windows(6).position(|at| at == change).unwrap();
    let mut story = Story::client();
    story.sends(&client[..hello]).gets(&server[..done]);
    story.sends(&client[hello..]).gets(&server[done..]);
    story.closes().gets_fin().ends();
    story.report().clone()
}

macro_rules! sample {
    ($name:literal) => {
        told(
            include_bytes!(concat!("../../../testdata/wire/", $name, ".client.bin")),
            include_bytes!(concat!("../../../testdata/wire/", $name, ".server.bin")),
        )
    };
}

#[test]
fn both_certificates_are_seen_in_tls_1_2() {
    let report = sample!("client-certificate");
    assert_eq!(report.client_certificate, Some(ClientCertificate::Sent));
    let certificate = report.server_certificate.unwrap();
    assert!(certificate.subject.starts_with("CN="), "{certificate:?}");
    assert_eq!(certificate.name_matches, Some(true));
    assert_eq!(certificate.valid, None, "nobody said what time it was");
    assert_eq!((report.resumed, report.resumption), (Some(false), None));
    assert_eq!(report.encrypted_client_hello, Some(false));
}

#[test]
fn resumed_by_a_ticket() {
    let mut story = Story::client();
    let client = include_bytes!("../../../testdata/wire/tls12-resumed.client.bin");
    let server = include_bytes!("../../../testdata/wire/tls12-resumed.server.bin");
    let hello = 5 + usize::from(u16::from_be_bytes([client[3], client[4]]));
    story
        .sends(&client[..hello])
        .gets(server)
        .sends(&client[hello..]);
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.resumption, Some(Resumption::Ticket));
    assert_eq!(report.server_certificate, None);
}

#[test]
fn not_valid_at_the_time() {
    let mut story = Story::client();
    let client = include_bytes!("../../../testdata/wire/client-certificate.client.bin");
    let server = include_bytes!("../../../testdata/wire/client-certificate.server.bin");
    let hello = 5 + usize::from(u16::from_be_bytes([client[3], client[4]]));
    story.sends(&client[..hello]).gets(server);
    story.sends(alert(2, 42)).closes().gets_fin().ends();
    let mut report = story.report().clone();
    let fact = |report: &Report| {
        let mut facts = report.verdict.evidence.iter();
        facts.any(|evidence| evidence.fact.starts_with("certificate not valid"))
    };
    report.set_time(Some("1999-12-31T23:59:59.999999Z".to_owned()));
    assert_eq!(
        report.server_certificate.as_ref().unwrap().valid,
        Some(false)
    );
    assert!(fact(&report));
    let mut report = story.report().clone();
    let from = report
        .server_certificate
        .as_ref()
        .unwrap()
        .not_before
        .clone();
    report.set_time(from);
    assert_eq!(
        report.server_certificate.as_ref().unwrap().valid,
        Some(true)
    );
    assert!(!fact(&report));
}

/// In TLS 1.3 only sizes tell; where they do not, nothing is said.
#[rstest]
#[case::none(&[FINISHED], Some(ClientCertificate::NotRequested))]
#[case::empty(&[NO_CERTIFICATE, FINISHED], Some(ClientCertificate::Empty))]
#[case::sent(&[700, 281, FINISHED], Some(ClientCertificate::Sent))]
#[case::padded(&[256, 1024, 1024], None)]
fn client_certificate_in_tls_1_3(
    #[case] flight: &[usize],
    #[case] expected: Option<ClientCertificate>,
) {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13());
    let flight: Vec<u8> = flight.iter().flat_map(|length| data(*length)).collect();
    story
        .sends(flight)
        .gets(data(250))
        .sends(data(50))
        .gets(data(70));
    story.closes().gets_fin().ends();
    assert_eq!(story.report().client_certificate, expected);
}

#[test]
fn renegotiation() {
    let mut story = Story::client();
    story.sends(client_hello(Offer::default()));
    story.gets(flight_12(SELECT_12)).sends(client_flight_12());
    story.gets(server_end_12()).gets(encrypted(22, 28));
    story.sends(encrypted(22, 240)).gets(encrypted(22, 1400));
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Established);
    assert_eq!(report.verdict.initiator, Initiator::ClientApp);
    assert!(report.notices.contains(&Notice::Renegotiation));
}
