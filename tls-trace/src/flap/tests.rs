use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::{
    event::End,
    report::{Alpn, Cause, CloseKind, Confidence, Initiator, Outcome, Phase, PhasesMs, Role},
    sink::sample,
};

const MINUTE: f64 = 60.0;

/// Feeds a detector with connections as the engine would tell of them.
struct Story {
    flaps: Flaps,
    outputs: Vec<Output>,
    report: Report,
}

impl Story {
    /// Of a client whose connections a server's kernel resets.
    fn new() -> Self {
        let mut report = sample::established();
        report.role = Role::Client;
        report.tcp.opened_by = Some(End::Local);
        report.tcp.close_kind = CloseKind::Reset;
        report.verdict.outcome = Outcome::Broken;
        report.verdict.initiator = Initiator::ServerKernel;
        report.verdict.cause = Cause::ResetByPeer;
        report.verdict.confidence = Confidence::Certain;
        Self {
            flaps: Flaps::new(Config::default()),
            outputs: Vec::new(),
            report,
        }
    }

    /// A connection from one second to another, whose handshake takes no time.
    fn connection(&mut self, began: f64, ended: f64) -> &mut Self {
        self.opens(began);
        self.ends(began, ended)
    }

    fn opens(&mut self, began: f64) {
        let report = &self.report;
        let handshake = Handshake {
            began: at(began),
            local: Some(report.local),
            remote: Some(report.remote),
            pid: report.pid,
            server_name: report.sni.clone(),
            role: report.role,
            outcome: Outcome::Established,
            phase: report.verdict.phase,
            cause: Cause::None,
            initiator: Initiator::Unknown,
            version: None,
            library: None,
            alpn_offered: Vec::new(),
            phases: PhasesMs::default(),
            duration_ms: None,
        };
        self.flaps.tick(at(began), &mut self.outputs);
        self.flaps.handshake(&handshake, &mut self.outputs);
    }

    fn ends(&mut self, began: f64, ended: f64) -> &mut Self {
        self.report.ended = at(ended);
        self.report.duration_ms = (ended - began) * 1e3;
        self.flaps.tick(at(ended), &mut self.outputs);
        self.flaps.report(&self.report, &mut self.outputs);
        self
    }

    /// `count` connections one after the other, each of `life` seconds, from `start` on.
    fn in_a_row(&mut self, start: f64, count: u32, life: f64) -> f64 {
        let mut now = start;
        for _ in 0..count {
            self.connection(now, now + life);
            now += life + 0.01;
        }
        now
    }

    fn quiet_until(&mut self, second: f64) {
        self.flaps.tick(at(second), &mut self.outputs);
    }

    fn events(&self) -> Vec<FlapEvent> {
        let events = self.outputs.iter().filter_map(|output| match output {
            Output::Event(event) => Some(*event),
            Output::Flap(_) => None,
        });
        events.collect()
    }

    fn flaps(&self) -> Vec<&Flap> {
        let flaps = self.outputs.iter().filter_map(|output| match output {
            Output::Event(_) => None,
            Output::Flap(flap) => Some(&**flap),
        });
        flaps.collect()
    }

    fn changes(&self) -> Vec<Change> {
        self.flaps().iter().map(|flap| flap.flap).collect()
    }
}

fn at(seconds: f64) -> Timestamp {
    let nanos = Duration::from_secs_f64(1e6 + seconds).as_nanos();
    Timestamp(u64::try_from(nanos).unwrap())
}

#[test]
fn cut_at_the_fourth_ping_of_ten_seconds() {
    let mut story = Story::new();
    story.in_a_row(0.0, 4, 40.2);
    let flaps = story.flaps();
    let [flap] = &flaps[..] else {
        panic!("{flaps:?}");
    };
    assert_eq!(flap.flap, Change::On);
    // The third cut, as soon as the fourth connection was opened.
    assert_eq!((flap.events, flap.planned), (3, 0));
    assert_eq!(
        (flap.peer.as_str(), flap.port, flap.pid),
        ("api.local", 40000, Some(812))
    );
    assert!((flap.period_s.unwrap() - 40.2).abs() < 0.01, "{flap:?}");
    assert!((flap.life_s - 40.2).abs() < 0.01 && flap.variation.unwrap() < 0.01);
    assert!((flap.span_s - 80.42).abs() < 0.01, "{flap:?}");
    assert_eq!((flap.cause, flap.cause_share), (Cause::ResetByPeer, 1.0));
    assert_eq!(
        flap.hint.as_deref(),
        Some("a timer of 40.2 s on the server or between")
    );
    assert_eq!(flap.grpc_disconnect_error, Disconnect::ConnectionReset);
    assert_eq!(story.events().len(), 3);
}

