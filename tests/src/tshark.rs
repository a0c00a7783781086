//! What tshark reads in a capture: handshakes, field by field.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use tls_trace::{
    event::Direction,
    report::{Notice, Report},
    wire::names,
};

use crate::program::Program;

/// Random of a HelloRetryRequest (RFC 8446 §4.1.3).
const HELLO_RETRY_REQUEST: &str =
    "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";
/// `pre_shared_key` (RFC 8446 §4.2).
const PRE_SHARED_KEY: u16 = 41;

const FIELDS: [&str; 21] = [
    "tcp.stream",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tls.handshake.type",
    "tls.handshake.random",
    "tls.handshake.version",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.ciphersuite",
    "tls.handshake.extensions_key_share_group",
    "tls.handshake.server_named_curve",
    "tls.handshake.extensions_server_name",
    "tls.handshake.extensions_alpn_str",
    "tls.handshake.session_id",
    "tls.handshake.extension.type",
    "tls.alert_message.level",
    "tls.alert_message.desc",
    "tls.record.content_type",
];

/// What can be compared of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Name of the version that the server selected.
    pub version: Option<String>,
    /// Name of the cipher suite.
    pub cipher: Option<String>,
    /// Name of the group of the key exchange.
    pub group: Option<String>,
    /// Server name that the client asked for.
    pub sni: Option<String>,
    /// Application protocols offered.
    pub offered: Vec<String>,
    /// The one selected, where that is in the clear.
    pub selected: Option<String>,
    /// Whether the server took a session up again.
    pub resumed: Option<bool>,
    /// Whether it asked for another ClientHello.
    pub hello_retry_request: bool,
    /// Level and description of alerts in the clear.
    pub alerts: Vec<(u8, u8)>,
}

impl From<&Report> for Fields {
    fn from(report: &Report) -> Self {
        Self {
            version: report.version.clone(),
            cipher: report.cipher.clone(),
            group: report.group.clone(),
            sni: report.sni.clone(),
            offered: report.alpn.offered.clone().unwrap_or_default(),
            selected: report.alpn.selected.clone(),
            resumed: report.resumed,
            hello_retry_request: report.notices.contains(&Notice::HelloRetryRequest),
            alerts: in_order(&report.alerts),
        }
    }
}

fn in_order(alerts: &[tls_trace::report::Alert]) -> Vec<(u8, u8)> {
    let of = |direction: Direction| {
        alerts
            .iter()
            .filter(move |alert| alert.direction == direction)
            .map(|alert| (alert.level, alert.code))
    };
    of(Direction::Egress)
        .chain(of(Direction::Ingress))
        .collect()
}

/// Addresses of client and server, and how many connections had the same before: a client's port is taken again.
pub type Ends = (SocketAddr, SocketAddr, usize);

/// By their ends, connections in the order of time.
pub fn by_ends<T>(
    connections: impl IntoIterator<Item = (SocketAddr, SocketAddr, T)>,
) -> BTreeMap<Ends, T> {
    let mut found = BTreeMap::new();
    let mut before: BTreeMap<_, usize> = BTreeMap::new();
    for (client, server, connection) in connections {
        let number = before.entry((client, server)).or_default();
        found.insert((client, server, *number), connection);
        *number += 1;
    }
    found
}

/// Handshakes with servers at these ports.
///
/// # Errors
/// tshark fails, or prints what it does not say it prints.
pub fn read(capture: &Path, ports: &[u16]) -> Result<BTreeMap<Ends, Fields>> {
    let mut program = Program::new("tshark").args("-n -T fields -E occurrence=a -E aggregator=,");
    for port in ports {
        program = program.args(&format!("-d tcp.port=={port},tls"));
    }
    program = program.args("-Y").arg("tcp").arg("-r").arg(capture);
    for field in FIELDS {
        program = program.arg("-e").arg(field);
    }
    // By the number of the stream: in the order of time.
    let mut connections: BTreeMap<u32, (SocketAddr, SocketAddr, Connection)> = BTreeMap::new();
    for line in program.run()?.success()?.output.lines() {
        // As root it says on standard error that it should not be.
        let Some(packet) = Packet::parse(line) else {
            continue;
        };
        let source = packet.address(["ip.src", "ipv6.src"], "tcp.srcport")?;
        let destination = packet.address(["ip.dst", "ipv6.dst"], "tcp.dstport")?;
        let of_client = ports.contains(&destination.port());
        let (client, server) = if of_client {
            (source, destination)
        } else {
            (destination, source)
        };
        let stream = packet.number("tcp.stream").context("no stream")?;
        let (.., connection) = connections
            .entry(stream)
            .or_insert_with(|| (client, server, Connection::default()));
        if of_client {
            connection.client(&packet);
        } else {
            connection.server(&packet)?;
        }
    }
    let mut connections = by_ends(connections.into_values());
    connections.retain(|_, connection| connection.begun);
    Ok(connections
        .into_iter()
        .map(|(ends, connection)| (ends, connection.fields()))
        .collect())
}

