//! Compact times and addresses: 100,000 open connections have to fit in 25 MB.

use std::net::{IpAddr, SocketAddr};

use crate::event::Timestamp;

/// Microseconds since the first event of a connection, up to 71 minutes, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment(u32);

impl Moment {
    /// Did not happen.
    pub(super) const NEVER: Self = Self(u32::MAX);

    /// `at`, on a connection whose first event was at `first`.
    pub(super) fn new(first: Timestamp, at: Timestamp) -> Self {
        let micros = u32::try_from(at.since(first).as_micros()).unwrap_or(u32::MAX);
        Self(micros.min(u32::MAX - 1))
    }

    /// Whether it happened.
    pub(super) fn happened(self) -> bool {
        self != Self::NEVER
    }

    /// Keeps the first of several.
    pub(super) fn set_once(&mut self, at: Self) {
        if !self.happened() {
            *self = at;
        }
    }

    /// Milliseconds since the first event; 0 when it never happened.
    pub(super) fn ms(self) -> f64 {
        if self.happened() {
            f64::from(self.0) / 1e3
        } else {
            0.0
        }
    }

    /// Milliseconds from `earlier` to this; absent unless both happened.
    pub(super) fn ms_since(self, earlier: Self) -> Option<f64> {
        (self.happened() && earlier.happened())
            .then(|| f64::from(self.0.saturating_sub(earlier.0)) / 1e3)
    }

    /// The time it stands for.
    pub(super) fn timestamp(self, first: Timestamp) -> Timestamp {
        Timestamp(first.0.saturating_add(u64::from(self.0) * 1000))
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self::NEVER
    }
}

/// Milliseconds from `earlier` to `later`, to the microsecond.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53 microseconds, which is 285 years"
)]
pub(super) fn ms_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.since(earlier).as_micros() as f64 / 1e3
}

/// An address without the fields of [`SocketAddr`] that no source fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Endpoint {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

impl Endpoint {
    /// Not known yet.
    pub(super) const UNKNOWN: Self = Self {
        ip: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        port: 0,
    };

    /// Whether this names one end: the kernel clears addresses when a socket is disconnected.
    pub(super) fn is_known(self) -> bool {
        self.port != 0 && !self.ip.is_unspecified()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
        }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip, endpoint.port)
    }
}
