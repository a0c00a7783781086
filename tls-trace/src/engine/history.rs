//! What passed on a connection, message by message, for a person who wants to see why the verdict is
//! what it is.

use crate::{
    event::{Direction, Segment, TcpFlags, Timestamp},
    report::Passed,
    wire::{
        AlertMessage, ClientHello, EncryptedRecord, Observation, ObservationKind, Plaintext,
        ServerHello, escape, names,
    },
};

/// Characters shown of bytes that are not TLS.
const SAMPLE: usize = 48;

/// The messages of one connection.
#[derive(Debug)]
pub(super) struct History {
    entries: Vec<Entry>,
    /// Entries kept from the beginning.
    most: usize,
    /// Entries after those, of which the last `most` are kept.
    left_out: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    at: Timestamp,
    direction: Direction,
    what: What,
    bytes: u64,
    count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// A ClientHello that is not complete.
    Beginning,
    Encrypted {
        content_type: u8,
    },
    Message(String),
}

impl History {
    /// An empty history that keeps so many entries from the beginning, and as many from the end.
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: Vec::new(),
            most,
            left_out: 0,
        }
    }

    /// Notes what a segment does to the connection itself.
    pub(super) fn segment(&mut self, at: Timestamp, segment: &Segment, again: bool) {
        let flags = segment.flags;
        let what = match () {
            () if flags.has(TcpFlags::RST) => "RST",
            () if flags.has(TcpFlags::SYN) && flags.has(TcpFlags::ACK) => "SYN ACK",
            () if flags.has(TcpFlags::SYN) => "SYN",
            () if flags.has(TcpFlags::FIN) => "FIN",
            () if again => "a segment out of order, or again",
            () => return,
        };
        self.push(Entry {
            at,
            direction: segment.direction,
            what: What::Message(what.to_owned()),
            bytes: segment.length.into(),
            count: 1,
        });
    }

    /// Notes a message.
    pub(super) fn observe(&mut self, observation: &Observation) {
        let direction = observation.direction;
        let (what, bytes) = describe(&observation.kind);
        if matches!(observation.kind, ObservationKind::ClientHello(_)) {
            self.entries
                .retain(|entry| entry.what != What::Beginning || entry.direction != direction);
        }
        self.push(Entry {
            at: observation.time,
            direction,
            what,
            bytes,
            count: 1,
        });
    }

    /// For the report; times count from `first`.
    pub(super) fn passed(&self, first: Timestamp) -> Vec<Passed> {
        let mut passed: Vec<_> = self
            .entries
            .iter()
            .map(|entry| entry.passed(first))
            .collect();
        if self.left_out > 0
            && let Some(after) = passed.get_mut(self.most)
        {
            after.left_out_before = self.left_out;
        }
        passed
    }

    fn push(&mut self, entry: Entry) {
        if let Some(last) = self.entries.last_mut()
            && matches!(entry.what, What::Encrypted { .. })
            && (&last.what, last.direction) == (&entry.what, entry.direction)
        {
            last.bytes += entry.bytes;
            last.count = last.count.saturating_add(1);
            return;
        }
        if self.entries.len() >= 2 * self.most.max(1) {
            self.entries.remove(self.most);
            self.left_out += 1;
        }
        self.entries.push(entry);
    }
}

impl Entry {
    fn passed(&self, first: Timestamp) -> Passed {
        Passed {
            at_ms: super::moment::ms_between(first, self.at),
            direction: self.direction,
            what: match &self.what {
                What::Beginning => "the beginning of a ClientHello".to_owned(),
                What::Encrypted { content_type } => encrypted(*content_type, self.count),
                What::Message(message) => message.clone(),
            },
            bytes: self.bytes,
            left_out_before: 0,
        }
    }
}

fn encrypted(content_type: u8, count: u32) -> String {
    let outside = match content_type {
        21 => " (alert)",
        22 => " (handshake)",
        24 => " (heartbeat)",
        _ => "",
    };
    match count {
        1 => format!("an encrypted record{outside}"),
        _ => format!("{count} encrypted records{outside}"),
    }
}

fn describe(kind: &ObservationKind) -> (What, u64) {
    let (message, bytes) = match kind {
        ObservationKind::ClientHelloStarted => return (What::Beginning, 0),
        ObservationKind::Preface(preface) => (format!("before TLS: {preface}"), 0),
        ObservationKind::Encrypted(EncryptedRecord {
            content_type,
            length,
        }) => {
            let content_type = *content_type;
            return (What::Encrypted { content_type }, u64::from(*length));
        }
        ObservationKind::ClientHello(hello) => (client_hello(hello), hello.length.into()),
        ObservationKind::ServerHello(hello) => (server_hello(hello), hello.length.into()),
        ObservationKind::Handshake(message) => {
            let name = names::handshake(message.message_type).into_owned();
            (name, message.length.into())
        }
        ObservationKind::ChangeCipherSpec => ("change_cipher_spec".to_owned(), 1),
        ObservationKind::Alert(AlertMessage { level, description }) => {
            let level = if *level == 1 { "warning" } else { "fatal" };
            (format!("alert: {level} {}", names::alert(*description)), 2)
        }
        ObservationKind::NotTls(Plaintext { sample, .. }) => {
            let shown: String = escape(sample).chars().take(SAMPLE).collect();
            (format!("not TLS: \"{shown}\""), sample.len() as u64)
        }
        ObservationKind::Malformed { rule } => (format!("not read any further: {rule}"), 0),
        ObservationKind::Lost(loss) => {
            (format!("{} bytes or more were not captured", loss.bytes), 0)
        }
    };
    (What::Message(message), bytes)
}

