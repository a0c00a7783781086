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
            None => Self::Agrees(words(client, server)),
        }
    }
}

/// `ok`, or the causes at the client and at the server.
fn words(client: &Report, server: &Report) -> String {
    let [at_client, at_server] = [client, server].map(|report| {
        let verdict = &report.verdict;
        if verdict.outcome == Outcome::Failed {
            return verdict.cause.label().to_owned();
        }
        let silent = report.notices.contains(&Notice::AlpnNotNegotiated);
        if silent { "ok, no ALPN" } else { "ok" }.to_owned()
    });
    if at_client == at_server {
        at_client
    } else {
        format!("{at_client} / {at_server}")
    }
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

lets every client shake hands with every server, in agreement and not, compares what the client says with the verdicts
of tls-trace, and writes this page. A cell is the cause as tls-trace has it, at the client and, if another, at the server
([verdicts.md](verdicts.md)); `ok`: the handshake completed; `ok, no ALPN`: it did, with protocols offered and none
selected; `–`: not possible with these two, or not here. A row is a client, a column a server.

A client that cannot be told its protocols is used as it is: grpc-go and grpcio always offer h2 and nothing else, nginx
always has http/1.1, grpc-go's server always h2.
";

/// The page.
pub fn page(tables: &[Table]) -> String {
    let mut text = HEAD.to_owned();
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