#[rstest]
#[case::meant_so(90.0, Class::Planned, 0)]
#[case::too_short(5.0, Class::Unplanned, 1)]
fn a_limit_of_the_server_is_planned_unless_short(
    #[case] life: f64,
    #[case] class: Class,
    #[case] flaps: usize,
) {
    let mut story = Story::new();
    story.report.alpn.offered = Some(vec!["h2".to_owned()]);
    story.report.tcp.close_kind = CloseKind::Fin;
    story.report.verdict.outcome = Outcome::Established;
    story.report.verdict.initiator = Initiator::ServerApp;
    story.report.verdict.cause = Cause::H2GoawayMaxAge;
    story.in_a_row(0.0, 5, life);
    assert!(story.events().iter().all(|event| event.class == class));
    assert_eq!(story.events().len(), 4);
    assert_eq!(story.flaps().len(), flaps);
}

#[test]
fn the_report_of_a_cut_may_come_after_the_next_opening() {
    let mut story = Story::new();
    story.opens(0.0);
    for number in 0..3 {
        let began = f64::from(number) * 0.2;
        story.opens(began + 0.2);
        story.ends(began, began + 0.2);
    }
    assert_eq!(story.changes(), [Change::On]);
}

#[test]
fn a_flap_ends_when_it_was_quiet_for_twice_the_window() {
    let mut story = Story::new();
    let last = story.in_a_row(0.0, 10, 30.0);
    story.quiet_until(last + 19.0 * MINUTE);
    assert_eq!(story.changes(), [Change::On]);
    story.quiet_until(last + 20.5 * MINUTE);
    assert_eq!(story.changes(), [Change::On, Change::Off]);
    let off = story.flaps()[1];
    // Nobody replaced the last one.
    assert_eq!(off.events, 9);
    assert_eq!(story.flaps.stats().tracked, 0);
    story.quiet_until(last + 100.0 * MINUTE);
    assert_eq!(story.changes().len(), 2);
}

#[test]
fn more_of_the_same_is_not_told_again() {
    let mut story = Story::new();
    story.in_a_row(0.0, 100, 1.0);
    assert_eq!(story.changes(), [Change::On]);
    assert_eq!(story.events().len(), 99);
}

#[test]
fn few_cuts_in_a_long_time_are_none() {
    let mut story = Story::new();
    // Never three within ten minutes.
    story.in_a_row(0.0, 50, 301.0);
    assert_eq!(story.changes(), []);
    assert_eq!(story.events().len(), 49);
}

#[test]
fn long_lives_are_none() {
    let mut story = Story::new();
    story.in_a_row(0.0, 20, 601.0);
    assert_eq!(story.events(), []);
    assert_eq!(story.flaps.stats().tracked, 0);
}

#[test]
fn a_connection_that_nobody_misses_is_none() {
    let mut story = Story::new();
    for number in 0..20 {
        let began = f64::from(number) * 62.0;
        story.connection(began, began + 1.0);
    }
    assert_eq!(story.events(), []);
}

#[test]
fn another_process_is_another_story() {
    let mut story = Story::new();
    for number in 0..1000 {
        story.report.pid = Some(5000 + number);
        let began = f64::from(number) * 0.1;
        story.connection(began, began + 0.05);
    }
    assert_eq!(story.events(), []);
    story.quiet_until(200.0);
    assert_eq!(story.flaps.stats().tracked, 0, "forgotten after a minute");
}

#[test]
fn a_restart_cuts_a_pool_once() {
    let mut story = Story::new();
    for round in 0..2 {
        let round = f64::from(round) * 100.0;
        // A pool that grows until the server goes.
        for number in 0..20 {
            story.opens(round + f64::from(number) * 4.9);
        }
        for number in 0..20 {
            let began = round + f64::from(number) * 4.9;
            story.ends(began, round + 99.0 + f64::from(number) * 0.001);
        }
    }
    story.in_a_row(200.0, 1, 300.0);
    assert_eq!(story.events().len(), 2);
    assert_eq!(story.changes(), []);
}

#[test]
fn a_replacement_may_be_opened_before_the_end() {
    let mut story = Story::new();
    story.opens(0.0);
    for number in 0..4 {
        let began = f64::from(number) * 40.0;
        story.opens(began + 40.0);
        // Streams of the old one go on for three seconds.
        story.ends(began, began + 43.0);
    }
    assert_eq!(story.changes(), [Change::On]);
    assert_eq!(story.events().len(), 4);
}

#[test]
fn handshakes_that_fail_flap_too() {
    let mut story = Story::new();
    story.report.verdict.outcome = Outcome::Failed;
    story.report.verdict.phase = Phase::ServerHello;
    story.report.verdict.cause = Cause::CertificateExpired;
    story.report.verdict.initiator = Initiator::ClientApp;
    // gRPC's backoff: 1 s, 1.6 s, 2.56 s.
    for began in [0.0, 1.0, 2.6, 5.2] {
        story.connection(began, began + 0.01);
    }
    let flaps = story.flaps();
    let [flap] = &flaps[..] else {
        panic!("{flaps:?}");
    };
    assert_eq!((flap.life_s, flap.period_s), (0.0, None));
    assert!(flap.hint.as_ref().unwrap().contains("certificate"));
}

