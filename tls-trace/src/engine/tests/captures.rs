//! Without the kernel's events: segments alone, as a capture has them.

use std::net::SocketAddr;

use super::bytes::*;
use crate::{
    engine::{Config, Engine, Output},
    event::{ConnectionId, Direction, End, Event, EventKind, Segment, Task, TcpFlags, Timestamp},
    report::{Cause, CloseKind, Confidence, Initiator, Outcome, Phase, Report, Role},
};

const ACK: u8 = TcpFlags::ACK;

/// A capture of one connection.
struct Capture {
    engine: Engine,
    outputs: Vec<Output>,
    now: u64,
    next: [u32; 2],
    ttl: [u8; 2],
}

impl Capture {
    fn new() -> Self {
        Self {
            engine: Engine::new(Config::default()),
            outputs: Vec::new(),
            now: 0,
            next: [100, u32::MAX - 50],
            ttl: [64, 57],
        }
    }

    fn open() -> Self {
        Self::new().opened()
    }

    fn opened(mut self) -> Self {
        let capture = &mut self;
        capture
            .syn()
            .segment(Direction::Ingress, TcpFlags::SYN | ACK, b"");
        capture.segment(Direction::Egress, ACK, b"");
        self
    }

    fn event(&mut self, kind: EventKind) -> &mut Self {
        self.now += 1_000_000;
        let event = Event {
            time: Timestamp(self.now),
            connection: ConnectionId(1),
            kind,
        };
        self.engine.event(&event, &mut self.outputs);
        self
    }

    fn syn(&mut self) -> &mut Self {
        self.next[0] = 100;
        self.segment(Direction::Egress, TcpFlags::SYN, b"")
    }

    fn segment(&mut self, direction: Direction, flags: u8, payload: &[u8]) -> &mut Self {
        let local: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let remote: SocketAddr = "192.0.2.2:443".parse().unwrap();
        let side = direction as usize;
        let length = u32::try_from(payload.len()).unwrap();
        let (seq, ack, ttl) = (self.next[side], self.next[1 - side], self.ttl[side]);
        let counted = length + u32::from(flags & (TcpFlags::SYN | TcpFlags::FIN) != 0);
        self.next[side] = seq.wrapping_add(counted);
        self.event(EventKind::Segment(Segment {
            direction,
            local,
            remote,
            seq,
            ack,
            flags: TcpFlags(flags),
            ttl,
            length,
            payload: payload.to_vec().into(),
            task: Task::default(),
            last: false,
            listener: false,
        }))
    }

    fn client(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.segment(Direction::Egress, ACK, payload.as_ref())
    }

    fn server(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.segment(Direction::Ingress, ACK, payload.as_ref())
    }

    fn report(&mut self) -> &Report {
        self.event(EventKind::Ended);
        let report = |output: &Output| matches!(output, Output::Report(_));
        assert_eq!(
            self.outputs.iter().filter(|output| report(output)).count(),
            1
        );
        self.outputs
            .iter()
            .find_map(|output| match output {
                Output::Report(report) => Some(&**report),
                _ => None,
            })
            .unwrap()
    }

    fn verdict(&mut self) -> (Outcome, Phase, Initiator, Cause) {
        let verdict = &self.report().verdict;
        (
            verdict.outcome,
            verdict.phase,
            verdict.initiator,
            verdict.cause,
        )
    }
}

fn hello() -> Vec<u8> {
    client_hello(Offer::default())
}

#[test]
fn established() {
    let mut capture = Capture::open();
    capture
        .client(hello())
        .server(flight_13())
        .client(data(FINISHED));
    capture
        .server(data(200))
        .client(data(50))
        .server(data(60))
        .client(data(ALERT));
    capture.segment(Direction::Egress, TcpFlags::FIN | ACK, b"");
    capture.segment(Direction::Ingress, TcpFlags::FIN | ACK, b"");
    let report = capture.report();
    assert_eq!(report.role, Role::Observer);
    assert_eq!(report.tcp.opened_by, Some(End::Local));
    assert_eq!(report.tcp.close_kind, CloseKind::Fin);
    assert_eq!(report.verdict.outcome, Outcome::Established);
    assert_eq!(report.verdict.initiator, Initiator::ClientApp);
    assert_eq!(report.notices, []);
}

