//! Handshakes in which somebody waits in vain.

use std::{
    io::{ErrorKind, Write},
    net::IpAddr,
    time::Duration,
};

use tls_trace::report::{Cause, Initiator, Notice, Phase};
use tls_trace_tests::{
    Expected, actor, both, certificates::Certificates, client, clients, fault::Rules, netns::Pair,
    program::Program, seconds, server, servers, truth,
};

/// The client's patience ends: it closes, nothing has come.
#[test]
fn server_accepts_and_stays_silent() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let client_end = actor::hello(case.address())?;
        let mut server_end = actor::accept_hello(&listener)?;
        actor::wait_in_vain(&client_end)?;
        drop(client_end);
        assert!(actor::read_to_end(&mut server_end)?.is_empty());
        drop(server_end);
        case.expect(both(|end| {
            end.failed(
                Phase::ClientHello,
                Initiator::ClientApp,
                Cause::ServerSilent,
            )
        }))
    });
}

/// A server that does nothing, not even close, is still named: by who holds its socket, in whatever network
/// namespace.
#[test]
fn server_stays_silent_and_open() {
    const SILENT: &str = "import socket, sys, time\n\
        server = socket.create_server((sys.argv[1], int(sys.argv[2])))\n\
        accepted = server.accept()\n\
        print('accepted', flush=True)\n\
        time.sleep(600)";
    truth(&["ip", "python3"], |case| {
        let pair = Pair::create()?;
        let address = pair.address(case.port());
        let silent = |program: Program, ip: IpAddr| {
            let program = program.arg("-c").arg(SILENT).arg(ip.to_string());
            program.arg(case.port().to_string())
        };
        let near = silent(Program::new("python3"), case.address().ip()).listening(case.port())?;
        let far = silent(Program::new("python3"), address.ip())
            .within(&pair.server)
            .listening(case.port())?;
        let client_end = actor::hello(case.address())?;
        near.until("accepted")?;
        actor::wait_in_vain(&client_end)?;
        drop(client_end);
        let client_end = pair.client.within(|| Ok(actor::hello(address)?))?;
        far.until("accepted")?;
        actor::wait_in_vain(&client_end)?;
        drop(client_end);
        let verdict = |end: Expected| {
            let (phase, by) = (Phase::ClientHello, Initiator::ClientApp);
            end.failed(phase, by, Cause::ServerSilent)
        };
        let held_by = |pid: u32| {
            verdict(server()).and("named by who holds the socket", move |report| {
                report.pid == Some(pid) && report.comm.as_deref() == Some("python3")
            })
        };
        let clients = [verdict(client()), verdict(client())];
        let servers = [held_by(near.pid()), held_by(far.pid())];
        case.expect(clients.into_iter().chain(servers))
    });
}

/// The server's patience ends: it closes, nothing has come. That its port speaks TLS was seen before.
#[test]
fn client_connects_and_stays_silent() {
    truth(&["openssl", "python3"], |case| {
        let certificates = Certificates::shared()?;
        let patience = format!("patience={}", seconds(1.0).as_secs_f64());
        let _server =
            servers::python(case.port(), &certificates.good(), &patience).listening(case.port())?;
        clients::openssl_talk(clients::openssl(case.address()))?.success()?;
        case.wait_for(2)?;
        let mut client_end = actor::connect(case.address())?;
        assert!(actor::read_to_end(&mut client_end)?.is_empty());
        drop(client_end);
        let silent =
            |end: Expected| end.failed(Phase::Connected, Initiator::ServerApp, Cause::ClientSilent);
        let good = both(Expected::ended_by_either);
        case.expect(good.into_iter().chain(both(silent)))
    });
}

#[test]
fn server_stops_after_server_hello() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::hello(case.address())?;
        let mut server_end = actor::accept_hello(&listener)?;
        let server_hello = actor::server_hello();
        server_end.write_all(&server_hello)?;
        actor::read_exactly(&mut client_end, server_hello.len())?;
        actor::wait_in_vain(&client_end)?;
        drop(client_end);
        assert!(actor::read_to_end(&mut server_end)?.is_empty());
        drop(server_end);
        case.expect(both(|end| {
            end.failed(
                Phase::ServerHello,
                Initiator::ClientApp,
                Cause::HandshakeStalled,
            )
        }))
    });
}