/// Ends that are the client's own wish, or nobody's fault.
#[rstest]
// curl in a loop, pools with short lives, health checks: the client closes.
#[case(Outcome::Established, Initiator::ClientApp, Cause::None, &["h2"])]
#[case(Outcome::Broken, Initiator::ClientApp, Cause::ResetUnreadData, &["h2"])]
// HTTP/1.1 answered with `Connection: close`: the server closes first.
#[case(Outcome::Established, Initiator::ServerApp, Cause::None, &["h2", "http/1.1"])]
#[case(Outcome::Established, Initiator::ServerApp, Cause::None, &["http/1.1"])]
#[case(Outcome::Established, Initiator::ServerApp, Cause::None, &[])]
#[case(Outcome::Established, Initiator::Unknown, Cause::None, &["h2"])]
// Health checks that open TCP only; connections that were not seen whole.
#[case(Outcome::Aborted, Initiator::ClientApp, Cause::None, &[])]
#[case(Outcome::Incomplete, Initiator::ServerApp, Cause::Unknown, &["h2"])]
// A client that gives up by itself.
#[case(Outcome::Failed, Initiator::ClientApp, Cause::ProcessKilled, &["h2"])]
#[case(Outcome::Failed, Initiator::ClientApp, Cause::ClosedByApp, &["h2"])]
// Not TLS.
#[case(Outcome::Failed, Initiator::ServerApp, Cause::PlainHttpToTlsPort, &[])]
fn ten_thousand_short_connections_are_no_flap(
    #[case] outcome: Outcome,
    #[case] initiator: Initiator,
    #[case] cause: Cause,
    #[case] offered: &[&str],
) {
    let mut story = Story::new();
    story.report.alpn = Alpn {
        offered: Some(offered.iter().map(ToString::to_string).collect()),
        selected: None,
    };
    let verdict = &mut story.report.verdict;
    (verdict.outcome, verdict.initiator, verdict.cause) = (outcome, initiator, cause);
    story.in_a_row(0.0, 10_000, 0.02);
    assert_eq!(story.outputs, []);
    assert_eq!(story.flaps.stats().tracked, 0);
}

#[test]
fn connections_that_never_opened_are_none() {
    let mut story = Story::new();
    let verdict = &mut story.report.verdict;
    (verdict.outcome, verdict.phase) = (Outcome::Failed, Phase::Connect);
    (verdict.initiator, verdict.cause) = (Initiator::ServerKernel, Cause::ConnectRefused);
    story.in_a_row(0.0, 100, 0.02);
    assert_eq!(story.outputs, []);
}

#[test]
fn only_grpc_minds_that_a_server_closes() {
    let mut story = Story::new();
    story.report.alpn.offered = Some(vec!["grpc-exp".to_owned(), "h2".to_owned()]);
    let verdict = &mut story.report.verdict;
    (verdict.outcome, verdict.initiator) = (Outcome::Established, Initiator::ServerApp);
    verdict.cause = Cause::None;
    story.in_a_row(0.0, 4, 5.0);
    assert_eq!(story.changes(), [Change::On]);
}

#[test]
fn one_host_tells_one_end() {
    let mut story = Story::new();
    story.report.role = Role::Server;
    story.report.peer_report = Some(crate::event::ConnectionId(9));
    story.in_a_row(0.0, 10, 5.0);
    assert_eq!(story.outputs, []);
    story.report.peer_report = None;
    story.in_a_row(100.0, 10, 5.0);
    let flap = story.flaps()[0];
    assert_eq!((flap.peer.as_str(), flap.port), ("2001:db8::2", 443));
}

#[test]
fn scanners_do_not_flap() {
    let mut story = Story::new();
    story.report.role = Role::Server;
    story.report.verdict.outcome = Outcome::Failed;
    story.report.verdict.phase = Phase::ClientHello;
    story.report.verdict.cause = Cause::ProtocolVersion;
    story.in_a_row(0.0, 100, 0.1);
    assert_eq!(story.outputs, []);
}

#[test]
fn pairs_are_bounded() {
    let mut story = Story::new();
    story.flaps = Flaps::new(Config {
        keys: 8,
        ..Config::default()
    });
    for port in 0..20 {
        story.report.remote.set_port(1000 + port);
        story.connection(0.0, 1.0);
    }
    let stats = story.flaps.stats();
    assert_eq!((stats.tracked, stats.evicted), (8, 12));
}

#[test]
fn the_record_survives_json() {
    let flap = sample::flap();
    let json = serde_json::to_string(&flap).unwrap();
    assert!(
        json.starts_with(r#"{"schema":1,"flap":"on","time":"2026"#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Flap>(&json).unwrap(), flap);
    assert!(serde_json::from_str::<Report>(&json).is_err());
}

#[test]
fn the_documented_example_is_a_flap() {
    let docs = include_str!("../../../docs/json.md");
    let example = docs.split("```json\n").nth(2).unwrap();
    let example = example.split("```").next().unwrap();
    let flap: Flap = serde_json::from_str(example).unwrap();
    let theirs: serde_json::Value = serde_json::from_str(example).unwrap();
    assert_eq!(serde_json::to_value(&flap).unwrap(), theirs);
    for field in theirs.as_object().unwrap().keys() {
        assert!(
            docs.contains(&format!("`{field}`")),
            "{field} is not described"
        );
    }
}
