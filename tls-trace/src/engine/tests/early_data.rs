//! What becomes of early data.

use rstest::rstest;

use super::{
    bytes::*,
    handshakes::{established, verdict},
    story::Story,
};
use crate::report::{Cause, EarlyDataOutcome, EarlyDataReason, Initiator, Notice};

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
