//! The closed sets of a verdict other than its cause.

use super::label::{explained_labels, labels};

explained_labels! {
    /// How it went.
    pub enum Outcome {
        /// The handshake completed; the connection ended gracefully or is still open.
        Established = "established" {
            proof: "Both Finished were seen (TLS 1.2), or the server sent records after the client's Finished (TLS 1.3).",
            usual: "Ordinary traffic.",
            next: "Nothing; `notices` may have something to say.",
        },
        /// The handshake did not complete, or was rejected right after it seemed to.
        Failed = "failed" {
            proof: "An alert, a close, a timeout or bytes that are not TLS before the handshake was done.",
            usual: "See the cause.",
            next: "See the cause; `tls-trace tail -v` shows the evidence.",
        },
        /// The handshake completed; later a reset, a timeout, a kill or an error of HTTP/2 ended the connection.
        Broken = "broken" {
            proof: "An end of TCP that is neither FIN nor close_notify, after the handshake; or what HTTP/2 shows of an end against somebody's wish.",
            usual: "TLS is not to blame: processes that end, idle timeouts of devices between, networks that fail, servers that send GOAWAY.",
            next: "See the cause, and `duration_ms`: equal durations point at a timer.",
        },
        /// The client left before it sent anything: a health check, nobody's fault.
        Aborted = "aborted" {
            proof: "The client closed a connection without a payload byte in either direction.",
            usual: "TCP health checks of load balancers, sockets opened in advance, port scans.",
            next: "Nothing.",
        },
        /// The trace began late or events were lost: the handshake was not seen whole.
        Incomplete = "incomplete" {
            proof: "The opening was not seen, bytes are missing, or the capture bound was reached; the evidence says which.",
            usual: "Connections that were open before the tracer started.",
            next: "Nothing at the start. Later: `tls_trace_events_lost_total`, and `run --ring-buffer` for more room.",
        },
    }
}

impl Outcome {
    /// Whether a connection failed or broke, as opposed to one that did its work, was never used, or was not seen
    /// whole.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Broken)
    }
}

explained_labels! {
    /// The furthest point the connection reached.
    pub enum Phase {
        /// TCP is not open yet.
        Connect = "connect" {
            proof: "SYN was sent, the socket never reached ESTABLISHED.",
            usual: "A failure here is the network's or a missing listener's.",
            next: "Routes, firewalls, `ss -ltn` on the server.",
        },
        /// TCP is open, nothing was sent.
        Connected = "connected" {
            proof: "The socket reached ESTABLISHED; no ClientHello was seen.",
            usual: "A failure here: the client is silent or speaks something else.",
            next: "What the client sends, and whether the port is the right one.",
        },
        /// A ClientHello (or its beginning) was sent.
        ClientHello = "client_hello" {
            proof: "The first bytes of a ClientHello.",
            usual: "A failure here: the server does not answer, or refuses version, name, cipher suites or ALPN.",
            next: "The server's log and its list of versions, cipher suites and names.",
        },
        /// A ServerHello was sent; what follows is not complete.
        ServerHello = "server_hello" {
            proof: "A ServerHello.",
            usual: "A failure here, in TLS 1.2: the client does not accept the certificate, or the rest of the flight is lost.",
            next: "The client's log; the certificate; the MTU.",
        },
        /// Handshake messages behind encryption are under way.
        EncryptedHandshake = "encrypted_handshake" {
            proof: "Encrypted records or ChangeCipherSpec after the ServerHello.",
            usual: "A failure here, in TLS 1.3: the client does not accept the certificate. In TLS 1.2: keys that do not match.",
            next: "The client's log; `openssl s_client -verify_return_error`.",
        },
        /// This handshake is done for the client; nothing came from the server since.
        Finished = "finished" {
            proof: "TLS 1.3: records of the client after the server's flight that fit its Finished.",
            usual: "A failure here: the server does not accept the client's certificate.",
            next: "The server's log.",
        },
        /// Both ends completed the handshake.
        Established = "established" {
            proof: "Both Finished were seen (TLS 1.2), or records of the server after the client's Finished (TLS 1.3).",
            usual: "An end here has to do with the application or the network, not with TLS.",
            next: "See the cause.",
        },
        /// The HTTP/2 client sent its preface (RFC 9113 §3.4); the server has not answered it.
        H2PrefaceSent = "h2_preface_sent" {
            proof: "ALPN is HTTP/2, and the client's first records after the handshake have the size of preface and SETTINGS, or its library says so.",
            usual: "An end here: nothing behind the server's TLS speaks HTTP/2, or it is too busy. gRPC stays in CONNECTING, then TRANSIENT_FAILURE.",
            next: "The server's process, or the proxy's backend.",
        },
        /// The HTTP/2 server's SETTINGS came: what gRPC calls READY.
        H2Ready = "h2_ready" {
            proof: "The server's first record after the handshake and its tickets has the size of SETTINGS, or a library says so.",
            usual: "An end here is one of a connection in use. gRPC goes to IDLE and connects anew at once, without back-off.",
            next: "See the cause.",
        },
    }
}

