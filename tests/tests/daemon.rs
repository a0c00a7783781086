//! The daemon itself: how it starts, refuses, and ends.

use std::{fs, io, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use anyhow::{Result, ensure};
use tls_trace::report::{Cause, Outcome, Verdict};
use tls_trace_tests::{
    Expected, KernelObjects, Tracer, actor, binary, both,
    certificates::Certificates,
    clients, describe,
    program::{Finished, Program},
    scratch, seconds, servers, truth,
};

#[test]
fn metrics_port_is_taken() {
    truth(&[], |_| {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let socket = scratch()?.join("port-taken.sock");
        let finished = refuses(&["--metrics", &address], &socket)?;
        finished.said(&address)?;
        ensure!(!socket.exists(), "the socket is left behind");
        Ok(())
    });
}

#[test]
fn second_daemon_is_refused() {
    truth(&[], |case| {
        let socket = case.tracer().socket();
        refuses(&["--metrics", "127.0.0.1:0"], socket)?.said(&socket.display().to_string())?;
        ensure!(socket.exists(), "the first daemon's socket is gone");
        case.tracer().metrics()?;
        Ok(())
    });
}

#[test]
fn without_permission() {
    truth(&[], |_| {
        // Where the build put it others may not look.
        let copy = scratch()?.join("tls-trace-for-nobody");
        fs::copy(binary()?, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        let finished = Program::at(&copy)
            .args("run --metrics off --socket off")
            .as_nobody()
            .run()?;
        one_sentence(&finished)?;
        finished.said("CAP_BPF")?;
        Ok(())
    });
}

#[test]
fn socket_left_by_a_killed_daemon_is_taken_over() {
    truth(&[], |_| {
        let socket = scratch()?.join("killed.sock");
        let first = Tracer::start(&socket, &[])?;
        first.kill()?;
        ensure!(socket.exists(), "the killed daemon cannot have cleared up");
        let second = Tracer::start(&socket, &[])?;
        second.stop()?;
        ensure!(!socket.exists(), "the socket is left behind");
        Ok(())
    });
}

/// Before anything happens on them.
#[test]
fn idle_connections_that_were_open_before_are_tracked_at_once() {
    const PAIRS: usize = 300;
    truth(&[], |_| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let pairs: Vec<_> = (0..PAIRS)
            .map(|_| Ok((actor::connect(address)?, actor::accept(&listener)?)))
            .collect::<io::Result<_>>()?;
        let tracer = Tracer::start(&scratch()?.join("idle.sock"), &[])?;
        let deadline = Instant::now() + seconds(20.0);
        while tracked(&tracer)? < 2 * PAIRS {
            ensure!(Instant::now() < deadline, "{} are", tracked(&tracer)?);
        }
        drop(pairs);
        tracer.stop()
    });
}

fn tracked(tracer: &Tracer) -> Result<usize> {
    let metrics = tracer.metrics()?;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("tls_trace_connections_tracked "));
    Ok(value.unwrap_or_default().parse()?)
}

#[test]
fn kill_leaves_no_program_attached() {
    truth(&[], |_| {
        let tracer = Tracer::start(&scratch()?.join("kill.sock"), &[])?;
        let held = KernelObjects::of(tracer.pid())?;
        ensure!(!held.programs.is_empty(), "it holds no programs");
        let programs = KernelObjects::all()?.programs;
        ensure!(programs.is_superset(&held.programs), "{held:?}");
        tracer.kill()?;
        held.wait_until_gone()
    });
}

#[test]
fn sigterm_detaches_and_ends_with_0() {
    truth(&[], |_| {
        let tracer = Tracer::start(&scratch()?.join("term.sock"), &[])?;
        let held = KernelObjects::of(tracer.pid())?;
        tracer.stop()?;
        held.wait_until_gone()
    });
}

/// From the end of a connection to its line in `tail`: less than a second.
#[test]
fn tail_shows_a_failure_within_a_second() {
    truth(&["openssl"], |case| {
        let tail = Program::at(&binary()?)
            .args("tail --json --socket")
            .arg(case.tracer().socket())
            .args(&format!("--port {}", case.port()))
            .start()?;
        // It has begun to read when it shows the first of these.
        while tail.output().is_empty() {
            let _ = actor::connect(case.address());
            let _ = tail.says_within("connect_refused", seconds(1.0));
        }
        let certificates = Certificates::shared()?;
        let _server =
            servers::openssl(case.port(), &certificates.expired()).listening(case.port())?;
        clients::openssl(case.address())
            .args(&format!(
                "-verify_return_error -CAfile {}",
                certificates.ca()
            ))
            .run()?
            .said("expired")?;
        let ended = Instant::now();
        tail.until(Cause::CertificateExpired.label())?;
        let took = ended.elapsed();
        ensure!(took < seconds(1.0), "took {took:?}");
        Ok(())
    });
}

/// Its handshake was missed, so nothing is claimed; the daemon that saw it knows better.
#[test]
fn connection_open_before_the_start() {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good()).listening(case.port())?;
        let mut client = clients::openssl(case.address()).start()?;
        client.say("abc\n")?;
        client.until("cba")?;
        let late = Tracer::start(&scratch()?.join("late.sock"), &[])?;
        client.finish()?.success()?;
        let reports = late.reports_of(case.port(), 2)?;
        ensure!(reports.len() == 2, "{reports:?}");
        for report in reports {
            let Verdict {
                outcome, evidence, ..
            } = &report.verdict;
            let said = evidence
                .iter()
                .any(|each| each.fact.contains("open before tracing began"));
            ensure!(
                *outcome == Outcome::Incomplete && said,
                "{}",
                describe(&report)
            );
        }
        late.stop()?;
        case.expect(both(Expected::ended_by_either))
    });
}

#[test]
fn check_says_what_this_machine_allows() {
    truth(&[], |_| {
        Program::at(&binary()?)
            .args("check")
            .run()?
            .said("inet_sock_set_state")?;
        Ok(())
    });
}

/// Runs a daemon that has to refuse with one sentence and a code that is not 0.
fn refuses(arguments: &[&str], socket: &Path) -> Result<Finished> {
    let mut program = Program::at(&binary()?)
        .args("run --json --socket")
        .arg(socket);
    for argument in arguments {
        program = program.arg(argument);
    }
    let finished = program.run()?;
    one_sentence(&finished)?;
    Ok(finished)
}

fn one_sentence(finished: &Finished) -> Result<()> {
    ensure!(!finished.status.success(), "it did not refuse");
    let lines = finished.output.lines().count();
    ensure!(lines == 1, "{lines} lines: {}", finished.output);
    Ok(())
}