/// A line of tshark's.
struct Packet<'a>(Vec<&'a str>);

impl<'a> Packet<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let values: Vec<_> = line.split('\t').collect();
        (values.len() == FIELDS.len()).then_some(Self(values))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let at = FIELDS.iter().position(|field| *field == name);
        let values = at.map_or("", |at| self.0[at]);
        values.split(',').filter(|value| !value.is_empty())
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    fn numbers<T: TryFrom<u32>>(&self, name: &str) -> impl Iterator<Item = T> {
        self.values(name).filter_map(|value| {
            let number = match value.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => value.parse(),
            };
            T::try_from(number.ok()?).ok()
        })
    }

    fn number<T: TryFrom<u32>>(&self, name: &str) -> Option<T> {
        self.numbers(name).next()
    }

    fn address(&self, addresses: [&str; 2], port: &str) -> Result<SocketAddr> {
        let address = addresses.iter().find_map(|field| self.first(field));
        let address: IpAddr = address.context("no address")?.parse()?;
        Ok(SocketAddr::new(
            address,
            self.number(port).context("no port")?,
        ))
    }

    fn has_message(&self, number: u8) -> bool {
        self.numbers("tls.handshake.type")
            .any(|seen: u8| seen == number)
    }

    fn alerts(&self) -> impl Iterator<Item = (u8, u8)> {
        let levels = self.numbers("tls.alert_message.level");
        levels.zip(self.numbers("tls.alert_message.desc"))
    }
}

#[derive(Default)]
struct Connection {
    fields: Fields,
    /// The client's, of its first ClientHello.
    session: Option<String>,
    hellos: u32,
    /// A ClientHello or a ServerHello was there.
    begun: bool,
    of_client: Vec<(u8, u8)>,
    of_server: Vec<(u8, u8)>,
}

impl Connection {
    fn client(&mut self, packet: &Packet) {
        self.of_client.extend(packet.alerts());
        if !packet.has_message(1) {
            return;
        }
        self.begun = true;
        self.hellos += 1;
        if self.hellos == 1 {
            self.fields.sni = packet
                .first("tls.handshake.extensions_server_name")
                .map(str::to_owned);
            self.fields.offered = packet
                .values("tls.handshake.extensions_alpn_str")
                .map(str::to_owned)
                .collect();
            self.session = packet.first("tls.handshake.session_id").map(str::to_owned);
        }
    }

    fn server(&mut self, packet: &Packet) -> Result<()> {
        self.of_server.extend(packet.alerts());
        let fields = &mut self.fields;
        if let Some(group) = packet.number("tls.handshake.server_named_curve") {
            fields.group = Some(names::group(group).into_owned());
        }
        if !packet.has_message(2) {
            return Ok(());
        }
        self.begun = true;
        let retry = packet.first("tls.handshake.random") == Some(HELLO_RETRY_REQUEST);
        fields.hello_retry_request |= retry;
        let supported = packet.number("tls.handshake.extensions.supported_version");
        let Some(legacy) = packet.number("tls.handshake.version") else {
            bail!("a ServerHello without version: {:?}", packet.0);
        };
        fields.version = Some(names::version(supported.unwrap_or(legacy)).into_owned());
        let cipher = packet
            .number("tls.handshake.ciphersuite")
            .context("no cipher suite")?;
        fields.cipher = Some(names::cipher_suite(cipher).into_owned());
        if retry {
            return Ok(());
        }
        if let Some(group) = packet.number("tls.handshake.extensions_key_share_group") {
            fields.group = Some(names::group(group).into_owned());
        }
        fields.resumed = Some(if supported.is_some() {
            packet
                .numbers("tls.handshake.extension.type")
                .any(|extension: u16| extension == PRE_SHARED_KEY)
        } else {
            let session = packet.first("tls.handshake.session_id");
            session.is_some() && session == self.session.as_deref()
        });
        let selected = packet.first("tls.handshake.extensions_alpn_str");
        fields.selected = selected.map(str::to_owned);
        Ok(())
    }

    fn fields(mut self) -> Fields {
        self.fields.alerts = self.of_client;
        self.fields.alerts.extend(self.of_server);
        self.fields
    }
}
