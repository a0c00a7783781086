//! Connections that were fine until something broke them.

use anyhow::Result;
use tls_trace::report::{Cause, Initiator};
use tls_trace_tests::{
    Case, certificates::Certificates, client, clients, fault, netns::Pair, program::Running,
    server, servers, truth,
};

#[test]
fn client_is_killed() {
    truth(&["python3"], |case| {
        let (server_end, client_end) = held(case, None, "", "")?;
        client_end.kill()?;
        server_end.until("error")?;
        case.expect([
            client().broken(Initiator::ClientApp, Cause::ProcessKilled),
            server().broken(Initiator::ClientApp, Cause::ClosedByPeer),
        ])
    });
}

#[test]
fn server_is_killed() {
    truth(&["python3"], |case| {
        let (server_end, client_end) = held(case, None, "", "")?;
        server_end.kill()?;
        drop(client_end);
        case.expect([
            client().broken(Initiator::ServerApp, Cause::ClosedByPeer),
            server().broken(Initiator::ServerApp, Cause::ProcessKilled),
        ])
    });
}

#[test]
fn keepalive_is_not_answered() {
    truth(&["ip", "nft", "python3"], |case| {
        let pair = Pair::create()?;
        let (server_end, client_end) = held(case, Some(&pair), "keepalive=1", "keepalive=1")?;
        let cut = fault::cut_off(&pair.client)?;
        client_end.finish()?.said("error")?;
        server_end.until("error")?;
        drop(cut);
        case.expect([
            client().broken(Initiator::ClientKernel, Cause::KeepaliveTimeout),
            server().broken(Initiator::ServerKernel, Cause::KeepaliveTimeout),
        ])
    });
}

#[test]
fn data_is_not_acknowledged() {
    truth(&["ip", "nft", "python3"], |case| {
        let pair = Pair::create()?;
        let (server_end, mut client_end) = held(case, Some(&pair), "", "timeout=1000")?;
        let hole = fault::blackhole(&pair.server)?;
        client_end.say("go\n")?;
        client_end.finish()?.said("error")?;
        drop(hole);
        server_end.kill()?;
        case.expect([
            client().broken(Initiator::ClientKernel, Cause::RetransmitTimeout),
            server().broken(Initiator::ServerApp, Cause::ProcessKilled),
        ])
    });
}

/// A Python server and client that have exchanged a line and keep the connection.
fn held(
    case: &Case,
    pair: Option<&Pair>,
    server_options: &str,
    client_options: &str,
) -> Result<(Running, Running)> {
    let certificates = Certificates::shared()?;
    let address = pair.map_or(case.address(), |pair| pair.address(case.port()));
    let options = format!("bind={} {server_options}", address.ip());
    let mut server_end = servers::python(case.port(), &certificates.good(), &options);
    let options = format!("ca={} end=hold {client_options}", certificates.ca());
    let mut client_end = clients::python(address, &options);
    if let Some(pair) = pair {
        server_end = server_end.within(&pair.server);
        client_end = client_end.within(&pair.client);
    }
    let server_end = server_end.listening(case.port())?;
    let client_end = client_end.start()?;
    client_end.until("held")?;
    Ok((server_end, client_end))
}
