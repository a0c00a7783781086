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
        _ => period.map(timer),
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
    }
}
