//! Writes a report out of the facts and the judgement.

use super::{
    Handshake as HandshakeResult,
    connection::Connection,
    handshake::Handshake,
    http2,
    moment::{Endpoint, ms_between},
    verdict::{Case, Judgement},
};
use crate::{
    event::{ConnectionId, End},
    report::{
        Alert, Alpn, Cause, Initiator, Outcome, Phase, PhasesMs, Report, Role, SCHEMA,
        ServerCertificate, Tcp, Verdict,
    },
    wire::names,
};

/// The report of a connection, without evidence and notices.
pub(super) fn report(id: ConnectionId, case: &Case, judgement: Judgement) -> Report {
    let connection = case.connection;
    let tls = connection.tls.as_deref();
    let process = connection.process.as_ref();
    Report {
        schema: SCHEMA,
        id,
        ended: connection.last,
        time: None,
        duration_ms: ms_between(connection.first, connection.last),
        role: role(connection),
        local: connection.local.into(),
        remote: connection.remote.into(),
        netns: (connection.netns != 0).then_some(connection.netns),
        pid: process.map(|process| process.pid),
        comm: process.map(|process| process.comm.to_string()),
        cgroup: process
            .filter(|process| process.cgroup != 0)
            .map(|process| process.cgroup.to_string()),
        sni: tls.and_then(|tls| tls.hello.as_ref()?.server_name.clone()),
        preface: tls.map(|tls| tls.preface.clone()).unwrap_or_default(),
        version: version(tls),
        cipher: tls
            .filter(|tls| tls.times.server_hello_at.happened())
            .map(|tls| names::cipher_suite(tls.cipher).into_owned()),
        group: tls
            .filter(|tls| tls.group != 0)
            .map(|tls| names::group(tls.group).into_owned()),
        alpn: tls.map(alpn).unwrap_or_default(),
        resumed: tls.and_then(Handshake::resumed),
        resumption: tls.and_then(Handshake::resumption),
        encrypted_client_hello: tls
            .filter(|tls| tls.hello_length > 0)
            .map(|tls| tls.encrypted_client_hello),
        server_certificate: tls.and_then(server_certificate),
        client_certificate: tls.and_then(Handshake::client_certificate),
        verdict: Verdict {
            outcome: judgement.outcome,
            phase: judgement.phase,
            initiator: judgement.initiator,
            cause: judgement.cause,
            confidence: judgement.confidence,
            evidence: Vec::new(),
        },
        notices: Vec::new(),
        early_data: tls.and_then(Handshake::early_data),
        alerts: tls.map(alerts).unwrap_or_default(),
        tcp: tcp(case),
        phases_ms: phases(connection),
        peer_report: connection.peer,
        history: connection
            .history
            .as_ref()
            .map(|history| history.passed(connection.first))
            .unwrap_or_default(),
        library: tls.and_then(|tls| Some(tls.library.as_ref()?.report())),
        http2: http2::report(case),
    }
}

/// The result of a handshake as it is judged now.
pub(super) fn handshake_result(
    connection: &Connection,
    judgement: Option<Judgement>,
) -> HandshakeResult {
    let tls = connection.tls.as_deref();
    let outcome = judgement.map_or(Outcome::Established, |judgement| match judgement.outcome {
        // What happened to it later is not the handshake's matter.
        Outcome::Broken => Outcome::Established,
        other => other,
    });
    let completed = outcome == Outcome::Established;
    let phase = tls.map_or(Phase::Connect, Handshake::phase);
    let known = |end: Endpoint| end.is_known().then(|| end.into());
    HandshakeResult {
        began: connection.first,
        local: known(connection.local),
        remote: known(connection.remote),
        pid: connection.process.as_ref().map(|process| process.pid),
        server_name: tls.and_then(|tls| tls.hello.as_ref()?.server_name.clone()),
        role: role(connection),
        outcome,
        // What HTTP/2 adds comes after it.
        phase: judgement.map_or(phase, |judgement| judgement.phase.min(Phase::Established)),
        cause: judgement
            .filter(|_| !completed)
            .map_or(Cause::None, |judgement| judgement.cause),
        initiator: judgement
            .filter(|_| !completed)
            .map_or(Initiator::Unknown, |judgement| judgement.initiator),
        version: version(tls),
        library: tls.and_then(|tls| Some(tls.library.as_ref()?.name())),
        alpn_offered: tls
            .and_then(|tls| tls.hello.as_ref())
            .map(|hello| hello.alpn.clone())
            .unwrap_or_default(),
        phases: phases(connection),
        duration_ms: tls.filter(|_| completed).and_then(|tls| {
            tls.times
                .established_at
                .ms_since(tls.times.started)
                .or_else(|| tls.times.finished_at.ms_since(tls.times.started))
        }),
    }
}