/// Every ClientHello is lost until the client's kernel gives up.
#[test]
fn client_hello_is_lost_for_good() {
    truth(&["ip", "nft"], |case| {
        let pair = Pair::create()?;
        let address = pair.address(case.port());
        let listener = pair.server.within(|| Ok(actor::listen(address)?))?;
        let mut client_end = pair.client.within(|| Ok(actor::connect(address)?))?;
        let server_end = actor::accept(&listener)?;
        actor::user_timeout(&client_end, 1000)?;
        let rules = lose_data(&pair, case.port())?;
        client_end.write_all(&actor::client_hello(b"localhost"))?;
        let error = actor::read_to_end(&mut client_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        rules.hit(2)?;
        drop(rules);
        drop(server_end);
        case.expect([
            client()
                .failed(
                    Phase::ClientHello,
                    Initiator::ClientKernel,
                    Cause::ClientHelloLost,
                )
                .notices([Notice::ClientHelloRetransmitted])
                .and("ClientHello retransmits counted", |report| {
                    report.tcp.client_hello_retransmits >= 1
                }),
            server().failed(Phase::Connected, Initiator::ServerApp, Cause::ClientSilent),
        ])
    });
}

/// The ClientHello is lost a few times; then all is well.
#[test]
fn client_hello_is_lost_for_a_while() {
    truth(&["ip", "nft", "openssl", "python3"], |case| {
        let pair = Pair::create()?;
        let certificates = Certificates::shared()?;
        let bind = "bind=10.77.0.2";
        let _server = servers::python(case.port(), &certificates.good(), bind)
            .within(&pair.server)
            .listening(case.port())?;
        let rules = lose_data(&pair, case.port())?;
        let ca = format!("ca={}", certificates.ca());
        let client_end = clients::python(pair.address(case.port()), &ca)
            .within(&pair.client)
            .start()?;
        rules.hit(3)?;
        drop(rules);
        client_end.finish()?.said("ok TLSv1.3")?;
        case.expect([
            client()
                .notices([Notice::ClientHelloRetransmitted])
                .and("ClientHello retransmits counted", |report| {
                    report.tcp.client_hello_retransmits >= 2
                }),
            server(),
        ])
    });
}

/// What the server answers is lost until its kernel gives up, and then the client's program.
#[test]
fn server_hello_is_lost_for_good() {
    truth(&["ip", "nft", "python3"], |case| {
        let pair = Pair::create()?;
        let certificates = Certificates::shared()?;
        let server_end = servers::python(
            case.port(),
            &certificates.good(),
            "bind=10.77.0.2 timeout=1000",
        )
        .within(&pair.server)
        .listening(case.port())?;
        let rules = Rules::input(
            &pair.client,
            &format!("tcp sport {} tcp flags & psh == psh", case.port()),
            "drop",
        )?;
        // Longer than the server's kernel takes to give up.
        let patience = Duration::from_secs(3) + seconds(1.0);
        let options = format!("patience={}", patience.as_secs_f64());
        let client_end = clients::python(pair.address(case.port()), &options)
            .within(&pair.client)
            .start()?;
        server_end.until("error")?;
        rules.hit(2)?;
        client_end.finish()?.said("timed out")?;
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ClientApp,
                Cause::HandshakeStalled,
            ),
            server().failed(
                Phase::EncryptedHandshake,
                Initiator::ServerKernel,
                Cause::RetransmitTimeout,
            ),
        ])
    });
}

/// The server's program takes its time.
#[test]
fn slow_handshake() {
    truth(&["python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::python(case.port(), &certificates.good(), "late=1.2")
            .listening(case.port())?;
        let ca = format!("ca={}", certificates.ca());
        clients::python(case.address(), &ca)
            .run()?
            .said("ok TLSv1.3")?;
        case.expect(both(|end| end.notices([Notice::SlowHandshake])))
    });
}

/// Segments with payload to the server are lost.
fn lose_data(pair: &Pair, port: u16) -> anyhow::Result<Rules<'_>> {
    Rules::input(
        &pair.server,
        &format!("tcp dport {port} tcp flags & psh == psh"),
        "drop",
    )
}
