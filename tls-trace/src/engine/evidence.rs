//! The facts a verdict rests on, as a person wants to read them at night: short, in order of time.

use std::fmt::Display;

use super::{
    close::errno,
    connection::Connection,
    handshake::Handshake,
    http2,
    library::Said,
    moment::{Moment, ms_between},
    transport::{Ending, LocalClose},
    verdict::{self, Case, Judgement},
};
use crate::{
    event::{Direction, ResetReason, TcpState, Timestamp},
    report::{Cause, Evidence, Outcome},
    wire::{Certificate, PlaintextProtocol, escape, names},
};

/// Characters shown of text that a stranger chose.
const TEXT: usize = 64;

/// What a fact is worth to a reader who sees only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// How far it came.
    Progress,
    /// How it ended.
    Ending,
    /// Why it ended.
    Proof,
}

/// Writes down the facts of a case, oldest first, and marks the first of the weightiest.
pub(super) fn collect(case: &Case, judgement: Judgement) -> Vec<Evidence> {
    let outcome = judgement.outcome;
    let mut facts = Facts {
        connection: case.connection,
        cause: judgement.cause,
        list: Vec::new(),
    };
    facts.opening();
    if let Some(tls) = case.connection.tls.as_deref() {
        facts.handshake(tls);
        facts.ends_of_handshake(tls);
        facts.library(tls);
        facts.http2_library(case);
        if outcome == Outcome::Incomplete
            && let Some(reason) = verdict::missing(case)
        {
            facts.at_end(format!("not seen whole: {reason}"));
        }
    } else if outcome == Outcome::Incomplete {
        facts.at_end("not seen whole: open before tracing began".to_owned());
    }
    if let Some(ending) = case.connection.ending.as_deref() {
        facts.ending(ending);
        facts.judged_end(case);
        facts.http2_sizes(case);
    }
    let mut list = facts.list;
    list.sort_by(|(_, a), (_, b)| a.at_ms.total_cmp(&b.at_ms));
    let heaviest = list.iter().map(|(weight, _)| *weight).max();
    let mut decisive = list.iter_mut().filter(|(weight, _)| {
        *weight != Weight::Progress && Some(*weight) == heaviest && judgement.cause != Cause::None
    });
    if let Some((_, evidence)) = decisive.next() {
        evidence.decisive = true;
    }
    list.into_iter().map(|(_, evidence)| evidence).collect()
}

struct Facts<'a> {
    connection: &'a Connection,
    cause: Cause,
    list: Vec<(Weight, Evidence)>,
}