explained_labels! {
    /// Who ended it. A process that was killed is `…_app`.
    pub enum Initiator {
        /// The client's program or its TLS library.
        ClientApp = "client_app" {
            proof: "Its alert, or its close before anything came from the other end.",
            usual: "It does not accept the certificate, loses patience, or is stopped.",
            next: "The client's log at this time.",
        },
        /// The client's kernel: a timer, a missing listener, an administrator.
        ClientKernel = "client_kernel" {
            proof: "A socket error that no segment from outside caused.",
            usual: "The network loses segments until a timer runs out.",
            next: "The network between, from the client's side.",
        },
        /// The server's program or its TLS library.
        ServerApp = "server_app" {
            proof: "Its alert, or its close before anything came from the other end.",
            usual: "It does not accept version, name or the client's certificate, or is stopped.",
            next: "The server's log at this time.",
        },
        /// The server's kernel.
        ServerKernel = "server_kernel" {
            proof: "An RST in answer to SYN, or a socket error that no segment from outside caused.",
            usual: "Nobody listens, or segments get lost until a timer runs out.",
            next: "`ss -ltn` on the server; the network between, from the server's side.",
        },
        /// Neither end: a router, a firewall, a cut cable.
        Network = "network" {
            proof: "An ICMP error, or an RST that the peer did not send.",
            usual: "A firewall, a missing route.",
            next: "Whoever runs what is between the ends.",
        },
        /// Not provable from here.
        Unknown = "unknown" {
            proof: "Nothing.",
            usual: "It is still open, or its end was not seen.",
            next: "Trace the other end, too.",
        },
    }
}

explained_labels! {
    /// How far the verdict is proven.
    pub enum Confidence {
        /// The kernel, a plaintext alert or the TLS library said so.
        Certain = "certain" {
            proof: "A kernel event, an alert in the clear, bytes in the clear.",
            usual: "Everything but TLS 1.3 behind encryption.",
            next: "Act on it.",
        },
        /// The shape of encrypted records or timing says so.
        Likely = "likely" {
            proof: "Sizes, types and order of encrypted records, or who was quiet for how long.",
            usual: "TLS 1.3: alerts and certificates are encrypted.",
            next: "Confirm it in the log of the end that ended it.",
        },
        /// No proof.
        Unknown = "unknown" {
            proof: "Nothing.",
            usual: "The connection was not seen whole.",
            next: "Take the verdict for a description, not for a finding.",
        },
    }
}

