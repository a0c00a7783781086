//! What is not TLS, or hardly, and what it leads to.

use std::io::Write;

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Phase};
use tls_trace_tests::{
    Case, Expected, actor, both,
    certificates::Certificates,
    client, clients,
    program::{Program, Running},
    server, servers, truth,
};

/// nginx answers in the clear, with words of its own.
#[test]
fn plain_http_to_nginx() {
    truth(&["curl", "nginx"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::nginx_tls(case.port(), 1, &certificates.good())?;
        clients::curl_in_the_clear(case.address(), "/")
            .run()?
            .said("The plain HTTP request was sent to HTTPS port")?;
        case.expect(both(|end| {
            end.failed(
                Phase::Connected,
                Initiator::ServerApp,
                Cause::PlainHttpToTlsPort,
            )
        }))
    });
}

/// GnuTLS answers with an alert.
#[test]
fn plain_http_to_gnutls() {
    truth(&["curl", "gnutls-serv"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::gnutls(case.port(), &certificates.good()).listening(case.port())?;
        clients::curl_in_the_clear(case.address(), "/").run()?;
        case.expect(both(|end| {
            end.failed(
                Phase::Connected,
                Initiator::ServerApp,
                Cause::PlainHttpToTlsPort,
            )
        }))
    });
}

/// OpenSSL says nothing at all; that this port speaks TLS was seen before.
#[test]
fn plain_http_to_openssl() {
    truth(&["curl", "openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good()).listening(case.port())?;
        clients::openssl_talk(clients::openssl(case.address()))?.success()?;
        case.wait_for(2)?;
        clients::curl_in_the_clear(case.address(), "/").run()?;
        let good = both(Expected::ended_by_either);
        let bad = both(|end| {
            end.failed(
                Phase::Connected,
                Initiator::ServerApp,
                Cause::PlainHttpToTlsPort,
            )
            .likely()
        });
        case.expect(good.into_iter().chain(bad))
    });
}

/// As before, but all that was seen of TLS on this port is a handshake that failed.
#[test]
fn plain_http_where_no_handshake_succeeded() {
    truth(&["curl", "openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server =
            servers::openssl(case.port(), &certificates.expired()).listening(case.port())?;
        let client = clients::openssl(case.address()).args(&format!(
            "-tls1_2 -verify_return_error -CAfile {}",
            certificates.ca()
        ));
        client.run()?.said("verify error")?;
        case.wait_for(2)?;
        clients::curl_in_the_clear(case.address(), "/").run()?;
        let rejected = both(|end| {
            end.failed(
                Phase::ServerHello,
                Initiator::ClientApp,
                Cause::CertificateExpired,
            )
        });
        let in_the_clear = both(|end| {
            end.failed(
                Phase::Connected,
                Initiator::ServerApp,
                Cause::PlainHttpToTlsPort,
            )
            .likely()
        });
        case.expect(rejected.into_iter().chain(in_the_clear))
    });
}

#[test]
fn tls_to_plain_nginx() {
    truth(&["curl", "nginx"], |case| {
        let listen = format!("listen {};", case.port());
        let _server = servers::nginx(case.port(), 1, &listen)?.listening(case.port())?;
        clients::curl(case.address(), "/")
            .run()?
            .said("wrong version number")?;
        case.expect(both(|end| {
            end.failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::TlsToPlainHttp,
            )
        }))
    });
}

/// It takes the ClientHello for HTTP/0.9, and answers with a page alone.
#[test]
fn tls_to_plain_python() {
    truth(&["curl", "python3"], |case| {
        let server = Program::new("python3").args("-m http.server --bind 127.0.0.1");
        let port = case.port();
        let _server = server.arg(port.to_string()).listening(port)?;
        let curl = clients::curl(case.address(), "/");
        curl.run()?.said("wrong version number")?;
        case.expect(both(|end| {
            let (phase, by) = (Phase::ClientHello, Initiator::ServerApp);
            end.failed(phase, by, Cause::TlsToPlainHttp)
        }))
    });
}

/// The server speaks first, and not TLS.
#[test]
fn tls_to_ssh() {
    truth(&["openssl"], |case| {
        let listener = actor::listen(case.address())?;
        let client_end = clients::openssl(case.address()).start()?;
        let mut server_end = actor::accept(&listener)?;
        server_end.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")?;
        client_end.finish()?.said("wrong version number")?;
        actor::read_to_end(&mut server_end)?;
        drop(server_end);
        case.expect(both(|end| {
            end.failed(Phase::ClientHello, Initiator::ClientApp, Cause::NotTls)
        }))
    });
}

