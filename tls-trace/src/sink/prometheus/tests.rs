use super::*;
use crate::{
    event::{ConnectionId, EventKind, Timestamp},
    flap::{Class, Disconnect},
    probe::Object,
    report::{
        Cause, Confidence, EarlyData, EarlyDataOutcome, EarlyDataReason, GoAway, H2Error, Http2,
        Outcome, PhasesMs, Role, Sender,
    },
    sink::sample,
    source::live::Lost,
};

fn handshake() -> Handshake {
    let failed = sample::failed();
    Handshake {
        began: Timestamp(0),
        local: Some(failed.local),
        remote: Some(failed.remote),
        pid: failed.pid,
        server_name: failed.sni,
        role: Role::Client,
        outcome: Outcome::Failed,
        phase: failed.verdict.phase,
        cause: failed.verdict.cause,
        initiator: failed.verdict.initiator,
        version: failed.version,
        alpn_offered: failed.alpn.offered.unwrap(),
        phases: PhasesMs {
            server_hello: Some(3.0),
            ..PhasesMs::default()
        },
        library: Some(crate::event::LibraryName::Openssl),
        duration_ms: Some(12.0),
    }
}

/// Metrics in which every family has a series.
fn filled() -> Metrics {
    let mut metrics = Metrics::new().unwrap();
    let mut report = sample::failed();
    report.tcp.client_hello_retransmits = 2;
    report.early_data = Some(EarlyData {
        outcome: EarlyDataOutcome::Rejected,
        reason: Some(EarlyDataReason::TicketAge),
    });
    metrics.report(&report);
    metrics.handshake(&handshake());
    metrics.events(&[Event {
        time: Timestamp(0),
        connection: ConnectionId(1),
        kind: EventKind::ResetReceived,
    }]);
    metrics.flap(&sample::flap());
    metrics.flap_event(&FlapEvent {
        role: Role::Client,
        cause: Cause::ProcessKilled,
        class: Class::Unplanned,
        disconnect: Disconnect::ConnectionReset,
    });
    let mut grpc = sample::established();
    grpc.alpn.offered = Some(vec!["h2".to_owned()]);
    grpc.http2 = Some(Http2 {
        goaways: vec![GoAway {
            at_ms: 1.0,
            from: Sender::Server,
            code: 11,
            name: Some(H2Error::EnhanceYourCalm),
            debug: Some("too_many_pings".to_owned()),
            confidence: Confidence::Certain,
        }],
    });
    metrics.report(&grpc);
    metrics.set_hooks(&[HookReport {
        name: "tcp_fin",
        object: Object::TcpKprobe,
        purpose: "",
        required: false,
        state: HookState::Skipped {
            reason: String::new(),
        },
    }]);
    let lost = Lost {
        stage: "ring_buffer",
        reason: "signal",
        count: 2,
    };
    metrics.status(&Status {
        lost: vec![lost, lost],
        maps: vec![("DONE", 3, 8)],
        processes: [(["covered", "openssl_ssl"], 2)].into(),
        unreadable: [("truncated", 1)].into(),
        ..Status::default()
    });
    metrics
}

#[test]
fn a_failure_is_counted_by_its_verdict() {
    let text = filled().exposition().text().unwrap();
    for line in [
        r#"tls_trace_handshakes_total{cause="certificate_expired",grpc_tls_handshake_result="CERTIFICATE_EXPIRED",initiator="client_app",outcome="failed",phase="server_hello",role="client",version="TLS 1.2"} 1"#,
        r#"tls_trace_connections_total{cause="certificate_expired",initiator="client_app",outcome="failed",role="client"} 1"#,
        r#"tls_trace_tcp_closes_total{closed_by="client",initiator="client_app",kind="fin",reason="none"} 1"#,
        r#"tls_trace_handshake_phase_duration_seconds_sum{phase="server_hello",role="client"} 0.003"#,
        r#"tls_trace_handshake_duration_seconds_count{outcome="failed",role="client"} 1"#,
        r#"tls_trace_client_hello_retransmits_total{role="client"} 2"#,
        r#"tls_trace_alpn_offered_total{protocol="h2",role="client"} 1"#,
        r#"tls_trace_notices_total{notice="alpn_not_negotiated",role="client"} 1"#,
        r#"tls_trace_library_handshakes_total{library="openssl",outcome="failed",role="client"} 1"#,
        r#"tls_trace_early_data_total{library="none",outcome="rejected",reason="ticket_age",role="client"} 1"#,
        r#"tls_trace_events_total{kind="reset_received"} 1"#,
        r#"tls_trace_events_lost_total{reason="signal",stage="ring_buffer"} 4"#,
        r#"tls_trace_hook_attached{hook="tcp_fin",object="tcp_kprobe",state="skipped"} 0"#,
        r#"tls_trace_flap_events_total{cause="process_killed",class="unplanned",grpc_disconnect_error="connection reset",role="client"} 1"#,
        r#"tls_trace_flapping{cause="process_killed",peer="billing.svc:443",process="web",role="client"} 1"#,
        r#"tls_trace_grpc_disconnections_total{grpc_disconnect_error="GOAWAY ENHANCE_YOUR_CALM",role="server"} 1"#,
        r#"tls_trace_h2_goaway_total{code="ENHANCE_YOUR_CALM",debug="too_many_pings",direction="sent"} 1"#,
        r#"tls_trace_connection_lifetime_seconds_count{outcome="established",role="server"} 1"#,
        r#"tls_trace_map_entries{map="DONE"} 3"#,
        r#"tls_trace_processes{coverage="covered",library="openssl_ssl"} 2"#,
        r#"tls_trace_library_errors_total{error="truncated"} 1"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nin\n{text}"
        );
    }
}

#[test]
fn connections_without_a_client_hello_offer_nothing() {
    let mut metrics = Metrics::new().unwrap();
    let mut handshake = handshake();
    handshake.phase = Phase::Connected;
    handshake.alpn_offered = Vec::new();
    metrics.handshake(&handshake);
    let text = metrics.exposition().text().unwrap();
    assert!(!text.contains("tls_trace_alpn_offered_total{"), "{text}");
}

#[test]
fn what_strangers_send_makes_no_series() {
    let mut metrics = Metrics::new().unwrap();
    for number in 0..2000 {
        let mut handshake = handshake();
        handshake.version = Some(format!("0x{number:04x}"));
        handshake.alpn_offered = vec![format!("protocol {number}")];
        metrics.handshake(&handshake);
    }
    let text = metrics.exposition().text().unwrap();
    assert!(
        text.contains(r#"role="client",version="other"} 2000"#),
        "{text}"
    );
    assert!(
        text.contains(r#"{protocol="other",role="client"} 2000"#),
        "{text}"
    );
}

#[test]
fn every_family_is_documented_and_named_by_the_rules() {
    let docs = include_str!("../../../../docs/metrics.md");
    for family in filled().exposition().registry.gather() {
        let name = family.name();
        assert!(
            docs.contains(&format!("`{name}`")),
            "{name} is not documented"
        );
        assert!(family.help().ends_with('.'), "{name}: help is no sentence");
        let counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
        assert_eq!(counter, name.ends_with("_total"), "{name}");
    }
}

#[test]
fn explained_labels_are_labels_of_the_metrics_they_name() {
    let families = filled().exposition().registry.gather();
    for set in crate::explain::sets() {
        for metric in set.metrics {
            let family = families.iter().find(|family| family.name() == *metric);
            let series = &family.unwrap().get_metric()[0];
            let label = series.get_label().iter().find(|l| l.name() == set.name);
            assert!(label.is_some(), "{metric} has no label {}", set.name);
        }
    }
}
