//! What TCP does to handshakes.

use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Phase};
use tls_trace_tests::{
    actor, client, clients,
    fault::{self, Rules},
    netns::Pair,
    program::Program,
    server, truth,
};

#[test]
fn refused() {
    truth(&[], |case| {
        let error = actor::connect(case.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        case.expect([client().failed(
            Phase::Connect,
            Initiator::ServerKernel,
            Cause::ConnectRefused,
        )])
    });
}

#[test]
fn syn_dropped() {
    truth(&["ip", "nft"], |case| {
        let pair = Pair::create()?;
        pair.client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
        let _hole = fault::blackhole(&pair.server)?;
        let address = pair.address(case.port());
        let error = pair
            .client
            .within(|| Ok(actor::connect(address).unwrap_err()))?;
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        case.expect([client().failed(
            Phase::Connect,
            Initiator::ClientKernel,
            Cause::ConnectTimeout,
        )])
    });
}

#[test]
fn connect_given_up() {
    truth(&["ip", "nft"], |case| {
        let pair = Pair::create()?;
        let hole = fault::blackhole(&pair.server)?;
        let address = pair.address(case.port());
        pair.client.within(|| {
            let longest = Duration::from_millis(200);
            assert!(TcpStream::connect_timeout(&address, longest).is_err());
            Ok(())
        })?;
        hole.hit(1)?;
        case.expect([client().failed(
            Phase::Connect,
            Initiator::ClientApp,
            Cause::ConnectCancelled,
        )])
    });
}

#[test]
fn accept_queue_is_full() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let waiting = actor::fill_queue(&listener)?;
        let longest = Duration::from_millis(200);
        assert!(TcpStream::connect_timeout(&case.address(), longest).is_err());
        case.expect([client().failed(
            Phase::Connect,
            Initiator::ServerKernel,
            Cause::ListenOverflow,
        )])?;
        drop((waiting, listener));
        Ok(())
    });
}

/// A router answers that it knows no way.
#[test]
fn no_route() {
    truth(&["ip"], |case| {
        let pair = Pair::create()?;
        pair.server.sysctl("net.ipv4.ip_forward", "1")?;
        let address = ([203, 0, 113, 1], case.port()).into();
        let error = pair
            .client
            .within(|| Ok(actor::connect(address).unwrap_err()))?;
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        case.expect([client().failed(Phase::Connect, Initiator::Network, Cause::Unreachable)])
    });
}

/// Nobody on the link has the address.
#[test]
fn no_neighbour() {
    truth(&["ip"], |case| {
        let pair = Pair::create()?;
        let address = ([10, 77, 0, 9], case.port()).into();
        let error = pair
            .client
            .within(|| Ok(actor::connect(address).unwrap_err()))?;
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
        case.expect([client().failed(Phase::Connect, Initiator::Network, Cause::Unreachable)])
    });
}

/// What a load balancer's health check does.
#[test]
fn client_leaves_before_any_byte() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let client_end = actor::connect(case.address())?;
        let mut server_end = actor::accept(&listener)?;
        drop(client_end);
        assert!(actor::read_to_end(&mut server_end)?.is_empty());
        drop(server_end);
        case.expect([client().aborted(), server().aborted()])
    });
}

#[test]
fn server_closes_in_mid_handshake() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::hello(case.address())?;
        drop(actor::accept_hello(&listener)?);
        assert!(actor::read_to_end(&mut client_end)?.is_empty());
        drop(client_end);
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ClosedByPeer,
            ),
            server().failed(Phase::ClientHello, Initiator::ServerApp, Cause::ClosedByApp),
        ])
    });
}

/// The port is not known for TLS; what the client says afterwards, to nobody, shows that it was to be.
#[test]
fn server_leaves_before_the_client_says_anything() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::connect(case.address())?;
        drop(actor::accept(&listener)?);
        assert!(actor::read_to_end(&mut client_end)?.is_empty());
        actor::until_fin_acknowledged(case.address(), client_end.local_addr()?)?;
        client_end.write_all(&actor::client_hello(b"late.test"))?;
        drop(client_end);
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ClosedByPeer,
            ),
            server().failed(Phase::Connected, Initiator::ServerApp, Cause::ClosedByApp),
        ])
    });
}

#[test]
fn client_resets_with_linger_zero() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let client_end = actor::hello(case.address())?;
        let mut server_end = actor::accept_hello(&listener)?;
        actor::close_with_reset(client_end)?;
        let error = actor::read_to_end(&mut server_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        case.expect([
            client().failed(Phase::ClientHello, Initiator::ClientApp, Cause::ResetLinger),
            server().failed(Phase::ClientHello, Initiator::ClientApp, Cause::ResetByPeer),
        ])
    });
}

