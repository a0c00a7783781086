//! Reports for tests.

use crate::{
    event::{ConnectionId, End, Timestamp},
    flap::{Change, Disconnect, Flap},
    report::{
        Alpn, Cause, CloseKind, Confidence, Evidence, Initiator, Notice, Outcome, Phase, PhasesMs,
        Report, Role, SCHEMA, Tcp, Verdict,
    },
};

/// A client whose server had an expired certificate.
pub fn failed() -> Report {
    Report {
        schema: SCHEMA,
        id: ConnectionId(77),
        ended: Timestamp(0),
        time: Some("2026-11-22T14:03:22.118403Z".to_owned()),
        duration_ms: 12.5,
        role: Role::Client,
        local: "10.0.0.5:51514".parse().unwrap(),
        remote: "10.0.0.7:8443".parse().unwrap(),
        netns: Some(4_026_531_840),
        pid: Some(4121),
        comm: Some("curl".to_owned()),
        cgroup: Some("/system.slice/app.service".to_owned()),
        sni: Some("api.local".to_owned()),
        preface: Vec::new(),
        version: Some("TLS 1.2".to_owned()),
        cipher: None,
        group: None,
        alpn: Alpn {
            offered: Some(vec!["h2".to_owned(), "http/1.1".to_owned()]),
            selected: None,
        },
        resumed: Some(false),
        resumption: None,
        encrypted_client_hello: Some(false),
        server_certificate: None,
        client_certificate: None,
        verdict: Verdict {
            outcome: Outcome::Failed,
            phase: Phase::ServerHello,
            initiator: Initiator::ClientApp,
            cause: Cause::CertificateExpired,
            confidence: Confidence::Certain,
            evidence: vec![
                Evidence {
                    at_ms: 3.25,
                    fact: "ServerHello, TLS 1.2".to_owned(),
                    decisive: false,
                },
                Evidence {
                    at_ms: 12.0,
                    fact: "fatal alert 45 (certificate_expired) from the client".to_owned(),
                    decisive: true,
                },
                Evidence {
                    at_ms: 12.5,
                    fact: "FIN sent by curl (pid 4121)".to_owned(),
                    decisive: false,
                },
            ],
        },
        notices: vec![Notice::AlpnNotNegotiated],
        early_data: None,
        alerts: Vec::new(),
        tcp: Tcp {
            opened_by: Some(End::Local),
            closed_by: Some(End::Local),
            close_kind: CloseKind::Fin,
            reset_reason: None,
            errno: None,
            retransmits: 0,
            client_hello_retransmits: 0,
        },
        phases_ms: PhasesMs::default(),
        peer_report: None,
        history: Vec::new(),
        http2: None,
        library: None,
    }
}

/// A server's end of a connection that did its work.
pub fn established() -> Report {
    let mut report = failed();
    report.role = Role::Server;
    report.comm = Some("nginx".to_owned());
    report.pid = Some(812);
    report.local = "[2001:db8::1]:443".parse().unwrap();
    report.remote = "[2001:db8::2]:40000".parse().unwrap();
    report.notices = vec![Notice::Unused];
    report.alpn.selected = Some("h2".to_owned());
    report.verdict = Verdict {
        outcome: Outcome::Established,
        phase: Phase::Established,
        initiator: Initiator::Unknown,
        cause: Cause::None,
        confidence: Confidence::Certain,
        evidence: Vec::new(),
    };
    report
}

/// A client whose server is killed every 40 seconds.
pub fn flap() -> Flap {
    Flap {
        schema: SCHEMA,
        flap: Change::On,
        time: Some("2026-11-22T14:03:22.118403Z".to_owned()),
        at: Timestamp(0),
        role: Role::Client,
        pid: Some(4121),
        comm: Some("web".to_owned()),
        cgroup: Some("/system.slice/web.service".to_owned()),
        peer: "billing.svc".to_owned(),
        port: 443,
        events: 9,
        planned: 0,
        span_s: 360.5,
        life_s: 40.2,
        variation: Some(0.01),
        period_s: Some(40.2),
        cause: Cause::ProcessKilled,
        cause_share: 1.0,
        grpc_disconnect_error: Disconnect::ConnectionReset,
        hint: Some("look for the OOM killer".to_owned()),
    }
}