impl Facts<'_> {
    /// Writes a fact down if it happened; most of what could have happened did not.
    fn add(&mut self, at: Moment, weight: Weight, fact: impl Display) {
        if at.happened() {
            self.push(at.ms(), weight, fact.to_string());
        }
    }

    fn add_at(&mut self, at: Timestamp, weight: Weight, fact: String) {
        self.push(ms_between(self.connection.first, at), weight, fact);
    }

    fn at_end(&mut self, fact: String) {
        self.add_at(self.connection.last, Weight::Proof, fact);
    }

    fn push(&mut self, at_ms: f64, weight: Weight, fact: String) {
        let evidence = Evidence {
            at_ms,
            fact,
            decisive: false,
        };
        self.list.push((weight, evidence));
    }

    /// Why it ended when the cause is one of `causes`, else how.
    fn weight_for(&self, causes: &[Cause]) -> Weight {
        if causes.contains(&self.cause) {
            Weight::Proof
        } else {
            Weight::Ending
        }
    }

    /// "sent" or "received" where this end is known, else by name.
    fn by(&self, direction: Direction) -> &'static str {
        match (self.connection.tcp.kernel, direction) {
            (true, Direction::Egress) => "sent",
            (true, Direction::Ingress) => "received",
            (false, _) if self.connection.client_direction() == Some(direction) => {
                "from the client"
            }
            (false, _) => "from the server",
        }
    }

    fn who(&self, direction: Direction) -> &'static str {
        if self.connection.client_direction() == Some(direction) {
            "client"
        } else {
            "server"
        }
    }

    fn opening(&mut self) {
        let tcp = &self.connection.tcp;
        if !tcp.open && tcp.syn_at.happened() {
            let times = match tcp.syn_retransmits {
                0 => "SYN sent".to_owned(),
                again => format!("SYN sent, and {again} times again"),
            };
            self.add(tcp.syn_at, Weight::Progress, times);
        }
    }

    fn handshake(&mut self, tls: &Handshake) {
        for direction in [Direction::Egress, Direction::Ingress] {
            self.plaintext(tls, direction);
        }
        let Some(client) = tls.client else {
            return;
        };
        if tls.times.started.happened() {
            self.client_hello(tls, client);
        }
        let server = self.by(client.reverse());
        self.add(
            tls.times.retry_at,
            Weight::Progress,
            format_args!(
                "HelloRetryRequest {server} (group {})",
                names::group(tls.group)
            ),
        );
        self.add(
            tls.times.server_hello_at,
            Weight::Progress,
            format_args!(
                "ServerHello {server} ({}, {})",
                names::version(tls.version),
                names::cipher_suite(tls.cipher)
            ),
        );
        if let Some(certificate) = tls
            .certificate
            .as_deref()
            .filter(|_| self.cause != Cause::None)
        {
            let fact = shown(certificate);
            self.add(tls.times.server_hello_at, Weight::Progress, fact);
        }
    }

    fn client_hello(&mut self, tls: &Handshake, client: Direction) {
        let by = self.by(client);
        let name = tls
            .hello
            .as_ref()
            .and_then(|hello| hello.server_name.as_deref());
        let sni = name.map_or(String::new(), |name| format!(", SNI {}", escaped(name)));
        let after = match tls.preface.as_slice() {
            [] => String::new(),
            [.., last] => format!(", after {last}"),
        };
        let fact = match tls.hello_length {
            0 => format!("ClientHello begun, not complete{after}, {by}"),
            length => format!("ClientHello ({length} bytes{sni}{after}) {by}"),
        };
        self.add(tls.times.started, Weight::Progress, fact);
        let again = self.connection.hello_retransmits();
        if again > 0 {
            let times = if again == 1 {
                "once".to_owned()
            } else {
                format!("{again} times")
            };
            let weight = match self.cause {
                Cause::ClientHelloLost => Weight::Proof,
                _ => Weight::Progress,
            };
            self.add(
                tls.times.started,
                weight,
                format_args!("ClientHello sent again {times}"),
            );
        }
    }

    fn plaintext(&mut self, tls: &Handshake, direction: Direction) {
        let Some(plaintext) = tls.plaintext(direction) else {
            return;
        };
        let first_line = plaintext
            .sample
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next();
        let who = self.who(direction);
        let fact = match plaintext.protocol {
            PlaintextProtocol::Ssl2 => format!("{who} sent an SSL 2.0 ClientHello"),
            _ => format!(
                "{who} spoke in the clear: {}",
                escape(first_line.unwrap_or_default())
            ),
        };
        self.add(tls.times.plain_at, Weight::Proof, fact);
        if tls.told_to_use_tls && self.connection.client_direction() != Some(direction) {
            self.add(
                tls.times.plain_at,
                Weight::Ending,
                "the server says that this port wants TLS",
            );
        }
    }

    fn ends_of_handshake(&mut self, tls: &Handshake) {
        for seen in &tls.alerts {
            let (level, weight) = if seen.level == 2 {
                ("fatal", Weight::Proof)
            } else {
                ("warning", Weight::Progress)
            };
            let fact = format!(
                "{level} alert {} {} from the {}",
                seen.description,
                names::alert(seen.description),
                self.who(seen.direction)
            );
            self.add(seen.at, weight, fact);
        }
        let flight = if tls.flight.empty_certificate {
            "client's Finished, after a Certificate without certificates"
        } else {
            "client's Finished"
        };
        self.add(tls.times.finished_at, Weight::Progress, flight);
        if let Some(early) = tls.early_alert {
            let who = if early.from_client {
                "client"
            } else {
                "server"
            };
            let length = early.length;
            // Whoever can read it says more than its size.
            let said = tls.library.as_deref();
            let weight = match said.and_then(Said::explanation) {
                Some(_) => Weight::Ending,
                None => Weight::Proof,
            };
            self.add(
                early.at,
                weight,
                format_args!("encrypted record of {length} bytes from the {who}: an alert's size"),
            );
        }
        let proof = if tls.is_tls13() {
            "server answered the client's Finished"
        } else {
            "both Finished seen"
        };
        self.add(tls.times.established_at, Weight::Progress, proof);
    }

    fn library(&mut self, tls: &Handshake) {
        let Some(said) = tls.library.as_deref() else {
            return;
        };
        if let Some((at, fact)) = said.failure_fact() {
            let weight = match said.explanation() {
                Some(_) => Weight::Proof,
                None => Weight::Ending,
            };
            self.add(at, weight, fact);
        }
    }

    fn http2_library(&mut self, case: &Case) {
        let Some(said) = case.connection.http2_said() else {
            return;
        };
        for (at, fact) in said.progress() {
            self.add(at, Weight::Progress, fact);
        }
        let weight = match http2::told(case) {
            Some((_, _, why)) => self.weight_for(&[why]),
            None => Weight::Ending,
        };
        for (at, fact) in said.ends() {
            self.add(at, weight, fact);
        }
    }

    fn ending(&mut self, ending: &Ending) {
        let by_app = self.weight_for(&[Cause::ProcessKilled, Cause::ClosedByApp]);
        let reset = self.weight_for(&[
            Cause::ResetByPeer,
            Cause::ResetInjected,
            Cause::IdleTimeoutMiddlebox,
            Cause::ResetLinger,
            Cause::ResetUnreadData,
        ]);
        if let Some(close) = &ending.local_fin {
            self.add_at(close.at, by_app, format!("FIN sent{}", closer(close)));
        }
        if let Some(at) = ending.remote_fin {
            let weight = self.weight_for(&[Cause::ClosedByPeer]);
            self.add_at(at, weight, "peer sent FIN".to_owned());
        }
        if let Some(at) = ending.reset_received {
            let before = self.connection.tcp.peer_ttl;
            let ttl = match ending.reset_ttl {
                Some(ttl) if before != 0 && ttl != before => {
                    format!(", TTL {ttl} against {before} before")
                }
                _ => String::new(),
            };
            self.add_at(at, reset, format!("peer sent RST{ttl}"));
        }
        if let Some((at, reason)) = ending.reset_sent {
            let unread = ending
                .closed
                .as_ref()
                .map_or(0, |close| close.unread(ending.remote_fin.is_some()));
            let mut fact = "RST sent".to_owned();
            if let Some(reason) = reason {
                fact = format!("{fact}, reason {} {}", reason.0, reset_reason(reason));
            }
            if unread > 0 {
                fact = format!("{fact}, {unread} bytes unread");
            }
            fact += &ending.closed.as_ref().map_or(String::new(), closer);
            self.add_at(at, reset.max(by_app), fact);
        }
        if let Some((at, code)) = ending.error {
            let weight = self.weight_for(&[
                Cause::ConnectTimeout,
                Cause::KeepaliveTimeout,
                Cause::RetransmitTimeout,
                Cause::Unreachable,
            ]);
            let fact = format!("socket error {code} {}", error_name(code));
            self.add_at(at, weight, fact);
        }
        if let Some(close) = ending
            .closed
            .as_ref()
            .filter(|c| c.from == TcpState::SYN_SENT)
        {
            if ending.error.is_none() && ending.reset_received.is_none() {
                self.add_at(
                    close.at,
                    Weight::Ending,
                    format!("closed before TCP was open{}", closer(close)),
                );
            }
        }
    }

    /// What the sizes of records show.
    fn http2_sizes(&mut self, case: &Case) {
        let weight = match http2::told(case) {
            None => Weight::Proof,
            // The library does not say for how long nobody had said anything.
            Some((_, _, Cause::H2GoawayGraceful)) => Weight::Progress,
            Some(_) => return,
        };
        if let Some(found) = http2::find(case).filter(|found| found.cause == self.cause) {
            self.add_at(found.at, weight, found.fact);
            let http2 = self.connection.http2.as_deref();
            if let Some(at) = http2.and_then(|http2| http2.tail_from) {
                let fact = "from here on known by sizes and times of packets alone";
                self.add_at(at, Weight::Progress, fact.to_owned());
            }
        }
    }

    /// What only the whole picture shows.
    fn judged_end(&mut self, case: &Case) {
        let Some(at) = case.close.at else {
            return;
        };
        self.silence_before_end(at);
        if case.close.cause == Cause::ResetInjected && case.peer.known {
            self.add_at(
                at,
                Weight::Ending,
                "the peer's socket is on this host and sent no RST".to_owned(),
            );
        }
        if self.cause == Cause::ListenOverflow {
            let fact = "the server's accept queue was full: its kernel dropped what would have opened \
                        the connection";
            self.add_at(at, Weight::Proof, fact.to_owned());
        }
        let tls = self.connection.tls.as_deref();
        if tls.is_none_or(|tls| !tls.times.finished_at.happened()) && self.connection.tcp.open {
            let silence = self.connection.silence_ms(at);
            if silence >= 500.0 {
                let weight = match self.cause {
                    Cause::ClientSilent | Cause::ServerSilent | Cause::HandshakeStalled => {
                        Weight::Proof
                    }
                    _ => Weight::Progress,
                };
                let fact = format!("nothing new was said for {silence:.0} ms");
                self.add_at(at, weight, fact);
            }
        }
    }

    /// For how long an end without a word came after silence, which is what tells one timer from another.
    fn silence_before_end(&mut self, at: Timestamp) {
        const WORTH_TELLING_S: f64 = 0.5;
        let cut = matches!(
            self.cause,
            Cause::None
                | Cause::ClosedByPeer
                | Cause::ClosedByApp
                | Cause::ResetByPeer
                | Cause::ResetLinger
        );
        let silence = self.connection.idle_ms(at) / 1e3;
        let idle = self.cause == Cause::IdleTimeoutMiddlebox;
        let shown = cut && self.connection.shows_http2() && silence >= WORTH_TELLING_S;
        if idle || shown {
            let fact = format!("nobody had said anything for {silence:.1} s");
            self.add_at(at, Weight::Progress, fact);
        }
    }
}

