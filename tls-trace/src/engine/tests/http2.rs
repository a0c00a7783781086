//! HTTP/2 by sizes and time; the sizes are those of grpc-go 1.81 and C-core 1.85 over TLS 1.3.

use rstest::rstest;

use super::{
    bytes::{ALERT, FINISHED, Offer, change_cipher_spec, client_hello, data, flight_13},
    story::Story,
};
use crate::{
    engine::Output,
    event::{Direction, EventKind, Tail, TailPacket, TcpState, Timestamp},
    report::{Cause, Confidence, Initiator, Notice, Outcome, Phase, Report},
};

const PING: usize = 34;
const TICKET: usize = 250;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Milliseconds pass.
    Wait(u64),
    /// A record from the client.
    Client(usize),
    /// A record from the server.
    Server(usize),
}
use Step::{Client, Server, Wait};

trait Steps {
    fn steps(&mut self, steps: &[Step]) -> &mut Self;
}

impl Steps for Story {
    fn steps(&mut self, steps: &[Step]) -> &mut Self {
        for step in steps {
            match *step {
                Wait(ms) => self.wait(ms),
                Client(length) => self.sends(data(length)),
                Server(length) => self.gets(data(length)),
            };
        }
        self
    }
}

/// A client that offered this completed its handshake, and the server sent its tickets.
fn client_of(protocol: &'static str) -> Story {
    let mut story = Story::client();
    let alpn = Some(protocol);
    story.sends(client_hello(Offer {
        alpn,
        ..Offer::default()
    }));
    story.gets(flight_13());
    story.sends([change_cipher_spec(), data(FINISHED)].concat());
    story.gets([data(TICKET), data(TICKET)].concat());
    story
}

/// grpc-go on both ends, ready.
const READY: [Step; 5] = [Client(41), Client(26), Server(32), Server(26), Client(26)];

/// Three PINGs of a keepalive that are answered.
const PINGS: [Step; 9] = [
    Wait(10_000),
    Client(PING),
    Server(PING),
    Wait(10_000),
    Client(PING),
    Server(PING),
    Wait(10_000),
    Client(PING),
    Server(PING),
];

fn ready() -> Story {
    let mut story = client_of("h2");
    story.steps(&READY);
    story
}

#[track_caller]
fn assert_verdict(report: &Report, expected: (Outcome, Phase, Initiator, Cause)) {
    let verdict = &report.verdict;
    let found = (
        verdict.outcome,
        verdict.phase,
        verdict.initiator,
        verdict.cause,
    );
    assert_eq!(found, expected, "{report:#?}");
    if expected.3 != Cause::None {
        assert_eq!(verdict.confidence, Confidence::Likely, "{report:#?}");
        assert_eq!(
            verdict.evidence.iter().filter(|fact| fact.decisive).count(),
            1
        );
    }
}

#[test]
fn too_many_pings_is_the_servers_doing_though_the_client_closes() {
    let mut story = ready();
    story
        .steps(&PINGS)
        .steps(&[Wait(10_000), Client(PING), Server(65), Client(ALERT)]);
    story.closes().gets_fin().ends();
    let report = story.report();
    let cause = Cause::H2GoawayTooManyPings;
    assert_verdict(
        report,
        (Outcome::Broken, Phase::H2Ready, Initiator::ServerApp, cause),
    );
    let goaway = &report.http2.as_ref().unwrap().goaways[0];
    assert_eq!(
        (goaway.code, goaway.debug.as_deref()),
        (11, Some("too_many_pings"))
    );
    let decisive = report.verdict.evidence.iter().find(|fact| fact.decisive);
    let fact = &decisive.unwrap().fact;
    assert!(
        fact.starts_with("client's PINGs every 10.0 s, then 65 bytes"),
        "{fact}"
    );
}

#[test]
fn too_many_pings_of_a_server_that_closes_first() {
    let mut story = ready();
    story
        .steps(&PINGS)
        .steps(&[Wait(10_000), Client(PING), Server(65)]);
    story.gets_fin().steps(&[Client(PING)]).closes().ends();
    let cause = Cause::H2GoawayTooManyPings;
    assert_verdict(
        story.report(),
        (Outcome::Broken, Phase::H2Ready, Initiator::ServerApp, cause),
    );
}

