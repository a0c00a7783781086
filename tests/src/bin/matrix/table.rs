//! docs/compatibility.md.

use std::fmt::Write as _;

use tls_trace::report::{Notice, Outcome, Report};

use crate::{clients::Told, compare, scenario::Scenario, servers::Server};

/// One client and one server.
#[derive(Clone, Debug)]
pub enum Cell {
    /// One of them is not here, or cannot do that.
    Impossible,
    /// What happened, in the words of the reports.
    Agrees(String),
    /// The program says otherwise.
    Disagrees(String),
}

impl Cell {
    pub fn of(told: &Told, client: &Report, server: &Report) -> Self {
        match compare::disagreement(told, client, server) {
            Some(why) => Self::Disagrees(why),
            None => Self::Agrees(words(told, client, server)),
        }
    }
}

/// `ok`, or the causes at the client and at the server.
fn words(told: &Told, client: &Report, server: &Report) -> String {
    let ends = [client, server];
    let silent = ends.map(|report| report.notices.contains(&Notice::AlpnNotNegotiated));
    let [at_client, at_server] = ends.map(|report| match report.verdict.outcome {
        Outcome::Failed => report.verdict.cause.label().to_owned(),
        _ if silent.contains(&true) => "ok, no ALPN".to_owned(),
        _ => "ok".to_owned(),
    });
    let mut words = if at_client == at_server {
        at_client
    } else {
        format!("{at_client} / {at_server}")
    };
    if !told.good && client.verdict.outcome != Outcome::Failed {
        words += "; server leaves";
    }
    words
}

/// One scenario.
#[derive(Debug)]
pub struct Table {
    title: &'static str,
    servers: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<Cell>)>,
}

impl Table {
    pub fn new(scenario: &Scenario, servers: &[&Server]) -> Self {
        Self {
            title: scenario.title,
            servers: servers.iter().map(|server| server.name).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, client: &'static str, cells: Vec<Cell>) {
        self.rows.push((client, cells));
    }
}

const HEAD: &str = "# Who understands whom

    cargo xtask matrix

lets every client shake hands with every server, in agreement and not, compares what both programs say of it (the
server in its log) with the verdicts of tls-trace, and writes this page. A row is a client, a column a server. A cell is
the cause as tls-trace has it, at the client and, if another, at the server ([verdicts.md](verdicts.md)).

- `ok`: the handshake completed, and the server answered
- `ok, no ALPN`: it did, with protocols offered and none selected, as the library of one end says
- `server leaves`: it did, and the server closed instead of answering
- `–`: not possible with these two, or not here
- `**?**`: a program says otherwise than tls-trace

What is behind some of them:

- A client that cannot be told its protocols is used as it is: grpc-go and grpcio always offer h2 and nothing else,
  nginx always has http/1.1, grpc-go's server always h2.
- Without a protocol in common, haproxy and Envoy go on without any, the others refuse with alert 120. So does Go, but
  not a client that only speaks http/1.1 where the server only has h2. That is why grpc-go, since 1.67, looks again after
  the handshake, on either end, and leaves.
- nginx lets the handshake complete without the client's certificate, and answers 400.
- TLS 1.3 hides alerts. They are known where the library of one end can be asked, which Java's and rustls cannot:
  `encrypted_alert` is a record of an alert's size. OpenSSL's clients refuse a certificate in the clear; the logs of
  Envoy and Go have that as a record that cannot be decrypted.
- What a client objects to is more than it sends: Go and GnuTLS send `bad_certificate`, Java `certificate_unknown`.
  grpcio and Node send nothing and leave, and Node's library does not even know, as Node looks after the handshake.

Programs:

";

/// The page.
pub fn page(tables: &[Table], versions: &[String]) -> String {
    let mut text = HEAD.to_owned();
    for version in versions {
        let _ = writeln!(text, "- {version}");
    }
    for table in tables {
        let _ = writeln!(text, "\n## {}\n", table.title);
        let _ = writeln!(text, "| | {} |", table.servers.join(" | "));
        let _ = writeln!(text, "| --- |{}", " --- |".repeat(table.servers.len()));
        for (client, cells) in &table.rows {
            let cells: Vec<_> = cells.iter().map(show).collect();
            let _ = writeln!(text, "| {client} | {} |", cells.join(" | "));
        }
    }
    text
}

fn show(cell: &Cell) -> &str {
    match cell {
        Cell::Impossible => "–",
        Cell::Agrees(words) => words,
        Cell::Disagrees(_) => "**?**",
    }
}