/// The same with a client that takes its time.
#[test]
fn late_tls_to_ssh() {
    truth(&[], |case| {
        let banner = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::connect(case.address())?;
        let mut server_end = actor::accept(&listener)?;
        server_end.write_all(banner)?;
        actor::read_exactly(&mut client_end, banner.len())?;
        actor::wait_in_vain(&client_end)?;
        actor::wait_in_vain(&client_end)?;
        client_end.write_all(&actor::client_hello(b"localhost"))?;
        drop(client_end);
        actor::read_to_end(&mut server_end)?;
        drop(server_end);
        case.expect(both(|end| {
            end.failed(Phase::ClientHello, Initiator::ClientApp, Cause::NotTls)
        }))
    });
}

/// Neither end speaks TLS, all goes well: nothing to report.
#[test]
fn plain_http_is_not_reported() {
    truth(&["curl", "nginx"], |case| {
        let listen = format!("listen {};", case.port());
        let _server = servers::nginx(case.port(), 1, &listen)?.listening(case.port())?;
        clients::curl_in_the_clear(case.address(), "/")
            .run()?
            .said("hello")?;
        case.expect([])
    });
}

/// GnuTLS answers with an alert: so TLS was spoken there.
#[test]
fn random_bytes_to_a_tls_port() {
    truth(&["gnutls-serv"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::gnutls(case.port(), &certificates.good()).listening(case.port())?;
        let noise = (0..4096_u32).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[1]);
        let mut end = actor::connect(case.address())?;
        end.write_all(&noise.collect::<Vec<_>>())?;
        // GnuTLS leaves most of it unread and so resets.
        let _ = actor::read_to_end(&mut end);
        drop(end);
        case.expect(both(|end| {
            end.failed(Phase::Connected, Initiator::ServerApp, Cause::NotTls)
        }))
    });
}

#[test]
fn client_hello_byte_by_byte() {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good()).listening(case.port())?;
        let mut end = actor::connect(case.address())?;
        for byte in actor::client_hello(b"localhost") {
            end.write_all(&[byte])?;
        }
        // The answer to a ClientHello that no key belongs to.
        actor::await_bytes(&end)?;
        // Unread, so the kernel resets.
        drop(end);
        case.expect([
            client()
                .failed(
                    Phase::EncryptedHandshake,
                    Initiator::ClientApp,
                    Cause::ResetUnreadData,
                )
                .and("server name", |report| {
                    report.sni.as_deref() == Some("localhost")
                }),
            server().failed(
                Phase::EncryptedHandshake,
                Initiator::ClientApp,
                Cause::ResetByPeer,
            ),
        ])
    });
}

/// A message of 64 KiB in four records.
#[test]
fn huge_client_hello() {
    let message = actor::handshake(1, &vec![3; 65_000]);
    let records: Vec<u8> = message
        .chunks(16_384)
        .flat_map(|chunk| actor::record(22, chunk.to_vec()))
        .collect();
    refused(&records, Phase::ClientHello, Cause::DecodeError);
}

/// OpenSSL has patience for 32 of them.
#[test]
fn records_of_no_length() {
    let records = actor::record(22, Vec::new()).repeat(40);
    refused(&records, Phase::Connected, Cause::UnexpectedMessage);
}

#[test]
fn record_of_65535_bytes() {
    let record = actor::record(22, vec![1; 65_535]);
    refused(&record, Phase::Connected, Cause::RecordOverflow);
}

/// Sends something that OpenSSL refuses with an alert in the clear.
fn refused(bytes: &[u8], phase: Phase, cause: Cause) {
    truth(&["openssl"], |case| {
        let _server = tls_server(case)?;
        let mut end = actor::connect(case.address())?;
        // The server may refuse before it has it all.
        let _ = end.write_all(bytes);
        let _ = actor::read_to_end(&mut end);
        drop(end);
        case.expect(both(|end| end.failed(phase, Initiator::ServerApp, cause)))
    });
}

#[test]
fn server_name_of_control_characters() {
    odd_server_name(b"a\x1b[31m\r\n\t\x00\xff");
}

#[test]
fn server_name_of_255_bytes() {
    odd_server_name(&[b'x'; 255]);
}

fn odd_server_name(name: &'static [u8]) {
    truth(&[], |case| {
        let listener = actor::listen(case.address())?;
        let mut client_end = actor::connect(case.address())?;
        let hello = actor::client_hello(name);
        client_end.write_all(&hello)?;
        let mut server_end = actor::accept(&listener)?;
        actor::read_exactly(&mut server_end, hello.len())?;
        drop(server_end);
        actor::read_to_end(&mut client_end)?;
        drop(client_end);
        case.expect([
            client()
                .failed(
                    Phase::ClientHello,
                    Initiator::ServerApp,
                    Cause::ClosedByPeer,
                )
                .and("server name", move |report| {
                    report.sni.as_deref() == Some(&*String::from_utf8_lossy(name))
                }),
            server().failed(Phase::ClientHello, Initiator::ServerApp, Cause::ClosedByApp),
        ])
    });
}

fn tls_server(case: &Case) -> Result<Running> {
    let certificates = Certificates::shared()?;
    servers::openssl(case.port(), &certificates.good()).listening(case.port())
}