#[rstest]
#[case::grpc_go(&[Server(58), Client(PING), Server(41), Client(ALERT)], Cause::H2GoawayMaxAge)]
#[case::c_core(&[Server(58), Client(47), Server(41)], Cause::H2GoawayMaxAge)]
#[case::idle_grpc_go(&[Server(59), Client(ALERT)], Cause::H2GoawayMaxIdle)]
#[case::idle_c_core(&[Server(49), Client(ALERT)], Cause::H2GoawayMaxIdle)]
#[case::stop(&[Server(64), Client(PING), Client(ALERT)], Cause::H2GoawayGraceful)]
fn a_limit_of_the_server_is_no_failure(#[case] steps: &[Step], #[case] cause: Cause) {
    let mut story = ready();
    story
        .steps(&[Wait(5000)])
        .steps(steps)
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    let established = Outcome::Established;
    assert_verdict(
        report,
        (established, Phase::H2Ready, Initiator::ServerApp, cause),
    );
    assert!(
        report.notices.contains(&Notice::H2Goaway),
        "{:?}",
        report.notices
    );
}

/// Proxies give no reason, but their silence does: nginx and haproxy close first, Envoy leaves it to the client.
#[rstest]
#[case::server_closes(&[Server(PING), Server(ALERT)], true)]
#[case::client_closes(&[Server(PING)], false)]
#[case::both_say_goodbye(&[Server(PING), Client(ALERT), Server(ALERT)], false)]
#[case::answered_in_kind(&[Server(PING), Server(ALERT), Client(PING)], true)]
#[case::said_twice(&[Server(PING), Wait(200), Server(PING), Server(ALERT)], true)]
fn an_idle_timer_of_a_proxy(#[case] steps: &[Step], #[case] server_first: bool) {
    let mut story = ready();
    story.steps(&[Wait(60_000)]).steps(steps);
    if server_first {
        story.gets_fin().closes().ends();
    } else {
        story.closes().gets_fin().ends();
    }
    let report = story.report();
    let (established, cause) = (Outcome::Established, Cause::H2GoawayGraceful);
    assert_verdict(
        report,
        (established, Phase::H2Ready, Initiator::ServerApp, cause),
    );
    let goaway = &report.http2.as_ref().unwrap().goaways[0];
    assert_eq!((goaway.code, goaway.debug.as_deref()), (0, None));
    let mut facts = report.verdict.evidence.iter();
    let fact = facts.find(|fact| fact.decisive).unwrap();
    assert!(fact.fact.contains("for 60.0 s, then 34 bytes"), "{fact:?}");
}

/// What has the size of a GOAWAY without text is mostly a PING, or the answer to one.
#[rstest]
#[case::answered(&[Wait(60_000), Server(PING), Client(PING), Wait(300), Client(ALERT)])]
#[case::an_answer(&[Wait(60_000), Client(PING), Server(PING), Client(ALERT)])]
#[case::in_use(&[Wait(60_000), Client(120), Server(PING), Server(400), Client(ALERT)])]
#[case::long_before(&[Wait(60_000), Server(PING), Wait(1000), Client(ALERT)])]
#[case::after_the_client_left(&[Wait(60_000), Client(ALERT), Server(PING)])]
fn a_ping_is_no_goaway(#[case] steps: &[Step]) {
    let mut story = ready();
    story.steps(steps).closes().gets_fin().ends();
    let (established, cause) = (Outcome::Established, Cause::None);
    assert_verdict(
        story.report(),
        (established, Phase::H2Ready, Initiator::ClientApp, cause),
    );
}

