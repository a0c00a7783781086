//! What a library of HTTP/2 says of the end of a connection.

use rstest::rstest;

use super::{
    bytes::*,
    story::{Story, task},
};
use crate::{
    event::{ChannelState, EventKind, Goaway, Http2Event, Http2Moment, ResetReason},
    report::{Cause, Confidence, Initiator, Notice, Outcome, Phase, Report},
};

/// gRPC's text when its PING was not answered.
const LOST_PING: &str = "keepalive ping failed to receive ACK within timeout";

fn says(story: &mut Story, moment: Http2Moment) -> &mut Story {
    let said = Http2Event {
        moment,
        task: task(100, "curl"),
        random: [7; 32],
        server: Some(false),
    };
    story.event(EventKind::Http2(said))
}

fn goaway(code: u32, debug: &str) -> Goaway {
    Goaway {
        code,
        debug: debug.to_owned(),
    }
}

/// A client that sent its preface.
fn preface() -> Story {
    let mut story = Story::client();
    let hello = client_hello(Offer {
        alpn: Some("h2"),
        ..Offer::default()
    });
    story
        .sends(hello)
        .gets(flight_13())
        .sends(data(FINISHED))
        .sends([data(41), data(26)].concat());
    says(&mut story, Http2Moment::SettingsSent);
    story
}

/// A client that is ready.
fn ready() -> Story {
    let mut story = preface();
    story.gets([data(32), data(26)].concat());
    says(&mut story, Http2Moment::SettingsReceived);
    says(&mut story, Http2Moment::Channel(ChannelState::Ready));
    story
}

fn assert(report: &Report, outcome: Outcome, initiator: Initiator, cause: Cause) {
    let verdict = &report.verdict;
    assert_eq!(
        (verdict.outcome, verdict.initiator, verdict.cause),
        (outcome, initiator, cause),
        "{:#?}",
        verdict.evidence
    );
    assert_eq!(verdict.confidence, Confidence::Certain);
}

#[rstest]
#[case(11, "too_many_pings", Outcome::Broken, Cause::H2GoawayTooManyPings)]
#[case(11, "too_many_resets", Outcome::Broken, Cause::H2GoawayError)]
#[case(1, "too_many_pings", Outcome::Broken, Cause::H2GoawayError)]
#[case(4_000_000, "\u{1b}[2J", Outcome::Broken, Cause::H2GoawayError)]
#[case(0, "max_age", Outcome::Established, Cause::H2GoawayMaxAge)]
#[case(0, "max_idle", Outcome::Established, Cause::H2GoawayMaxIdle)]
#[case(0, "graceful_stop", Outcome::Established, Cause::H2GoawayGraceful)]
#[case(0, "", Outcome::Established, Cause::H2GoawayGraceful)]
fn the_server_ends_it_though_the_client_closes(
    #[case] code: u32,
    #[case] debug: &str,
    #[case] outcome: Outcome,
    #[case] cause: Cause,
) {
    let mut story = ready();
    story.wait(40_000).gets(data(65));
    says(&mut story, Http2Moment::GoawayReceived(goaway(code, debug)));
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert(report, outcome, Initiator::ServerApp, cause);
    assert_eq!(report.verdict.phase, Phase::H2Ready);
    let graceful = outcome == Outcome::Established;
    assert_eq!(report.notices.contains(&Notice::H2Goaway), graceful);
    let goaways = &report.http2.as_ref().expect("a GOAWAY").goaways;
    assert_eq!(goaways.len(), 1);
    assert_eq!(goaways[0].code, code);
    assert_eq!(goaways[0].confidence, Confidence::Certain);
}

#[test]
fn a_client_that_wants_to_leave_says_so_and_is_not_blamed() {
    let mut story = ready();
    let shutdown = goaway(0, "client transport shutdown");
    says(&mut story, Http2Moment::GoawaySent(shutdown));
    story
        .sends(data(59))
        .sends(data(ALERT))
        .closes()
        .gets_fin()
        .ends();
    assert(
        story.report(),
        Outcome::Established,
        Initiator::ClientApp,
        Cause::None,
    );
}

#[test]
fn a_goaway_to_who_left_before_is_no_cause() {
    let mut story = ready();
    story.sends(data(ALERT)).closes();
    says(&mut story, Http2Moment::GoawayReceived(goaway(0, "")));
    story.gets_fin().ends();
    assert(
        story.report(),
        Outcome::Established,
        Initiator::ClientApp,
        Cause::None,
    );
}

#[test]
fn a_ping_that_is_not_answered() {
    let mut story = ready();
    let text = Some(LOST_PING.to_owned());
    says(&mut story, Http2Moment::Closed { text });
    let shutdown = goaway(0, "client transport shutdown");
    says(&mut story, Http2Moment::GoawaySent(shutdown));
    story
        .sends(data(59))
        .sends(data(ALERT))
        .closes()
        .gets_fin()
        .ends();
    assert(
        story.report(),
        Outcome::Broken,
        Initiator::ClientApp,
        Cause::H2PingTimeout,
    );
}

#[test]
fn settings_that_never_come() {
    let mut story = preface();
    story.wait(20_000).closes().gets_fin().ends();
    let report = story.report();
    assert(
        report,
        Outcome::Broken,
        Initiator::ClientApp,
        Cause::H2SettingsTimeout,
    );
    assert_eq!(report.verdict.phase, Phase::H2PrefaceSent);
}

#[test]
fn a_server_that_closes_instead_of_sending_settings() {
    let mut story = preface();
    story.gets_fin().closes().ends();
    assert(
        story.report(),
        Outcome::Broken,
        Initiator::ServerApp,
        Cause::H2ClosedBeforeSettings,
    );
}

/// A program may read frames in its own way; then nobody tells of SETTINGS that came.
#[test]
fn an_answer_on_the_wire_is_as_good_as_settings() {
    let mut story = preface();
    story.gets([data(32), data(26)].concat());
    story
        .wait(20_000)
        .sends(data(ALERT))
        .closes()
        .gets_fin()
        .ends();
    let verdict = &story.report().verdict;
    assert_eq!(
        (verdict.outcome, verdict.cause),
        (Outcome::Established, Cause::None)
    );
}

#[test]
fn a_reset_after_a_goaway_belongs_to_it() {
    let mut story = ready();
    says(
        &mut story,
        Http2Moment::GoawayReceived(goaway(0, "max_age")),
    );
    story.gets_unread(data(34));
    story.resets(Some(ResetReason::TCP_ABORT_ON_CLOSE)).ends();
    assert(
        story.report(),
        Outcome::Established,
        Initiator::ServerApp,
        Cause::H2GoawayMaxAge,
    );
}