#[test]
fn server_closes_with_unread_data() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::hello(case.address())?;
        let server_end = actor::accept(&listener)?;
        actor::await_bytes(&server_end)?;
        drop(server_end);
        let error = actor::read_to_end(&mut client_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        case.expect([
            client().failed(Phase::ClientHello, Initiator::ServerApp, Cause::ResetByPeer),
            server().failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ResetUnreadData,
            ),
        ])
    });
}

#[test]
fn client_is_killed_in_mid_handshake() {
    truth(&["openssl"], |case| {
        let listener = actor::listen(case.address())?;
        let client_end = clients::openssl(case.address()).start()?;
        let mut server_end = actor::accept(&listener)?;
        actor::await_bytes(&server_end)?;
        client_end.kill()?;
        actor::read_to_end(&mut server_end)?;
        drop(server_end);
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ClientApp,
                Cause::ProcessKilled,
            ),
            server().failed(
                Phase::ClientHello,
                Initiator::ClientApp,
                Cause::ClosedByPeer,
            ),
        ])
    });
}

#[test]
fn server_is_killed_in_mid_handshake() {
    const SERVER: &str = "import socket, sys, time
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
connection, _ = listener.accept()
connection.recv(65536)
print('received', flush=True)
time.sleep(1000)";
    truth(&["python3"], |case| {
        let server_end = Program::new("python3")
            .arg("-c")
            .arg(SERVER)
            .arg(case.port().to_string())
            .listening(case.port())?;
        let mut client_end = actor::hello(case.address())?;
        server_end.until("received")?;
        server_end.kill()?;
        assert!(actor::read_to_end(&mut client_end)?.is_empty());
        drop(client_end);
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ClosedByPeer,
            ),
            server().failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ProcessKilled,
            ),
        ])
    });
}

#[test]
fn keepalive_unanswered_in_mid_handshake() {
    truth(&["ip", "nft"], |case| {
        let pair = Pair::create()?;
        let (mut client_end, mut server_end) = hello_between(&pair, case.port())?;
        actor::keep_alive(&client_end)?;
        actor::keep_alive(&server_end)?;
        let cut = fault::cut_off(&pair.client)?;
        for end in [&mut client_end, &mut server_end] {
            let error = actor::read_to_end(end).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        drop(cut);
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ClientKernel,
                Cause::KeepaliveTimeout,
            ),
            server().failed(
                Phase::ClientHello,
                Initiator::ServerKernel,
                Cause::KeepaliveTimeout,
            ),
        ])
    });
}

#[test]
fn client_socket_is_destroyed_by_an_administrator() {
    truth(&["ss"], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::hello(case.address())?;
        let mut server_end = actor::accept_hello(&listener)?;
        fault::destroy_socket(client_end.local_addr()?, case.address())?;
        let error = actor::read_to_end(&mut client_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let error = actor::read_to_end(&mut server_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        drop((client_end, server_end));
        case.expect([
            client().failed(
                Phase::ClientHello,
                Initiator::ClientKernel,
                Cause::AbortedByAdmin,
            ),
            server().failed(
                Phase::ClientHello,
                Initiator::ClientKernel,
                Cause::ResetByPeer,
            ),
        ])
    });
}

#[test]
fn listener_closes_with_a_pending_child() {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::hello(case.address())?;
        drop(listener);
        let error = actor::read_to_end(&mut client_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        case.expect([
            client().failed(Phase::ClientHello, Initiator::ServerApp, Cause::ResetByPeer),
            server().failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ListenerClosed,
            ),
        ])
    });
}

/// A firewall on the way answers the ClientHello with RST, in the server's name.
#[test]
fn firewall_injects_a_reset() {
    truth(&["ip", "nft"], |case| {
        let pair = Pair::create()?;
        let address = pair.address(case.port());
        let listener = pair.server.within(|| Ok(actor::listen(address)?))?;
        let rules = Rules::input(
            &pair.server,
            &format!("tcp dport {} tcp flags & psh == psh", case.port()),
            "reject with tcp reset",
        )?;
        let mut client_end = pair.client.within(|| Ok(actor::hello(address)?))?;
        let server_end = actor::accept(&listener)?;
        let error = actor::read_to_end(&mut client_end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        drop(rules);
        actor::wait_in_vain(&server_end)?;
        drop(server_end);
        case.expect([
            client().failed(Phase::ClientHello, Initiator::Network, Cause::ResetInjected),
            server().failed(Phase::Connected, Initiator::ServerApp, Cause::ClientSilent),
        ])
    });
}

/// A connection between the two namespaces, ClientHello sent and read.
fn hello_between(pair: &Pair, port: u16) -> Result<(TcpStream, TcpStream)> {
    let address = pair.address(port);
    let listener = pair.server.within(|| Ok(actor::listen(address)?))?;
    let client_end = pair.client.within(|| Ok(actor::hello(address)?))?;
    let server_end = actor::accept_hello(&listener)?;
    Ok((client_end, server_end))
}