pub(super) fn role(connection: &Connection) -> Role {
    match connection.client() {
        _ if !connection.tcp.kernel => Role::Observer,
        Some(End::Local) => Role::Client,
        Some(End::Remote) => Role::Server,
        None => Role::Observer,
    }
}

fn version(tls: Option<&Handshake>) -> Option<String> {
    tls.filter(|tls| tls.times.server_hello_at.happened())
        .map(|tls| names::version(tls.version).into_owned())
}

fn alpn(tls: &Handshake) -> Alpn {
    let said = tls.library.as_ref().and_then(|said| said.alpn());
    let selected = tls.alpn_selected.as_deref().or(said);
    Alpn {
        offered: tls.hello.as_ref().map(|hello| hello.alpn.clone()),
        selected: selected
            .filter(|protocol| !protocol.is_empty())
            .map(str::to_owned),
    }
}

fn server_certificate(tls: &Handshake) -> Option<ServerCertificate> {
    let shown = tls.certificate.as_deref()?;
    let time = |seconds| Some(jiff::Timestamp::from_second(seconds).ok()?.to_string());
    Some(ServerCertificate {
        subject: shown.subject.clone(),
        issuer: shown.issuer.clone(),
        names: shown.names.clone(),
        not_before: time(shown.not_before),
        not_after: time(shown.not_after),
        name_matches: shown.name_matches,
        valid: None,
    })
}

fn alerts(tls: &Handshake) -> Vec<Alert> {
    let alerts = tls.alerts.iter();
    alerts
        .map(|seen| Alert {
            direction: seen.direction,
            level: seen.level,
            code: seen.description,
            name: names::alert(seen.description).into_owned(),
        })
        .collect()
}

fn tcp(case: &Case) -> Tcp {
    let connection = case.connection;
    let ending = connection.ending.as_deref();
    Tcp {
        opened_by: connection.tcp.opened_by,
        closed_by: case.close.by,
        close_kind: if connection.tcp.open {
            case.close.kind
        } else {
            crate::report::CloseKind::NeverOpened
        },
        reset_reason: ending.and_then(|ending| ending.reset_sent?.1),
        errno: ending.and_then(|ending| ending.error.map(|(_, errno)| errno)),
        retransmits: connection.tcp.retransmits,
        client_hello_retransmits: connection.hello_retransmits(),
    }
}

fn phases(connection: &Connection) -> PhasesMs {
    let tcp = &connection.tcp;
    let Some(tls) = connection.tls.as_deref() else {
        return PhasesMs {
            connect: tcp.open_at.ms_since(tcp.syn_at),
            ..PhasesMs::default()
        };
    };
    PhasesMs {
        connect: tcp.open_at.ms_since(tcp.syn_at),
        client_hello: tls.times.started.ms_since(tcp.open_at),
        server_hello: tls.times.server_hello_at.ms_since(tls.times.hello_at),
        rest: tls.times.finished_at.ms_since(tls.times.server_hello_at),
    }
}