/// Node says GOAWAY to GOAWAY; which end is the first to close then is chance.
#[rstest]
#[case::server(&[Server(PING), Client(PING)], Initiator::ServerApp, Cause::H2GoawayGraceful)]
#[case::client(&[Client(PING), Server(PING)], Initiator::ClientApp, Cause::None)]
fn a_goaway_that_is_answered_by_another(
    #[case] steps: &[Step],
    #[case] initiator: Initiator,
    #[case] cause: Cause,
    #[values(true, false)] server_first: bool,
) {
    let mut story = ready();
    story.steps(&[Wait(60_000)]).steps(steps);
    if server_first {
        story.steps(&[Server(ALERT)]).gets_fin();
        story.steps(&[Client(ALERT)]).closes().ends();
    } else {
        story.steps(&[Client(ALERT)]).closes();
        story.steps(&[Server(ALERT)]).gets_fin().ends();
    }
    let report = story.report();
    let established = Outcome::Established;
    assert_verdict(report, (established, Phase::H2Ready, initiator, cause));
}

/// Node does not ping of itself: after a call, too, that is a goodbye.
#[rstest]
#[case::node(50, Initiator::ClientApp)]
#[case::grpc_js(56, Initiator::ClientApp)]
#[case::c_core_may_measure_bandwidth(99, Initiator::ServerApp)]
fn a_client_that_leaves_after_a_call(#[case] preface: usize, #[case] initiator: Initiator) {
    let mut story = client_of("h2");
    story.steps(&[Client(preface), Server(26), Server(26), Client(26)]);
    story.steps(&[
        Client(458),
        Server(435),
        Server(52),
        Client(PING),
        Server(PING),
    ]);
    story.steps(&[Server(ALERT)]).gets_fin().closes().ends();
    let established = Outcome::Established;
    assert_verdict(
        story.report(),
        (established, Phase::H2Ready, initiator, Cause::None),
    );
}

/// One who pings may have sent the next PING, and the other may have left then by its own wish.
#[rstest]
#[case::client(&[Client(PING), Server(PING)])]
#[case::server(&[Server(PING), Client(PING)])]
fn whether_it_was_another_ping_is_not_known(#[case] exchange: &[Step]) {
    let mut story = ready();
    for _ in 0..2 {
        story.steps(&[Wait(10_000)]).steps(exchange);
    }
    if matches!(exchange[0], Client(_)) {
        story.steps(&[Server(ALERT)]).gets_fin().closes().ends();
    } else {
        story.steps(&[Client(ALERT)]).closes().gets_fin().ends();
    }
    let verdict = &story.report().verdict;
    assert_eq!(
        (
            verdict.outcome,
            verdict.initiator,
            verdict.cause,
            verdict.confidence
        ),
        (
            Outcome::Established,
            Initiator::Unknown,
            Cause::None,
            Confidence::Likely
        )
    );
}

/// What the server said last is no PING, but the answer to one: nobody waits for anything.
#[rstest]
#[case::and_no_word(&[], Cause::None)]
#[case::and_a_goaway(&[Server(PING), Server(ALERT)], Cause::H2GoawayGraceful)]
fn an_idle_timer_after_an_answered_ping(#[case] end: &[Step], #[case] cause: Cause) {
    let mut story = ready();
    story.steps(&[Wait(100), Client(PING), Server(PING), Wait(60_000)]);
    story.steps(end).gets_fin().closes().ends();
    let established = Outcome::Established;
    assert_verdict(
        story.report(),
        (established, Phase::H2Ready, Initiator::ServerApp, cause),
    );
}

/// A proxy that forwards TLS cuts without a word; how long nothing was said is all there is to tell its timer by.
#[test]
fn a_cut_after_silence_has_its_length() {
    let mut story = ready();
    story.steps(&[Wait(50_000)]).gets_fin().closes().ends();
    let verdict = &story.report().verdict;
    assert_eq!(
        (verdict.outcome, verdict.initiator, verdict.cause),
        (Outcome::Established, Initiator::ServerApp, Cause::None)
    );
    let mut facts = verdict.evidence.iter();
    assert!(facts.any(|fact| fact.fact == "nobody had said anything for 50.0 s"));
}

