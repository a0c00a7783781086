//! Every client against every server, in agreement and not: what happens, and what tls-trace says of it. Writes
//! docs/compatibility.md for `cargo xtask matrix`; fails where a program and a verdict do not agree.

mod clients;
mod compare;
mod rustls_peer;
mod scenario;
mod servers;
mod source;
mod table;
mod versions;

use std::{
    env, fs,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use clients::Client;
use scenario::Scenario;
use servers::Server;
use table::{Cell, Table};
use tls_trace::report::Role;
use tls_trace_tests::{
    Tracer, free_port,
    program::{Program, Running},
};

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
        let go = servers::ALL.iter().find(|server| server.name == "Go");
        if let (Some(server), true) = (go, client.is_hooked_late()) {
            until_hooked(tracer, Role::Client, client, server, arguments)?;
        }
    }
    let all = clients::all();
    let python = all.iter().find(|client| client.name == "Python");
    let python = python.context("no Python among the clients")?;
    let mut running = Vec::new();
    for server in servers.iter().filter(|server| server.is_hooked_late()) {
        running.extend(until_hooked(
            tracer,
            Role::Server,
            python,
            server,
            arguments,
        )?);
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
    let text = table::page(&tables, &versions::all(&arguments.tools));
    match &arguments.write {
        Some(file) => fs::write(file, text).with_context(|| file.display().to_string())?,
        None => println!("{text}"),
    }
    Ok(agree)
}

/// Shakes hands until the tracer has found the library of one end. The server, which stays hooked as long as it
/// runs; nothing if one of them is not here.
fn until_hooked(
    tracer: &Tracer,
    role: Role,
    client: &Client,
    server: &Server,
    arguments: &Arguments,
) -> Result<Option<Running>> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let (scenario, port) = (&scenario::ALL[0], free_port()?);
    let Some(running) = server.start(scenario, port, &arguments.tools)? else {
        return Ok(None);
    };
    let deadline = Instant::now() + PATIENCE;
    let mut seen = 0;
    while Instant::now() < deadline {
        if client
            .run(scenario, server, port, &arguments.tools)?
            .is_none()
        {
            return Ok(None);
        }
        seen += 2;
        let reports = tracer.reports_of(port, seen)?;
        let mut ends = reports.iter().filter(|report| report.role == role);
        if ends.any(|report| report.library.is_some()) {
            return Ok(Some(running));
        }
    }
    bail!(
        "{} of {} to {} is not hooked: {}",
        role,
        client.name,
        server.name,
        tracer.stderr()
    )
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
    let Some(running) = server.start(scenario, port, &arguments.tools)? else {
        return Ok(clients.iter().map(|_| Cell::Impossible).collect());
    };
    let mut seen = 0;
    let mut cells = Vec::new();
    for client in clients {
        let what = || format!("{}: {} to {}", scenario.title, client.name, server.name);
        let before = running.output().len();
        let told = client
            .run(scenario, server, port, &arguments.tools)
            .with_context(what)?;
        let Some(mut told) = told else {
            cells.push(Cell::Impossible);
            continue;
        };
        let reports = tracer.reports_of(port, seen + 2)?;
        if reports.len() < seen + 2 {
            bail!("{}: {} reports", what(), reports.len() - seen);
        }
        let (client_end, server_end) = compare::ends(&reports[seen..]).with_context(what)?;
        let failed = compare::failed(server_end) || !told.good;
        told.server = words_since(&running, before, failed);
        cells.push(Cell::of(&told, client_end, server_end));
        seen = reports.len();
    }
    Ok(cells)
}

/// What a server said since then; if the handshake failed, once it has said why, or has not in time.
fn words_since(server: &Running, before: usize, failed: bool) -> String {
    const PATIENCE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = server.output().split_off(before);
        if !failed || compare::is_understood(&said) || Instant::now() > deadline {
            return said;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
