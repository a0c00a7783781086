//! What is worth knowing of a connection beside its verdict.

use super::label::{explained_labels, labels};

explained_labels! {
    /// True and worth counting, not a failure by itself.
    pub enum Notice {
        /// The client offered ALPN, the server selected nothing.
        AlpnNotNegotiated = "alpn_not_negotiated" {
            proof: "TLS 1.2 and before: no ALPN in the ServerHello. TLS 1.3 hides the answer: there the library of this end has to say it.",
            usual: "The server has no list of protocols; the connection then speaks HTTP/1.1 or whatever both assume.",
            next: "If gRPC or HTTP/2 is wanted: nginx `http2 on`, Envoy `alpn_protocols`, Go `NextProtos`.",
        },
        /// The server asked for another ClientHello (RFC 8446 §4.1.4): one round trip more.
        HelloRetryRequest = "hello_retry_request" {
            proof: "A HelloRetryRequest.",
            usual: "The client's first key share is for a group that the server does not want, such as X25519 where only P-256 or a post-quantum group is allowed.",
            next: "Put a group of the server's first in the client (OpenSSL `Groups`, Go `CurvePreferences`), or allow the client's on the server (nginx `ssl_ecdh_curve`).",
        },
        /// The ClientHello had to be sent again.
        ClientHelloRetransmitted = "client_hello_retransmitted" {
            proof: "The kernel retransmitted a segment with ClientHello bytes, or it was seen twice.",
            usual: "Loss on the path; a large (post-quantum) ClientHello and an MTU that is too small.",
            next: "A few are normal. Many to one peer: see `client_hello_lost`.",
        },
        /// The handshake took longer than one second.
        SlowHandshake = "slow_handshake" {
            proof: "Time from the ClientHello's first byte to the end of the handshake.",
            usual: "Loss and retransmission, a long path, a server starved of CPU, calls made during the handshake (OCSP, key services).",
            next: "`phases_ms` shows where: `server_hello` is the server or the path, `rest` is certificates and the client.",
        },
        /// The handshake was begun anew on the same connection (RFC 5246 §7.4.1), up to TLS 1.2.
        Renegotiation = "renegotiation" {
            proof: "An encrypted handshake record after both Finished.",
            usual: "A server that asks for the client's certificate only for some paths (Apache `SSLVerifyClient` in a `Location`), or old software that renews its keys.",
            next: "Nothing, unless it fails: many libraries refuse it (Go, BoringSSL, OpenSSL 3 from clients). Ask for the certificate in the first handshake, or use TLS 1.3.",
        },
        /// The connection carried no application data.
        Unused = "unused" {
            proof: "No record of application data from the client, none from the server in TLS 1.2, and nothing was missed.",
            usual: "Health checks, connections opened in advance, benchmarks of handshakes.",
            next: "Nothing, unless it is most of the traffic: handshakes cost CPU.",
        },
        /// The connection ended without close_notify (RFC 8446 §6.1).
        NoCloseNotify = "no_close_notify" {
            proof: "Both ends spoke, nobody sent an alert, and it ended with FIN.",
            usual: "Many HTTP programs close without it. OpenSSL 3 reports this to its application as `unexpected eof while reading`.",
            next: "Nothing where the protocol has lengths of its own. Else call `SSL_shutdown` before closing.",
        },
        /// The client closed with session tickets unread, so its kernel sent RST.
        ClosedWithUnreadTickets = "closed_with_unread_tickets" {
            proof: "A TLS 1.3 client closed an unused connection, its kernel's reason is unread data, and the server had sent records after the handshake.",
            usual: "Short connections of curl, `openssl s_time`, GnuTLS; the server logs `connection reset by peer`.",
            next: "Harmless. To be rid of the resets send no tickets: nginx `ssl_session_tickets off`, OpenSSL `SSL_CTX_set_num_tickets(ctx, 0)`.",
        },
        /// Early data was offered and rejected.
        EarlyDataRejected = "early_data_rejected" {
            proof: "See the report's `early_data.reason`.",
            usual: "A restarted server, or one of several that do not share ticket keys.",
            next: "Nothing for correctness: the client sends the data again. For speed: share ticket keys (nginx `ssl_session_ticket_key`), and `ssl_early_data on` everywhere.",
        },
        /// The server asked to move on to another connection: GOAWAY NO_ERROR (RFC 9113 §6.8).
        H2Goaway = "h2_goaway" {
            proof: "See the causes `h2_goaway_max_age`, `h2_goaway_max_idle` and `h2_goaway_graceful`.",
            usual: "Rollouts, and limits on how long connections live or rest.",
            next: "Nothing: calls under way may finish, new ones take another connection.",
        },
        /// An end took long to acknowledge the other's SETTINGS (RFC 9113 §6.5.3).
        H2SettingsAckLate = "h2_settings_ack_late" {
            proof: "Time from the record of an end's SETTINGS to that of the acknowledgement, more than 10 s.",
            usual: "An end that is starved of CPU or paused, loss on the path.",
            next: "CPU of the end that is late (`cpu.stat` for throttling). Its peer may close with GOAWAY SETTINGS_TIMEOUT.",
        },
        /// The wire and the TLS library disagree.
        Contradiction = "contradiction" {
            proof: "Version, alert received or fate of early data are one by the wire and another by the library.",
            usual: "It should not happen: a defect of tls-trace, or a library whose structs are not what its code says.",
            next: "Please report it, with the evidence and the output of `tls-trace inspect` for the library.",
        },
    }
}