#[test]
fn an_answer_of_the_size_of_a_goaway_is_none() {
    for length in [49, 58, 59, 64, 65] {
        let mut story = ready();
        story
            .steps(&PINGS)
            .steps(&[Wait(3000), Client(120), Server(length), Client(ALERT)]);
        story.closes().gets_fin().ends();
        let established = Outcome::Established;
        assert_verdict(
            story.report(),
            (
                established,
                Phase::H2Ready,
                Initiator::ClientApp,
                Cause::None,
            ),
        );
    }
}

/// Whatever of it came to pass, nothing but the whole is the server's objection.
#[test]
fn no_beginning_of_too_many_pings_is_a_failure() {
    let steps = [&PINGS[..], &[Wait(100), Client(PING), Server(PING)]].concat();
    for count in 0..steps.len() {
        let mut story = ready();
        story.steps(&steps[..count]);
        // An unanswered PING is another story.
        if !matches!(steps[..count].last(), Some(Client(_))) {
            story.steps(&[Client(ALERT)]).closes().gets_fin().ends();
            let established = Outcome::Established;
            assert_verdict(
                story.report(),
                (
                    established,
                    Phase::H2Ready,
                    Initiator::ClientApp,
                    Cause::None,
                ),
            );
        }
    }
}

/// Whoever closes TCP: a server that is told goodbye may be faster.
#[rstest]
fn settings_that_never_come(#[values(true, false)] server_first: bool) {
    let mut story = client_of("h2");
    story.steps(&[Client(41), Client(26), Wait(20_000), Client(ALERT)]);
    if server_first {
        story.gets_fin().closes().ends();
    } else {
        story.closes().gets_fin().ends();
    }
    let cause = Cause::H2SettingsTimeout;
    assert_verdict(
        story.report(),
        (
            Outcome::Broken,
            Phase::H2PrefaceSent,
            Initiator::ClientApp,
            cause,
        ),
    );
}

#[test]
fn closed_before_settings() {
    let mut story = client_of("h2");
    story.steps(&[Client(41), Client(26)]);
    story.gets_fin().closes().ends();
    let cause = Cause::H2ClosedBeforeSettings;
    assert_verdict(
        story.report(),
        (
            Outcome::Broken,
            Phase::H2PrefaceSent,
            Initiator::ServerApp,
            cause,
        ),
    );
}

/// Whoever closes: it is the server that speaks something else.
#[rstest]
fn answered_in_http_1(#[values(true, false)] server_first: bool) {
    let mut story = client_of("h2");
    story.steps(&[Client(41), Client(26), Server(320)]);
    if server_first {
        story.steps(&[Server(ALERT)]).gets_fin().closes().ends();
    } else {
        story.closes().gets_fin().ends();
    }
    let cause = Cause::Http1OnH2;
    assert_verdict(
        story.report(),
        (
            Outcome::Broken,
            Phase::H2PrefaceSent,
            Initiator::ServerApp,
            cause,
        ),
    );
}

#[rstest]
#[case::grpc_go(&[Client(59), Client(ALERT)])]
#[case::c_core(&[])]
fn a_ping_that_is_not_answered(#[case] goodbye: &[Step]) {
    let mut story = ready();
    story
        .steps(&[Wait(10_000), Client(PING), Wait(20_000)])
        .steps(goodbye);
    story.closes().gets_fin().ends();
    let cause = Cause::H2PingTimeout;
    assert_verdict(
        story.report(),
        (Outcome::Broken, Phase::H2Ready, Initiator::ClientApp, cause),
    );
}

/// The answer comes when the client has left.
#[test]
fn a_ping_that_is_answered_too_late() {
    let mut story = ready();
    story.steps(&[Wait(10_000), Client(PING), Wait(20_000)]);
    story
        .closes()
        .steps(&[Wait(700), Server(PING)])
        .gets_fin()
        .ends();
    let cause = Cause::H2PingTimeout;
    assert_verdict(
        story.report(),
        (Outcome::Broken, Phase::H2Ready, Initiator::ClientApp, cause),
    );
}

