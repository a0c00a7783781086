//! What may come before TLS on the same connection: a header that a proxy puts in front, a tunnel that
//! is asked for, a protocol that starts TLS when the client asks it to.
//!
//! The client's part ([`Requests`]) is read request by request, because it says which protocol it is and
//! where TLS begins. The server's part ([`Reply`]) need only be passed over: its TLS begins after the
//! client's did.

mod reply;
mod request;
mod requests;

pub(super) use reply::{Reply, may_be_reply};
pub(super) use requests::{Requests, Step, begins, begins_header};

use crate::report::label::labels;

labels! {
    /// A protocol that TLS came after.
    pub enum Preface {
        /// PROXY protocol, version 1: one line in front.
        ProxyV1 = "proxy_v1",
        /// PROXY protocol, version 2: a binary header in front.
        ProxyV2 = "proxy_v2",
        /// A tunnel through an HTTP proxy (RFC 9110 §9.3.6).
        HttpConnect = "http_connect",
        /// A tunnel through a SOCKS 4 or 4a proxy.
        Socks4 = "socks4",
        /// A tunnel through a SOCKS 5 proxy (RFC 1928).
        Socks5 = "socks5",
        /// SSLRequest of PostgreSQL.
        PostgreSql = "postgresql",
        /// SSLRequest of MySQL and MariaDB.
        MySql = "mysql",
        /// STARTTLS of SMTP (RFC 3207) and LMTP.
        Smtp = "smtp",
        /// STARTTLS of IMAP (RFC 9051 §6.2.1).
        Imap = "imap",
        /// STLS of POP3 (RFC 2595 §4).
        Pop3 = "pop3",
        /// AUTH TLS of FTP (RFC 4217).
        Ftp = "ftp",
        /// starttls of XMPP (RFC 6120 §5).
        Xmpp = "xmpp",
        /// StartTLS of LDAP (RFC 4511 §4.14).
        Ldap = "ldap",
        /// STARTTLS of IRC.
        Irc = "irc",
    }
}

/// Most bytes before TLS in one direction: the header of a CONNECT with credentials and cookies, or a
/// few banners of a talkative server.
const MAX: usize = 8192;

/// Whether bytes begin as `beginning` does, as far as both go.
fn agree(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes
        .iter()
        .zip(beginning)
        .all(|(a, b)| a.eq_ignore_ascii_case(b))
}
