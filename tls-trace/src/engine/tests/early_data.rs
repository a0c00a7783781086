//! What becomes of early data.

use rstest::rstest;

use super::{
    bytes::*,
    handshakes::{established, verdict},
    story::Story,
};
use crate::report::{Cause, EarlyDataOutcome, EarlyDataReason, Initiator, Notice, Outcome};

#[rstest]
#[case::accepted(true, true, EarlyDataOutcome::Accepted, None)]
#[case::data_refused(true, false, EarlyDataOutcome::Rejected, None)]
#[case::ticket_refused(
    false,
    false,
    EarlyDataOutcome::Rejected,
    Some(EarlyDataReason::PskNotAccepted)
)]
fn early_data(
    #[case] psk: bool,
    #[case] ended: bool,
    #[case] outcome: EarlyDataOutcome,
    #[case] reason: Option<EarlyDataReason>,
) {
    let offer = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let select = Selection { psk, ..SELECT_13 };
    let mut story = Story::server();
    story.gets([client_hello(offer), change_cipher_spec(), data(400)].concat());
    story.sends(
        [
            server_hello(select),
            change_cipher_spec(),
            data(36),
            data(FINISHED),
        ]
        .concat(),
    );
    if ended {
        story.gets(data(END_OF_EARLY_DATA));
    }
    story
        .gets(data(FINISHED))
        .sends(data(250))
        .gets(data(50))
        .sends(data(70));
    story.gets_fin().closes().ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    let early = report.early_data.unwrap();
    assert_eq!((early.outcome, early.reason), (outcome, reason));
    let noticed = report.notices.contains(&Notice::EarlyDataRejected);
    assert_eq!(noticed, outcome == EarlyDataOutcome::Rejected);
}

#[test]
fn a_server_that_refuses_to_be_offered_early_data() {
    let offer = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let mut story = Story::client();
    story.sends([client_hello(offer), change_cipher_spec(), data(400)].concat());
    story.gets(alert(2, 110)).gets_fin().closes().ends();
    let report = story.report();
    assert_eq!(report.verdict.cause, Cause::UnsupportedExtension);
    let early = report.early_data.unwrap();
    assert_eq!(early.outcome, EarlyDataOutcome::Rejected);
    assert_eq!(early.reason, Some(EarlyDataReason::Unsupported));
}

/// Up to the server's Finished, by a server that takes the ticket.
fn resuming(suite: u16, server_records: [usize; 2]) -> Story {
    let offer = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let select = Selection {
        psk: true,
        ..SELECT_13
    };
    let mut story = Story::client();
    story.sends(client_hello(offer));
    story.gets([server_hello_with(suite, select), change_cipher_spec()].concat());
    story.gets(server_records.map(data).concat());
    story
}

/// Early data that was on its way when the ServerHello came may have the size of what ends it.
#[rstest]
#[case::accepted(&[400, END_OF_EARLY_DATA, FINISHED], EarlyDataOutcome::Accepted)]
#[case::refused(&[400, FINISHED, 50], EarlyDataOutcome::Rejected)]
#[case::data_like_the_end(&[END_OF_EARLY_DATA, 400, FINISHED], EarlyDataOutcome::Rejected)]
#[case::data_or_the_end(
    &[END_OF_EARLY_DATA, END_OF_EARLY_DATA, FINISHED],
    EarlyDataOutcome::Unknown
)]
#[case::data_like_the_finished(
    &[FINISHED, END_OF_EARLY_DATA, FINISHED],
    EarlyDataOutcome::Unknown
)]
#[case::data_of_any_size(&[FINISHED, 50, FINISHED, 50], EarlyDataOutcome::Rejected)]
fn sizes_of_early_data(#[case] sizes: &[usize], #[case] outcome: EarlyDataOutcome) {
    let mut story = resuming(0x1302, [36, FINISHED]);
    for size in sizes {
        story.sends(data(*size));
    }
    story.gets(data(250)).sends(data(50)).gets(data(70));
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    let early = report.early_data.unwrap();
    assert_eq!((early.outcome, early.reason), (outcome, None));
}

/// Every record padded to 512 bytes; a suite whose tag has 32 bytes (RFC 9150).
#[rstest]
#[case::padded(0x1302, 529, 529)]
#[case::other_sizes(0xc0b4, 37, 69)]
fn where_sizes_tell_nothing(#[case] suite: u16, #[case] end: usize, #[case] finished: usize) {
    let mut story = resuming(suite, [finished, finished]);
    story.sends([data(end), data(finished)].concat());
    story.gets(data(529)).sends(data(529)).gets(data(529));
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    let early = report.early_data.unwrap();
    assert_eq!(
        (early.outcome, early.reason),
        (EarlyDataOutcome::Unknown, None)
    );
    assert_eq!(report.notices, []);
}

/// The server's flight was answered by early data that had been on its way, and by nothing else.
#[test]
fn a_client_that_leaves_before_its_finished() {
    let mut story = resuming(0x1302, [36, FINISHED]);
    story.sends(data(400)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Failed);
    let early = report.early_data.unwrap();
    assert_eq!(early.outcome, EarlyDataOutcome::Aborted);
}
