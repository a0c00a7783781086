//! How long connections live after their handshake, and who ends them again and again.

use prometheus::HistogramVec;

use super::{bounded::BoundedCounter, families::Families, flapping::Flapping, labels};
use crate::{
    flap::{self, Disconnect, FlapEvent},
    report::{GoAway, GoAwayDebug, H2Error, Phase, Report, Role, Sender},
};

/// Seconds. gRPC's and load balancers' timers are from 10 s to an hour.
const BUCKETS: [f64; 12] = [
    0.1, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
];

#[derive(Debug)]
pub struct Lifetimes {
    seconds: HistogramVec,
    disconnections: BoundedCounter<2>,
    goaways: BoundedCounter<3>,
    events: BoundedCounter<4>,
    pub flapping: Flapping,
    evicted: BoundedCounter<0>,
}

impl Lifetimes {
    pub fn new(families: &Families) -> prometheus::Result<Self> {
        Ok(Self {
            seconds: families.histogram_with(
                "tls_trace_connection_lifetime_seconds",
                "Time from the end of the handshake to the end of the connection.",
                &["role", "outcome"],
                &BUCKETS,
            )?,
            disconnections: families.bounded(
                "tls_trace_grpc_disconnections_total",
                "Connections that ended after their handshake and had offered nothing but HTTP/2, by the value gRFC A94 gives their end.",
                ["role", "grpc_disconnect_error"],
            )?,
            goaways: families.bounded(
                "tls_trace_h2_goaway_total",
                "HTTP/2 GOAWAY frames that local ends sent or received, by error code and by the texts that have a meaning of their own.",
                ["direction", "code", "debug"],
            )?,
            events: families.bounded(
                "tls_trace_flap_events_total",
                "Connections that were cut and opened anew, as docs/flapping.md defines them.",
                ["role", "cause", "class", "grpc_disconnect_error"],
            )?,
            flapping: Flapping::new(families)?,
            evicted: families.bounded(
                "tls_trace_flap_pairs_evicted_total",
                "Pairs of program and server that the detector of flaps forgot because there were too many.",
                [],
            )?,
        })
    }

    pub fn report(&mut self, report: &Report) {
        let role = report.role.label();
        if report.verdict.phase >= Phase::Finished {
            self.seconds
                .with_label_values(&[role, report.verdict.outcome.label()])
                .observe(flap::lifetime(report).as_secs_f64());
        }
        if let Some(disconnect) = Disconnect::of_grpc(report) {
            self.disconnections.add([role, disconnect.label()], 1);
        }
        for goaway in report.http2.iter().flat_map(|http2| &http2.goaways) {
            self.goaway(report.role, goaway);
        }
    }

    fn goaway(&mut self, role: Role, goaway: &GoAway) {
        let direction = match (role, goaway.from) {
            (Role::Client, Sender::Client) | (Role::Server, Sender::Server) => "sent",
            (Role::Client, Sender::Server) | (Role::Server, Sender::Client) => "received",
            (Role::Observer, _) => "observed",
        };
        let code = goaway.name.map_or(labels::OTHER, H2Error::label);
        let debug = GoAwayDebug::of(goaway.debug.as_deref()).label();
        self.goaways.add([direction, code, debug], 1);
    }

    pub fn event(&mut self, event: FlapEvent) {
        let labels = [
            event.role.label(),
            event.cause.label(),
            event.class.label(),
            event.disconnect.label(),
        ];
        self.events.add(labels, 1);
    }

    pub fn status(&mut self, flaps: flap::Stats) {
        self.evicted.raise([], flaps.evicted);
    }
}