explained_labels! {
    /// What became of early data (RFC 8446 §4.2.10).
    pub enum EarlyDataOutcome {
        /// The ClientHello had no early_data extension.
        NotOffered = "not_offered" {
            proof: "The ClientHello.",
            usual: "Nearly every client.",
            next: "Nothing.",
        },
        /// The server took it.
        Accepted = "accepted" {
            proof: "The server selected the pre-shared key, and the client sent a record of EndOfEarlyData's size right before its Finished; where the library does not say otherwise, as four bytes of data have that size, too.",
            usual: "Resumed connections of a client and a server that both want it.",
            next: "Nothing; what comes as early data can be replayed (RFC 8446 §8).",
        },
        /// The server went on without it.
        Rejected = "rejected" {
            proof: "HelloRetryRequest, a ServerHello without pre_shared_key, alert 110, or a Finished without EndOfEarlyData before.",
            usual: "See the reason.",
            next: "Nothing for correctness: the client sends the data again after the handshake.",
        },
        /// The handshake failed before the answer.
        Aborted = "aborted" {
            proof: "The connection ended before it was known.",
            usual: "See the cause.",
            next: "See the cause.",
        },
        /// Not provable from here.
        Unknown = "unknown" {
            proof: "Nothing: records are missing or padded, the cipher suite's sizes are not known, or data had the size of an EndOfEarlyData or a Finished.",
            usual: "Bytes that were not captured, a library that pads its records, early data of 4 bytes.",
            next: "The log of an end: nginx `$ssl_early_data`, OpenSSL `SSL_get_early_data_status`.",
        },
    }
}

explained_labels! {
    /// Why early data was rejected.
    pub enum EarlyDataReason {
        /// The server sent HelloRetryRequest.
        HelloRetryRequest = "hello_retry_request" {
            proof: "A HelloRetryRequest after a ClientHello with early_data.",
            usual: "The client's first key share is not for a group of the server's.",
            next: "See the notice `hello_retry_request`.",
        },
        /// The server did not take the PSK: unknown, expired or replayed ticket.
        PskNotAccepted = "psk_not_accepted" {
            proof: "A ServerHello without pre_shared_key.",
            usual: "The server was restarted, or another one of several answered, and they do not share ticket keys.",
            next: "Share and rotate ticket keys: nginx `ssl_session_ticket_key`, Envoy `session_ticket_keys`.",
        },
        /// The server selects another application protocol than the session had.
        AlpnMismatch = "alpn_mismatch" {
            proof: "The library: the PSK was accepted, and the session's protocol is not the one selected.",
            usual: "HTTP/2 was switched on or off on the server, or a client resumes a session of another kind of request.",
            next: "Keep sessions by server and by the protocols that were offered.",
        },
        /// The ticket's age by the client's clock is not what the server measured.
        TicketAge = "ticket_age" {
            proof: "The server's library: the PSK was accepted, the application protocol is the same, and still early data is not allowed (RFC 8446 §8.3).",
            usual: "A clock that was set, a machine that slept, a client's hello that was delayed for more than 10 seconds: also what a replay looks like.",
            next: "The clocks of both ends (`chronyc tracking`).",
        },
        /// The server does not want early data, or not of this connection.
        ServerPolicy = "server_policy" {
            proof: "The server's library: nothing speaks against the early data but the application.",
            usual: "`max_early_data` was set to 0 since the ticket was issued, the application does not read early data, or its callback said no.",
            next: "nginx `ssl_early_data on`, haproxy `allow-0rtt`; in a program of your own SSL_read_early_data().",
        },
        /// The server selects an older version, which has no early data.
        ProtocolVersion = "protocol_version" {
            proof: "A ServerHello of TLS 1.2 or older in answer to a ClientHello with early_data.",
            usual: "TLS 1.3 was switched off since the ticket was issued, or on one of several servers.",
            next: "The same versions on all servers of one name.",
        },
        /// The session that is resumed does not allow early data.
        UnsuitableSession = "unsuitable_session" {
            proof: "The library's stated reason (BoringSSL `unsupported_for_session`).",
            usual: "The ticket was issued before early data was switched on.",
            next: "Nothing: the next ticket allows it.",
        },
        /// More early data than the server said it would take.
        TooMuchData = "too_much_data" {
            proof: "The library of the end that objects (OpenSSL reason 164, BoringSSL 270 and 300).",
            usual: "The server's limit was lowered since the ticket was issued, or a client that does not heed it.",
            next: "The same `max_early_data_size` on all servers of one name, and no more than that from the client.",
        },
        /// The server aborts when it is offered (alert 110).
        Unsupported = "unsupported" {
            proof: "A fatal alert 110 from the server in answer to a ClientHello with early_data.",
            usual: "A Go server: crypto/tls has no early data over TCP. The ticket is from another server behind the same name.",
            next: "See the cause `unsupported_extension`.",
        },
    }
}