/// What the client was shown, and whether it fits the name it asked for.
fn shown(certificate: &Certificate) -> String {
    let names = certificate.names.join(" ");
    let subject = &certificate.subject;
    match certificate.name_matches {
        Some(false) => format!("certificate of {subject} for {names}, not for the server name"),
        _ => format!("certificate of {subject} for {names}"),
    }
}

/// " by curl (pid 4711)", " as signal 9 ended curl (pid 4711)".
fn closer(close: &LocalClose) -> String {
    let comm = escaped(&close.comm);
    match (close.pid, close.signal) {
        (0, _) => String::new(),
        (pid, Some(signal)) => format!(", as signal {signal} ended {comm} (pid {pid})"),
        (pid, None) => format!(" by {comm} (pid {pid})"),
    }
}

/// Text from strangers: nothing unprintable, not too much.
fn escaped(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => escape(&text.as_bytes()[..end]) + "…",
        None => escape(text.as_bytes()),
    }
}

/// Names of include/net/rstreason.h.
fn reset_reason(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::NO_SOCKET => "no socket",
        ResetReason::TCP_TIMEWAIT => "time-wait",
        ResetReason::TCP_ABORT_ON_CLOSE => "close with unread data",
        ResetReason::TCP_ABORT_ON_LINGER => "close with SO_LINGER 0",
        ResetReason::TCP_ABORT_ON_MEMORY => "out of memory",
        ResetReason::TCP_STATE => "disconnect in this state",
        ResetReason::TCP_KEEPALIVE_TIMEOUT => "keepalive timeout",
        ResetReason::TCP_DISCONNECT_WITH_DATA => "disconnect with data",
        _ => "unspecified",
    }
}

fn error_name(code: u32) -> &'static str {
    match code {
        errno::EPIPE => "EPIPE",
        errno::ECONNABORTED => "ECONNABORTED",
        errno::ECONNRESET => "ECONNRESET",
        errno::ETIMEDOUT => "ETIMEDOUT",
        errno::ECONNREFUSED => "ECONNREFUSED",
        13 => "EACCES",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        _ => "",
    }
}
