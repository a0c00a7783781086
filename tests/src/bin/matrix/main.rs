//! Every client against every server, in agreement and not: what happens, and what tls-trace says of it. Writes
//! docs/compatibility.md for `cargo xtask matrix`; fails where a program and a verdict do not agree.

mod clients;
mod compare;
mod rustls_peer;
mod scenario;
mod servers;
mod source;
mod table;

use std::{env, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use clients::Client;
use scenario::Scenario;
use servers::Server;
use table::{Cell, Table};
use tls_trace::report::Role;
use tls_trace_tests::{Tracer, free_port, program::Program};

/// Every client against every server.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask matrix")]
struct Arguments {
    /// Only clients whose name contains this
    #[arg(long, default_value = "")]
    client: String,
    /// Only servers whose name contains this
    #[arg(long, default_value = "")]
    server: String,
    /// Where the programs are that the set-up built
    #[arg(long, env = "TLS_TRACE_MATRIX_TOOLS")]
    tools: PathBuf,
    /// Write the tables there instead of to standard output
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((role, rest)) if role == "rustls-client" => rustls_peer::client(rest).map(|()| true),
        Some((role, rest)) if role == "rustls-server" => rustls_peer::server(rest).map(|()| true),
        _ => run(&Arguments::parse()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// This program, which is rustls's peer, too.
fn own_program() -> Result<Program> {
    Ok(Program::at(&env::current_exe()?))
}

/// Says whether all agree.
fn run(arguments: &Arguments) -> Result<bool> {
    let tracer = Tracer::shared()?;
    let _held = clients::hold(&arguments.tools)?;
    let mut clients = clients::all();
    clients.retain(|client| client.name.contains(&arguments.client));
    let servers: Vec<_> = servers::ALL
        .iter()
        .filter(|server| server.name.contains(&arguments.server))
        .collect();
    for client in &clients {
        until_hooked(tracer, client, arguments)?;
    }
    let mut tables = Vec::new();
    let mut agree = true;
    for scenario in &scenario::ALL {
        let mut table = Table::new(scenario, &servers);
        let mut columns = Vec::new();
        for server in &servers {
            columns.push(column(tracer, scenario, server, &clients, arguments)?);
        }
        for (row, client) in clients.iter().enumerate() {
            let cells = columns
                .iter()
                .map(|column| column[row].clone())
                .collect::<Vec<_>>();
            for (cell, server) in cells.iter().zip(&servers) {
                if let Cell::Disagrees(why) = cell {
                    agree = false;
                    println!(
                        "{}: {} to {}: {why}",
                        scenario.title, client.name, server.name
                    );
                }
            }
            table.row(client.name, cells);
        }
        tables.push(table);
    }
    let text = table::page(&tables);
    match &arguments.write {
        Some(file) => fs::write(file, text).with_context(|| file.display().to_string())?,
        None => println!("{text}"),
    }
    Ok(agree)
}

/// Shakes hands until the tracer has found a client of Go; others it has from the start, or never.
fn until_hooked(tracer: &Tracer, client: &Client, arguments: &Arguments) -> Result<()> {
    const ATTEMPTS: usize = 50;
    let go = servers::ALL.iter().find(|server| server.name == "Go");
    let (Some(server), true) = (go, client.is_go()) else {
        return Ok(());
    };
    let (scenario, port) = (&scenario::ALL[0], free_port()?);
    let Some(_running) = server.start(scenario, port, &arguments.tools)? else {
        return Ok(());
    };
    for attempt in 1..=ATTEMPTS {
        if client
            .run(scenario, server, port, &arguments.tools)?
            .is_none()
        {
            return Ok(());
        }
        let reports = tracer.reports_of(port, 2 * attempt)?;
        let mut ends = reports.iter().filter(|report| report.role == Role::Client);
        if ends.any(|report| report.library.is_some()) {
            return Ok(());
        }
    }
    bail!("{} is not hooked: {}", client.name, tracer.stderr())
}

/// One server in one scenario, and every client.
fn column(
    tracer: &Tracer,
    scenario: &Scenario,
    server: &Server,
    clients: &[Client],
    arguments: &Arguments,
) -> Result<Vec<Cell>> {
    let port = free_port()?;
    let Some(_running) = server.start(scenario, port, &arguments.tools)? else {
        return Ok(clients.iter().map(|_| Cell::Impossible).collect());
    };
    let mut seen = 0;
    let mut cells = Vec::new();
    for client in clients {
        let what = || format!("{}: {} to {}", scenario.title, client.name, server.name);
        let told = client
            .run(scenario, server, port, &arguments.tools)
            .with_context(what)?;
        let Some(told) = told else {
            cells.push(Cell::Impossible);
            continue;
        };
        let reports = tracer.reports_of(port, seen + 2)?;
        if reports.len() < seen + 2 {
            bail!("{}: {} reports", what(), reports.len() - seen);
        }
        let (client_end, server_end) = compare::ends(&reports[seen..]).with_context(what)?;
        cells.push(Cell::of(&told, client_end, server_end));
        seen = reports.len();
    }
    Ok(cells)
}
