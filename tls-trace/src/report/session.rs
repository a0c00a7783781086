//! What is known of session and certificates.

use serde::{Deserialize, Serialize};

use super::label::labels;

labels! {
    /// How a session was resumed.
    pub enum Resumption {
        /// By its id (RFC 5246 §7.3).
        SessionId = "session_id",
        /// By a ticket (RFC 5077).
        Ticket = "ticket",
        /// By a pre-shared key (RFC 8446 §2.2): a ticket of TLS 1.3, or a key agreed elsewhere.
        Psk = "psk",
    }
}

labels! {
    /// Whether the client showed a certificate. In TLS 1.3 by the sizes of encrypted records.
    pub enum ClientCertificate {
        /// The server did not ask for one.
        NotRequested = "not_requested",
        /// It asked; the answer was not seen.
        Requested = "requested",
        /// The client had none to show.
        Empty = "empty",
        /// It showed one.
        Sent = "sent",
    }
}

/// What the server's certificate says of itself; up to TLS 1.2, where it is in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCertificate {
    /// Subject (RFC 4514), escaped.
    pub subject: String,
    /// Issuer (RFC 4514), escaped.
    pub issuer: String,
    /// DNS names and addresses it is for, the first few; escaped.
    pub names: Vec<String>,
    /// RFC 3339 in UTC.
    pub not_before: Option<String>,
    /// RFC 3339 in UTC.
    pub not_after: Option<String>,
    /// Whether it is for the server name asked for; absent when none was.
    pub name_matches: Option<bool>,
    /// Whether it was valid when the connection ended; absent where nobody knows the wall clock.
    pub valid: Option<bool>,
}

impl ServerCertificate {
    /// Sets [`Self::valid`] for a time, RFC 3339 in UTC.
    pub fn judge(&mut self, time: &str) {
        // Seconds are enough, and text of this form sorts as the times do.
        const SECONDS: usize = "2026-11-22T14:03:22".len();
        let until = |time: &str| time.get(..SECONDS).map(str::to_owned);
        let (from, to) = (self.not_before.as_deref(), self.not_after.as_deref());
        let times = (until(time), from.and_then(until), to.and_then(until));
        if let (Some(now), Some(from), Some(to)) = times {
            self.valid = Some(from <= now && now <= to);
        }
    }
}
