//! What to look at or change, as far as cause and period tell.

use std::time::Duration;

use crate::report::Cause;

/// Timers that cut what lives or rests for so long, in seconds. Sources: the vendors' documentation of
/// idle timeouts, and defaults of gRPC and nginx.
const TIMERS: [(f64, &str); 6] = [
    (
        20.0,
        "gRPC's default wait for a server's SETTINGS and for a keepalive answer",
    ),
    (
        60.0,
        "the default idle timeout of AWS ELB and ALB, and of many proxies",
    ),
    (75.0, "nginx' default keepalive_timeout"),
    (240.0, "the default idle timeout of Azure's load balancer"),
    (350.0, "the idle timeout of AWS NLB"),
    (600.0, "the idle timeout of Google Cloud's load balancers"),
];

/// A timer's name is worth mentioning where the period is this near, as a share of it.
const NEAR: f64 = 0.02;

/// A sentence without its full stop.
pub(super) fn hint(cause: Cause, period: Option<Duration>) -> Option<String> {
    let period = period.map(|period| period.as_secs_f64());
    let certificate = "renew or replace the certificate, or the trust in its issuer: until then every attempt fails";
    match cause {
        Cause::ProcessKilled => Some(
            "the server's process is killed again and again: look for the OOM killer, a failing \
             liveness probe, a crash"
                .to_owned(),
        ),
        Cause::CertificateExpired
        | Cause::CertificateUnknownCa
        | Cause::CertificateBad
        | Cause::CertificateUnknown
        | Cause::CertificateRevoked => Some(certificate.to_owned()),
        Cause::CertificateRequired => Some(
            "the server insists on a client certificate: give the client one it accepts".to_owned(),
        ),
        Cause::AlpnRejectedByApp | Cause::NoApplicationProtocol => Some(
            "the client wants HTTP/2 and the server does not select it: configure ALPN h2 on the \
             server or the proxy before it"
                .to_owned(),
        ),
        Cause::KeepaliveTimeout | Cause::RetransmitTimeout => Some(
            "the peer or the path to it goes silent: look for dropped packets, a paused peer, a \
             firewall that forgets connections"
                .to_owned(),
        ),
        Cause::H2GoawayTooManyPings => Some(too_many_pings(period)),
        Cause::H2GoawayMaxAge | Cause::H2GoawayMaxIdle => Some(limited(cause, period)),
        Cause::H2GoawayGraceful => Some(
            "the server is being replaced or reloaded again and again, or limits requests: look at \
             its rollouts, nginx keepalive_requests and keepalive_timeout"
                .to_owned(),
        ),
        Cause::H2SettingsTimeout => Some(
            "what accepts the connection does not speak HTTP/2 in time: look at the server's \
             threads and CPU, behind a proxy at its backends"
                .to_owned(),
        ),
        Cause::H2PingTimeout => Some(
            "keepalive pings are not answered: look for a paused or throttled peer, dropped \
             packets, a firewall that forgets connections"
                .to_owned(),
        ),
        Cause::H2ClosedBeforeSettings | Cause::Http1OnH2 => Some(
            "what is behind the server's TLS does not speak HTTP/2: look at the proxy's protocol \
             to its backend, and at its ALPN list"
                .to_owned(),
        ),
        Cause::TcpUserTimeout => Some(
            "TCP_USER_TIMEOUT is short for this path: gRPC sets it to its keepalive Timeout; look \
             for loss"
                .to_owned(),
        ),
        Cause::IdleTimeoutMiddlebox => Some(match period {
            Some(period) => format!("keepalive has to be shorter than {}", timer(period)),
            None => "keepalive has to be shorter than the idle timeout of the device between"
                .to_owned(),
        }),
        _ => period.map(timer),
    }
}

/// The server closes at the fourth ping that comes too soon.
fn too_many_pings(period: Option<f64>) -> String {
    match period.map(|period| period / 4.0) {
        Some(keepalive) => format!(
            "the client's gRPC keepalive is {keepalive:.1} s, below the server's minimum (5 min by \
             default): raise it, or lower the server's MinTime"
        ),
        None => "the client's gRPC keepalive is below the server's minimum (5 min by default): \
                 raise it, or lower the server's MinTime"
            .to_owned(),
    }
}

fn limited(cause: Cause, period: Option<f64>) -> String {
    let limit = match cause {
        Cause::H2GoawayMaxAge => "MaxConnectionAge",
        _ => "MaxConnectionIdle",
    };
    match period {
        Some(period) => format!("the server's {limit} is about {period:.1} s: make it longer"),
        None => format!("the server's {limit} is short: make it longer"),
    }
}

fn timer(period: f64) -> String {
    let known = TIMERS
        .iter()
        .find(|(seconds, _)| (period - seconds).abs() < seconds * NEAR);
    match known {
        Some((_, name)) => format!("a timer of {period:.1} s: {name}"),
        None => format!("a timer of {period:.1} s on the server or between"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_names_its_timer() {
        let hint = |cause, seconds| hint(cause, Some(Duration::from_secs_f64(seconds)));
        let of = |seconds| hint(Cause::ResetByPeer, seconds).unwrap();
        assert!(
            of(350.4).ends_with("the idle timeout of AWS NLB"),
            "{}",
            of(350.4)
        );
        assert!(
            of(33.0).ends_with("on the server or between"),
            "{}",
            of(33.0)
        );
        assert_eq!(super::hint(Cause::ResetByPeer, None), None);
        assert!(hint(Cause::ProcessKilled, 60.0).unwrap().contains("OOM"));
        let pings = hint(Cause::H2GoawayTooManyPings, 40.17).unwrap();
        assert!(pings.contains("keepalive is 10.0 s"), "{pings}");
        let age = hint(Cause::H2GoawayMaxAge, 30.0).unwrap();
        assert!(age.contains("MaxConnectionAge is about 30.0 s"), "{age}");
    }
}