#[test]
fn refused_by_an_alert() {
    let mut capture = Capture::open();
    capture.client(hello()).server(alert(2, 40));
    let expected = (
        Outcome::Failed,
        Phase::ClientHello,
        Initiator::ServerApp,
        Cause::HandshakeFailure,
    );
    assert_eq!(capture.verdict(), expected);
}

/// Who wants failures only gets them whole, and of the others the verdict.
#[test]
fn failures_only() {
    let told = |failures_only: bool, established: bool| {
        let mut capture = Capture::new();
        if failures_only {
            capture.engine = Engine::new(Config::default()).failures_only();
        }
        let mut capture = capture.opened();
        capture.client(hello());
        if established {
            capture.server(flight_13()).client(data(FINISHED));
            capture.server(data(200)).client(data(50)).server(data(60));
        } else {
            capture.server(alert(2, 40));
        }
        let report = capture.report().clone();
        (report, capture.outputs)
    };
    assert_eq!(told(true, false).0, told(false, false).0);
    let (report, outputs) = told(true, true);
    let (mut whole, _) = told(false, true);
    assert!(!whole.verdict.evidence.is_empty());
    whole.verdict.evidence.clear();
    whole.notices.clear();
    assert_eq!(report, whole);
    let handshakes = outputs
        .iter()
        .filter(|output| matches!(output, Output::Handshake(_)));
    assert_eq!(handshakes.count(), 0);
}

#[test]
fn reset() {
    let mut capture = Capture::open();
    capture
        .client(hello())
        .segment(Direction::Ingress, TcpFlags::RST, b"");
    let expected = (
        Outcome::Failed,
        Phase::ClientHello,
        Initiator::ServerApp,
        Cause::ResetByPeer,
    );
    assert_eq!(capture.verdict(), expected);
}

#[test]
fn reset_in_the_servers_name() {
    let mut capture = Capture::open();
    capture.client(hello()).ttl[1] = 240;
    capture.segment(Direction::Ingress, TcpFlags::RST, b"");
    let report = capture.report();
    assert_eq!(report.verdict.cause, Cause::ResetInjected);
    assert_eq!(report.verdict.initiator, Initiator::Network);
    assert_eq!(report.verdict.confidence, Confidence::Likely);
}

#[test]
fn client_hello_lost() {
    let mut capture = Capture::open();
    let hello = hello();
    for _ in 0..3 {
        capture.client(&hello).next[0] -= u32::try_from(hello.len()).unwrap();
    }
    capture.next[0] += u32::try_from(hello.len()).unwrap();
    capture.segment(Direction::Egress, TcpFlags::FIN | ACK, b"");
    let report = capture.report();
    assert_eq!(report.verdict.cause, Cause::ClientHelloLost);
    assert_eq!(report.verdict.initiator, Initiator::ClientApp);
    assert_eq!(report.tcp.client_hello_retransmits, 2);
}

#[test]
fn connect_refused() {
    let mut capture = Capture::new();
    capture
        .syn()
        .segment(Direction::Ingress, TcpFlags::RST | ACK, b"");
    let expected = (
        Outcome::Failed,
        Phase::Connect,
        Initiator::ServerKernel,
        Cause::ConnectRefused,
    );
    assert_eq!(capture.verdict(), expected);
}

#[test]
fn connect_timeout() {
    let mut capture = Capture::new();
    capture.syn().syn().syn();
    let expected = (
        Outcome::Failed,
        Phase::Connect,
        Initiator::Unknown,
        Cause::ConnectTimeout,
    );
    assert_eq!(capture.verdict(), expected);
}

#[test]
fn a_capture_that_ends_in_the_middle_guesses_nothing() {
    let mut capture = Capture::open();
    capture.client(hello());
    assert_eq!(capture.report().verdict.outcome, Outcome::Incomplete);
}

#[test]
fn a_capture_that_begins_in_the_middle_guesses_nothing() {
    let mut capture = Capture::new();
    capture.client(data(90)).server(data(500));
    capture.segment(Direction::Ingress, TcpFlags::RST, b"");
    assert_eq!(capture.report().verdict.outcome, Outcome::Incomplete);
}