/// One who is told goodbye may be faster to close TCP.
#[rstest]
#[case::client(&[Client(PING), Client(ALERT)], Initiator::ClientApp)]
#[case::after_a_call(&[Client(120), Server(400), Client(ALERT)], Initiator::ClientApp)]
#[case::server(&[Client(120), Server(400), Server(ALERT)], Initiator::ServerApp)]
fn who_says_goodbye_first_has_left(#[case] steps: &[Step], #[case] initiator: Initiator) {
    let mut story = ready();
    story.steps(&[Wait(5000)]).steps(steps);
    story.steps(&[Server(ALERT)]).gets_fin().closes().ends();
    let established = Outcome::Established;
    assert_verdict(
        story.report(),
        (established, Phase::H2Ready, initiator, Cause::None),
    );
}

#[test]
fn tcp_user_timeout() {
    let mut story = ready();
    story.steps(&[Wait(10_000), Client(PING), Wait(20_000)]);
    story.counters.snd_una = story.counters.snd_una.wrapping_sub(39);
    story.turn(TcpState::CLOSE).error(110).destroyed();
    let cause = Cause::TcpUserTimeout;
    assert_verdict(
        story.report(),
        (
            Outcome::Broken,
            Phase::H2Ready,
            Initiator::ClientKernel,
            cause,
        ),
    );
}

#[rstest]
#[case::at_once(&[], Cause::ResetInjected)]
#[case::idle(&[Wait(60_000)], Cause::IdleTimeoutMiddlebox)]
#[case::spoke_again(&[Wait(60_000), Client(PING)], Cause::IdleTimeoutMiddlebox)]
#[case::was_heard(&[Wait(60_000), Client(PING), Server(PING)], Cause::ResetInjected)]
fn a_foreign_reset_after_silence(#[case] steps: &[Step], #[case] cause: Cause) {
    let mut story = ready();
    story.steps(steps);
    story.reset_segment(255).gets_reset().destroyed();
    let verdict = &story.report().verdict;
    assert_eq!(
        (verdict.initiator, verdict.cause),
        (Initiator::Network, cause),
        "{verdict:#?}"
    );
}

#[test]
fn settings_acknowledged_late() {
    for (ms, late) in [(100, false), (12_000, true)] {
        let mut story = client_of("h2");
        story.steps(&[Client(41), Client(26), Server(32), Server(26)]);
        story.steps(&[Wait(ms), Client(26), Wait(1000), Client(ALERT)]);
        story.closes().gets_fin().ends();
        let notices = &story.report().notices;
        assert_eq!(
            notices.contains(&Notice::H2SettingsAckLate),
            late,
            "{ms} ms"
        );
    }
}

#[test]
fn others_than_grpc_are_not_looked_at() {
    let mut story = client_of("http/1.1");
    story
        .steps(&[Client(200), Wait(20_000)])
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(report.http2, None);
    assert_eq!(
        (report.verdict.phase, report.verdict.cause),
        (Phase::Established, Cause::None)
    );
}

/// Whatever was offered: HTTP/2 begins with a preface.
#[test]
fn what_begins_without_a_preface_is_something_else() {
    let mut story = client_of("h2");
    story.steps(&[Client(21), Server(21), Wait(20_000)]);
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.http2, None);
    assert_eq!(
        (report.verdict.phase, report.verdict.cause),
        (Phase::Established, Cause::None)
    );
}

/// The source is told to stop when a connection is used, but for its last packets.
#[test]
fn a_busy_connection_is_not_watched() {
    let mut story = ready();
    story.steps(&[Wait(2000)]);
    assert!(!is_tail_wanted(&story));
    story.use_it();
    assert!(is_tail_wanted(&story));
    let done = |output: &Output| matches!(output, Output::PayloadDone(_));
    assert!(!story.outputs.iter().any(done));
}

fn is_tail_wanted(story: &Story) -> bool {
    let mut outputs = story.outputs.iter();
    outputs.any(|output| matches!(output, Output::TailWanted(_)))
}

impl Story {
    /// Calls, until nobody watches any more.
    fn use_it(&mut self) -> &mut Self {
        for _ in 0..50 {
            self.steps(&[Client(120), Server(400)]);
        }
        self
    }