fn client_hello(hello: &ClientHello) -> String {
    let mut parts = vec!["client_hello".to_owned()];
    let offered = hello.supported_versions.iter().copied();
    let offered = offered.filter(|version| !crate::wire::is_grease(*version));
    let highest = offered.max().unwrap_or(hello.legacy_version);
    parts.push(format!("up to {}", names::version(highest)));
    if let Some(name) = &hello.server_name {
        parts.push(format!("server name {}", escape(name)));
    }
    if let Some(protocols) = &hello.alpn {
        let protocols: Vec<_> = protocols.iter().map(|name| escape(name)).collect();
        parts.push(format!("ALPN {}", protocols.join(" ")));
    }
    if hello.psk_identities > 0 {
        parts.push("pre-shared key".to_owned());
    }
    if hello.early_data {
        parts.push("early data".to_owned());
    }
    parts.push(format!("JA4 {}", hello.ja4()));
    parts.join(", ")
}

fn server_hello(hello: &ServerHello) -> String {
    let kind = if hello.hello_retry_request {
        "hello_retry_request"
    } else {
        "server_hello"
    };
    let mut parts = vec![kind.to_owned(), names::version(hello.version).into_owned()];
    parts.push(names::cipher_suite(hello.cipher_suite).into_owned());
    parts.extend(hello.group.map(|group| names::group(group).into_owned()));
    if let Some(protocol) = &hello.alpn {
        parts.push(format!("ALPN {}", escape(protocol)));
    }
    if hello.selected_psk.is_some() {
        parts.push("pre-shared key accepted".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::PlaintextProtocol;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp(milliseconds * 1_000_000)
    }

    fn observed(milliseconds: u64, direction: Direction, kind: ObservationKind) -> Observation {
        Observation {
            time: at(milliseconds),
            direction,
            offset: 0,
            kind,
        }
    }

    fn record(length: u16) -> ObservationKind {
        ObservationKind::Encrypted(EncryptedRecord {
            content_type: 23,
            length,
        })
    }

    fn lines(history: &History) -> Vec<String> {
        let passed = history.passed(at(10));
        let line = |p: &Passed| format!("{} {:?} {} {}", p.at_ms, p.direction, p.what, p.bytes);
        passed.iter().map(line).collect()
    }

    #[test]
    fn records_one_after_another_are_one_line() {
        let mut history = History::new(8);
        for (at, direction, length) in [
            (10, Direction::Egress, 100),
            (11, Direction::Egress, 200),
            (12, Direction::Ingress, 300),
            (13, Direction::Egress, 19),
        ] {
            history.observe(&observed(at, direction, record(length)));
        }
        let expected = [
            "0 Egress 2 encrypted records 300",
            "2 Ingress an encrypted record 300",
            "3 Egress an encrypted record 19",
        ];
        assert_eq!(lines(&history), expected);
    }

    #[test]
    fn a_complete_hello_takes_the_place_of_its_beginning() {
        let mut history = History::new(8);
        history.observe(&observed(
            10,
            Direction::Egress,
            ObservationKind::ClientHelloStarted,
        ));
        assert_eq!(
            lines(&history),
            ["0 Egress the beginning of a ClientHello 0"]
        );
        let hello = ClientHello {
            legacy_version: 0x0303,
            supported_versions: vec![0x7a7a, 0x0304, 0x0303],
            server_name: Some(Bytes::from_static(b"a\x1b.example")),
            alpn: Some(vec![
                Bytes::from_static(b"h2"),
                Bytes::from_static(b"http/1.1"),
            ]),
            early_data: true,
            length: 517,
            ..ClientHello::default()
        };
        let expected = format!(
            "2 Egress client_hello, up to TLS 1.3, server name a\\u{{1b}}.example, \
             ALPN h2 http/1.1, early data, JA4 {} 517",
            hello.ja4()
        );
        let hello = ObservationKind::ClientHello(Box::new(hello));
        history.observe(&observed(12, Direction::Egress, hello));
        assert_eq!(lines(&history), [expected]);
    }

    #[test]
    fn the_middle_of_a_long_history_is_left_out() {
        let mut history = History::new(2);
        for index in 0..10_u16 {
            let direction = match index % 2 {
                0 => Direction::Egress,
                _ => Direction::Ingress,
            };
            history.observe(&observed(10 + u64::from(index), direction, record(index)));
        }
        let passed = history.passed(at(10));
        let bytes: Vec<_> = passed.iter().map(|passed| passed.bytes).collect();
        assert_eq!(bytes, [0, 1, 8, 9]);
        let left_out: Vec<_> = passed.iter().map(|passed| passed.left_out_before).collect();
        assert_eq!(left_out, [0, 0, 6, 0]);
    }

    #[test]
    fn what_strangers_sent_is_escaped() {
        let mut history = History::new(2);
        let plaintext = Plaintext {
            protocol: PlaintextProtocol::HttpRequest,
            sample: Bytes::from_static(b"GET / HTTP/1.1\r\n\x1b[2J"),
        };
        let plaintext = ObservationKind::NotTls(plaintext);
        history.observe(&observed(10, Direction::Egress, plaintext));
        let expected = "0 Egress not TLS: \"GET / HTTP/1.1\\r\\n\\u{1b}[2J\" 20";
        assert_eq!(lines(&history), [expected]);
    }
}
