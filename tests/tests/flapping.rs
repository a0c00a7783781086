//! Connections that are cut and opened anew, and those that only look so.

use anyhow::{Context, Result, ensure};
use tls_trace::{
    flap::{Change, Disconnect},
    report::{Cause, Role},
};
use tls_trace_tests::{certificates::Certificates, clients, servers, truth};

#[test]
fn a_server_that_resets_every_connection() {
    truth(&["python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server =
            servers::python(case.port(), &certificates.good(), "cut=0.7").listening(case.port())?;
        let options = format!("ca={} end=hold keepalive=1 count=4", certificates.ca());
        let client = clients::python(case.address(), &options).start()?;
        let pid = client.pid();
        client.finish()?;
        let flaps = case.tracer().flaps(case.port(), 1)?;
        let [flap] = &flaps[..] else {
            anyhow::bail!("{flaps:?}");
        };
        ensure!(
            flap.flap == Change::On && flap.role == Role::Client,
            "{flap:?}"
        );
        ensure!(flap.pid == Some(pid), "not {pid}: {flap:?}");
        ensure!(flap.events == 3 && flap.planned == 0, "{flap:?}");
        ensure!(
            flap.cause == Cause::ResetLinger || flap.cause == Cause::ResetByPeer,
            "{flap:?}"
        );
        ensure!(
            flap.grpc_disconnect_error == Disconnect::ConnectionReset,
            "{flap:?}"
        );
        ensure!((0.65..2.0).contains(&flap.life_s), "{flap:?}");
        let metrics = case.tracer().metrics()?;
        let peer = format!("peer=\"127.0.0.1:{}\"", case.port());
        let series = metrics.lines().find(|line| line.contains(&peer));
        let series = series.context("no series of tls_trace_flapping")?;
        ensure!(
            series.starts_with("tls_trace_flapping{") && series.ends_with(" 1"),
            "{series}"
        );
        Ok(())
    });
}

#[test]
fn who_leaves_by_itself_does_not_flap() {
    truth(&["curl", "nginx", "python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::nginx_tls(case.port(), 1, &certificates.good())?;
        // One process, many short connections; `Connection: close`, so that the server closes first.
        let urls = vec![format!("https://127.0.0.1:{}/", case.port()); 20];
        clients::curl(case.address(), "/")
            .args(&format!(
                "--cacert {} --http1.1 -H Connection:close",
                certificates.ca()
            ))
            .args(&urls.join(" "))
            .run()?
            .success()?;
        // A pool whose connections live shortly by the client's wish, also without close_notify.
        for end in ["leave", "close"] {
            let options = format!("ca={} alpn=h2 end={end} count=20", certificates.ca());
            clients::python(case.address(), &options)
                .run()?
                .said("ok")?;
        }
        ensure!(
            case.all(122)?.len() == 122,
            "{} reports",
            case.reports().len()
        );
        no_flaps(case)
    });
}

#[test]
fn health_checks_do_not_flap() {
    truth(&["python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server =
            servers::python(case.port(), &certificates.good(), "").listening(case.port())?;
        for _ in 0..20 {
            drop(tls_trace_tests::actor::connect(case.address())?);
        }
        case.all(20)?;
        no_flaps(case)
    });
}

fn no_flaps(case: &tls_trace_tests::Case) -> Result<()> {
    let flaps = case.tracer().flaps(case.port(), 0)?;
    ensure!(flaps.is_empty(), "{flaps:?}");
    Ok(())
}