    /// Passes unseen, but for what the source tells at the end.
    fn unseen(&mut self, steps: &[Step]) -> Tail {
        const RECORD_HEADER: u32 = 5;
        let mut tail = Tail::default();
        for step in steps {
            let (direction, length) = match *step {
                Wait(ms) => {
                    self.wait(ms);
                    continue;
                }
                Client(length) => (Direction::Egress, length),
                Server(length) => (Direction::Ingress, length),
            };
            let bytes = u32::try_from(length).unwrap() + RECORD_HEADER;
            self.now += 10_000;
            let time = Timestamp(self.now);
            let (next, last) = match direction {
                Direction::Egress => (&mut self.counters.snd_nxt, &mut tail.sent),
                Direction::Ingress => (&mut self.counters.rcv_nxt, &mut tail.received),
            };
            *next = next.wrapping_add(bytes);
            *last = Some((time, *next));
            let short = length < 190;
            let record = short.then(|| u16::try_from(length).unwrap());
            tail.packets.push(TailPacket {
                time,
                direction,
                record,
            });
        }
        self.counters.copied_seq = self.counters.rcv_nxt;
        self.counters.snd_una = self.counters.snd_nxt;
        tail
    }

    /// Ends with these steps, of which the source tells what was last.
    fn ends_unseen(&mut self, steps: &[Step]) {
        let tail = self.unseen(steps);
        self.event(EventKind::Tail(tail)).closes().gets_fin().ends();
    }
}

/// What ends a connection of many calls: nobody watches its records any more, and hours have passed.
#[rstest]
#[case(&[Wait(10_000), Client(PING), Server(65), Client(ALERT)], Cause::H2GoawayTooManyPings)]
#[case(&[Wait(5000), Server(58), Client(PING), Server(41), Client(ALERT)], Cause::H2GoawayMaxAge)]
#[case(&[Wait(5000), Server(49), Client(ALERT)], Cause::H2GoawayMaxIdle)]
fn the_last_packets_say_why_a_long_connection_ended(#[case] end: &[Step], #[case] cause: Cause) {
    let mut story = ready();
    story.use_it().wait(3 * 3_600_000);
    let steps = [&[Client(120), Server(400)], &PINGS[..], end].concat();
    story.ends_unseen(&steps);
    let report = story.report();
    let verdict = &report.verdict;
    assert_eq!(
        (verdict.phase, verdict.initiator, verdict.cause),
        (Phase::H2Ready, Initiator::ServerApp, cause),
        "{report:#?}"
    );
    let mut facts = verdict.evidence.iter();
    assert!(facts.any(|fact| fact.fact.starts_with("from here on")));
}

#[test]
fn a_call_after_the_pings_is_no_goaway() {
    let mut story = ready();
    story.use_it();
    let steps = [
        &PINGS[..],
        &[Wait(100), Client(120), Server(65), Client(ALERT)],
    ]
    .concat();
    story.ends_unseen(&steps);
    assert_eq!(story.report().verdict.cause, Cause::None);
}

/// Without the last packets, as on kernels that cannot tell them.
#[test]
fn a_long_connection_whose_end_is_not_known() {
    let mut story = ready();
    story.use_it();
    let steps = [
        &PINGS[..],
        &[Wait(10_000), Client(PING), Server(65), Client(ALERT)],
    ]
    .concat();
    story.unseen(&steps);
    story.closes().gets_fin().ends();
    assert_eq!(story.report().verdict.cause, Cause::None);
}

#[test]
fn a_foreign_reset_after_the_silence_of_a_long_connection() {
    for (silence, cause) in [
        (0, Cause::ResetInjected),
        (60_000, Cause::IdleTimeoutMiddlebox),
    ] {
        let mut story = ready();
        story.use_it().wait(2 * 3_600_000);
        let tail = story.unseen(&[Client(120), Server(400), Wait(silence)]);
        story.event(EventKind::Tail(tail));
        story.reset_segment(255).gets_reset().destroyed();
        let verdict = &story.report().verdict;
        assert_eq!(verdict.cause, cause, "{verdict:#?}");
    }
}
