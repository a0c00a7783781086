//! Why a connection ended: every cause the engine knows, and what to do about it.

use super::label::{explained_labels, labels};

explained_labels! {
    /// Why it ended: the most specific cause that is proven.
    pub enum Cause {
        /// Nothing went wrong.
        None = "none" {
            proof: "The handshake completed and nothing broke the connection, or the client left before it sent a byte.",
            usual: "Ordinary traffic; health checks that only open TCP.",
            next: "Nothing.",
        },
        /// Not provable from here.
        Unknown = "unknown" {
            proof: "Nothing: the evidence says what is missing.",
            usual: "The connection was open before tracing began, some of its bytes were not captured, or the kernel gives no reason.",
            next: "`tls-trace check` shows missing hooks, `tls_trace_events_lost_total` lost events. Trace the other end, too.",
        },

        /// SYN was answered with RST: nobody listens there.
        ConnectRefused = "connect_refused" {
            proof: "An RST answered the SYN, or the socket got ECONNREFUSED.",
            usual: "The server is down, still starting, or listens on another address or port; a firewall rejects with a TCP reset.",
            next: "On the server `ss -ltn 'sport = :PORT'`, and compare addresses: 127.0.0.1 is not 0.0.0.0, and neither is `[::1]`. In Kubernetes `kubectl get endpointslices`: readiness and targetPort.",
        },
        /// SYN was never answered.
        ConnectTimeout = "connect_timeout" {
            proof: "ETIMEDOUT while connecting, or the client gave up after its SYN had been sent again.",
            usual: "A firewall or security group drops the SYN, the host is down, the route back is missing, or the listener's queue is full.",
            next: "`tcpdump -ni any 'tcp port PORT and tcp[tcpflags] & tcp-syn != 0'` on both hosts: does the SYN arrive, does an answer leave? If it arrives and none leaves: `nstat -az TcpExtListenDrops TcpExtListenOverflows`.",
        },
        /// The network answered that the destination cannot be reached (ICMP or no route).
        Unreachable = "unreachable" {
            proof: "The socket got EHOSTUNREACH, ENETUNREACH or another error that ICMP or a missing route leaves.",
            usual: "No route, no neighbour on the last hop, a firewall that rejects with ICMP, an IPv6 address without IPv6.",
            next: "In the client's network namespace `ip route get ADDRESS` and `ip neigh`; firewall rules with `REJECT` (iptables) or `reject` (nftables).",
        },
        /// The client gave up connecting before TCP was open.
        ConnectCancelled = "connect_cancelled" {
            proof: "The socket was closed while connecting, after a single SYN.",
            usual: "Another address was faster (Happy Eyeballs, RFC 8305), a connect timeout shorter than the round trip, a request that was cancelled.",
            next: "Usually nothing. If it hits one server: the connect timeout (`curl --connect-timeout`, Go `net.Dialer.Timeout`, Envoy `connect_timeout`).",
        },
        /// The accept queue of the listening socket was full: the server's kernel dropped what would
        /// have opened the connection.
        ListenOverflow = "listen_overflow" {
            proof: "A SYN, or the ACK after it, reached a listening socket on this host whose accept queue was longer than its backlog, and nothing of the server came after it. Only where both ends are on this host: at the server, a client that tries again later is not told from one that does not.",
            usual: "The server does not call accept() fast enough, or at all: busy, stopped, out of threads or file descriptors; a backlog that is too short.",
            next: "On the server `ss -ltn 'sport = :PORT'`: Recv-Q above Send-Q is the full queue. What the server waits for (`cat /proc/PID/task/*/wchan`, its descriptor limit); listen()'s backlog and `net.core.somaxconn`.",
        },
        /// The listening socket was closed with this connection still in its queue.
        ListenerClosed = "listener_closed" {
            proof: "An RST from a socket that no process had accepted, without `SO_LINGER`.",
            usual: "The server restarts or stops, often because it had stopped calling accept().",
            next: "Drain before stopping (readiness off first, `preStop` in Kubernetes); hand the listener over: socket activation, nginx `reload`, Envoy hot restart; with `SO_REUSEPORT`: `net.ipv4.tcp_migrate_req=1`.",
        },
        /// The peer sent RST; why is not visible from here.
        ResetByPeer = "reset_by_peer" {
            proof: "An RST was received, or the socket got ECONNRESET or EPIPE.",
            usual: "The peer closed with unread data or with `SO_LINGER` 0, its process ended, or a load balancer or NAT had forgotten the connection.",
            next: "Trace the peer: its kernel knows the reason. After idle time compare with the timeouts between: AWS NLB 350 s, Azure load balancer 4 min; keepalive has to be shorter.",
        },
        /// The application closed with `SO_LINGER` 0.
        ResetLinger = "reset_linger" {
            proof: "The kernel's reason for its RST (12), or `SO_LINGER` with time 0 on the closed socket.",
            usual: "A program that drops connections on purpose: nginx `reset_timedout_connection`, HAProxy `option nolinger`, Go `SetLinger(0)`; port scanners.",
            next: "The log of the program that the evidence names, at this time. If it was a timeout, the question is why the handshake took so long.",
        },
        /// The application closed with data it had not read, so its kernel sent RST.
        ResetUnreadData = "reset_unread_data" {
            proof: "The kernel's reason for its RST (11), or unread bytes on the closed socket.",
            usual: "One end gave up while the other was sending: a timeout, an error, a certificate rejected without an alert.",
            next: "The log of the program that the evidence names, at this time: the RST is only how it closed. The other end's report (`peer_report`) may say more.",
        },
        /// An RST that the peer's kernel did not send.
        ResetInjected = "reset_injected" {
            proof: "The peer's socket is on this host and sent none (certain), or the RST's TTL is not that of the peer's other segments (likely).",
            usual: "A firewall, an intrusion prevention system or a censor between the ends; a rule that rejects with a TCP reset.",
            next: "Look for the rule: `iptables-save | grep tcp-reset`, `nft list ruleset | grep reset`. Elsewhere capture on both ends, and ask who runs the firewall for its log of this server name.",
        },
        /// The peer sent FIN.
        ClosedByPeer = "closed_by_peer" {
            proof: "A FIN was received first, and nothing before it says why.",
            usual: "The peer's program closed without an alert: a limit, a timeout, an access list; a TCP proxy whose own server is down.",
            next: "The peer's log at this time. If the peer is a TCP proxy or load balancer: the health of what is behind it.",
        },
        /// The application on this end closed the connection.
        ClosedByApp = "closed_by_app" {
            proof: "A FIN was sent first, by this end, and nothing before it says why.",
            usual: "A handshake timeout, a cancelled request, a shutdown, a certificate rejected without an alert, a server that answers before the handshake is over (Envoy's `direct_response` as a network filter).",
            next: "The log of the program that the evidence names; its timeouts: Go `http.Transport.TLSHandshakeTimeout`, nginx `client_header_timeout`, Envoy `transport_socket_connect_timeout`.",
        },
        /// The process was killed by a signal.
        ProcessKilled = "process_killed" {
            proof: "The socket was closed by a task that a signal was ending; the evidence names signal and process.",
            usual: "9: out of memory, or a stop that took too long; 15: an ordinary stop of a program that does not handle it; 11 or 6: a crash.",
            next: "`journalctl -k | grep -i 'killed process'`, `coredumpctl list`; in Kubernetes `kubectl describe pod`: OOMKilled, exit code 137, probes, `terminationGracePeriodSeconds`.",
        },
        /// TCP keepalive probes were not answered.
        KeepaliveTimeout = "keepalive_timeout" {
            proof: "ETIMEDOUT with nothing to be acknowledged, or the kernel's reason for its RST (15).",
            usual: "The peer's host is gone without a FIN (power, network, a paused VM), or a NAT or firewall forgot the idle connection and drops its segments.",
            next: "If it comes after a fixed idle time, make keepalive shorter than the device's timeout: `net.ipv4.tcp_keepalive_time`, `TCP_KEEPIDLE`, Envoy `tcp_keepalive`, gRPC keepalive.",
        },
        /// Retransmissions were not acknowledged.
        RetransmitTimeout = "retransmit_timeout" {
            proof: "ETIMEDOUT with bytes outstanding, or a FIN that was sent again until the kernel gave up.",
            usual: "The path broke after TCP opened: host gone, route or firewall changed, or large segments are dropped (MTU).",
            next: "`ping -M do -s 1472 ADDRESS` fails and `-s 1200` passes: it is the MTU. `net.ipv4.tcp_retries2` and `TCP_USER_TIMEOUT` set how long the kernel tries (default: about 15 minutes).",
        },
        /// The socket was destroyed by an administrator (`ss -K`).
        AbortedByAdmin = "aborted_by_admin" {
            proof: "The socket got ECONNABORTED from its own kernel.",
            usual: "`ss -K`, or an agent that destroys sockets (`SOCK_DESTROY`, `bpf_sock_destroy`).",
            next: "Find who did it: shell history, cron jobs, network agents on this host.",
        },

        /// The client opened TCP and sent nothing.
        ClientSilent = "client_silent" {
            proof: "The server waited, for a tenth of a second at least, and closed a connection without a payload byte in either direction, on a port that speaks TLS.",
            usual: "Sockets that browsers and pools open in advance, port scans, a client that waits for the server to speak first (SMTP, FTP).",
            next: "Harmless from browsers and load balancers. From your own client: what it does between connect() and the handshake, and whether it should speak TLS from the first byte.",
        },
        /// The ClientHello was sent again and again and never acknowledged.
        ClientHelloLost = "client_hello_lost" {
            proof: "ClientHello bytes were retransmitted, none was acknowledged, and the server sent nothing.",
            usual: "The path's MTU: a post-quantum ClientHello fills two segments, and full-sized ones get lost. Or a firewall that drops by server name.",
            next: "`openssl s_client -groups X25519` makes a small ClientHello: if that passes, it is the size. Then `ping -M do -s 1472 ADDRESS`, MSS clamping (`TCPMSS --clamp-mss-to-pmtu`), `net.ipv4.tcp_mtu_probing=1`.",
        },
        /// The server's kernel acknowledged the ClientHello, its application never answered.
        ServerSilent = "server_silent" {
            proof: "The ClientHello was acknowledged or its loss is not provable, no byte came back, and the client gave up after a tenth of a second at least.",
            usual: "The server's threads are blocked or starved of CPU, nobody calls accept(), or the port speaks a protocol in which this is not a complete message.",
            next: "On the server `ss -ltn 'sport = :PORT'`: Recv-Q above 0 means nobody accepts. Then CPU (`cpu.stat` for throttling) and stacks of the process. Behind a TCP load balancer: healthy backends?",
        },
        /// Both ends spoke, then the handshake stopped.
        HandshakeStalled = "handshake_stalled" {
            proof: "An end left after a silence, of a tenth of a second at least, in which the other had to speak; the evidence has the last message of each.",
            usual: "The certificate flight got lost (MTU), or an end waits for something else: a key service, a certificate look-up, OCSP, a smart card.",
            next: "After ServerHello with nothing following: MTU, see `client_hello_lost`. Otherwise look at the end whose turn it was: threads, DNS, calls it makes during the handshake.",
        },

        /// The client spoke HTTP in the clear to a TLS port.
        PlainHttpToTlsPort = "plain_http_to_tls_port" {
            proof: "The first bytes are an HTTP request, and the server answered with a TLS alert or with an error page that says so (certain), or closed a port that speaks TLS (likely).",
            usual: "`http://` with a TLS port, a proxy that ends TLS before a backend that wants it, a probe with the wrong scheme, gRPC with plaintext credentials.",
            next: "Client: `https://`. nginx `proxy_pass https://…`, HAProxy `server … ssl`, Envoy upstream `transport_socket`, Kubernetes probe `scheme: HTTPS`, gRPC TLS credentials.",
        },
        /// The client spoke TLS to a server that answered with HTTP in the clear.
        TlsToPlainHttp = "tls_to_plain_http" {
            proof: "A ClientHello was answered with `HTTP/1.x`, HTTP/2 frames or an HTML page in the clear.",
            usual: "`https://` with a plain port, a listener that lost its TLS configuration, `https://` in a proxy setting whose proxy speaks plain HTTP.",
            next: "`curl -v http://HOST:PORT/` confirms. Server: nginx `listen … ssl`, Apache `SSLEngine on`, Go `ListenAndServeTLS`. Client: `http://`, also in `https_proxy=http://PROXY`.",
        },
        /// One end spoke TLS, the other something else.
        NotTls = "not_tls" {
            proof: "The first bytes of one direction are no TLS record, those of the other are; the evidence quotes them.",
            usual: "The wrong port (SSH, SMTP, a database), STARTTLS left out, a PROXY protocol header that only one end expects, a scanner.",
            next: "The quoted line says which protocol. PROXY protocol: on both ends or on none (nginx `listen … proxy_protocol`, HAProxy `send-proxy` and `accept-proxy`). STARTTLS: `openssl s_client -starttls smtp`.",
        },

        /// Alert 10: a message came that has no place here.
        UnexpectedMessage = "unexpected_message" {
            proof: "A fatal alert 10 in the clear.",
            usual: "The peer does not speak TLS at that point, a refused renegotiation, a middlebox that alters the handshake, a library's bug.",
            next: "The sender's log. `openssl s_client -connect HOST:PORT -msg` shows the messages; try without the proxy between, and with current libraries.",
        },
        /// Alert 20: a record could not be decrypted.
        BadRecordMac = "bad_record_mac" {
            proof: "A fatal alert 20 in the clear.",
            usual: "Two threads or forked processes use one TLS session, bytes are altered on the way, a library's or an accelerator's bug.",
            next: "If one program: look for a connection shared between threads or over fork(). If one host: `ethtool -S IF` for errors, offloads off for a test (`ethtool -K IF tso off gso off gro off`).",
        },
        /// Alert 22: a record is longer than allowed.
        RecordOverflow = "record_overflow" {
            proof: "A fatal alert 22 in the clear.",
            usual: "Bytes that are no TLS were read as a record's length: plain text in the middle of a connection, or a protocol mix-up.",
            next: "Capture the connection (`tcpdump -w`) and look at what precedes the alert.",
        },
        /// Alert 40: no acceptable set of parameters; which one only the library knows.
        HandshakeFailure = "handshake_failure" {
            proof: "A fatal alert 40 in the clear.",
            usual: "No cipher suite, group or signature algorithm in common, a certificate type the client does not take, or no client certificate (TLS 1.2).",
            next: "The sender's log has the reason (OpenSSL: `no shared cipher`, `no suitable key share`). Compare both lists: nginx `ssl_ciphers` and `ssl_ecdh_curve`, Go `CipherSuites` and `CurvePreferences`, OpenSSL `CipherString` with its `SECLEVEL`.",
        },
        /// Alert 47: a field is out of range or contradicts another.
        IllegalParameter = "illegal_parameter" {
            proof: "A fatal alert 47 in the clear.",
            usual: "A bug of one of the libraries, or something between the ends that alters the handshake.",
            next: "Note both versions and try another client or library; try without the proxy between.",
        },
        /// Alert 49: the certificate is valid, access was refused.
        AccessDenied = "access_denied" {
            proof: "A fatal alert 49 in the clear.",
            usual: "The server has rules for client certificates, and this one has no permission.",
            next: "Compare the client certificate's subject (`openssl x509 -noout -subject -ext subjectAltName -in CERT`) with the server's access rules.",
        },
        /// Alert 50: a message could not be decoded.
        DecodeError = "decode_error" {
            proof: "A fatal alert 50 in the clear, sent before the other end had left.",
            usual: "A message that is cut short or malformed: a scanner, a bug, something between the ends that alters the handshake.",
            next: "If it is a scanner, nothing. Otherwise note both libraries' versions, and try without the proxy between.",
        },
        /// Alert 51: a signature or a Finished did not verify.
        DecryptError = "decrypt_error" {
            proof: "A fatal alert 51 in the clear.",
            usual: "A private key that does not belong to the certificate, a pre-shared key that differs, something that altered the handshake.",
            next: "`openssl x509 -noout -pubkey -in CERT` and `openssl pkey -pubout -in KEY` have to print the same key. With pre-shared keys: compare them.",
        },
        /// Alert 71: the server wants stronger parameters than the client offers.
        InsufficientSecurity = "insufficient_security" {
            proof: "A fatal alert 71 in the clear.",
            usual: "An old client, or a server with a strict policy: key sizes, hashes, cipher suites.",
            next: "Update the client. On the server: OpenSSL `SECLEVEL` in `CipherString`, GnuTLS priority string, the system's crypto policy.",
        },
        /// Alert 80: an error at the sender that has nothing to do with the peer.
        InternalError = "internal_error" {
            proof: "A fatal alert 80 in the clear.",
            usual: "The sender cannot use its key, its certificate or its memory: a callback that fails, an ACME client that does not serve this name, an HSM.",
            next: "The sender's log. Go: what `GetCertificate` or `GetConfigForClient` returned; autocert: `HostPolicy` and the SNI of this report.",
        },
        /// Alert 86: the client came back with a lower version than both support (RFC 7507).
        InappropriateFallback = "inappropriate_fallback" {
            proof: "A fatal alert 86 in the clear.",
            usual: "The client's first attempt failed for another reason, and it tried again with an older version.",
            next: "Look for the report of its attempt before this one: that failure is the one to fix. Switch the version fallback off in the client.",
        },
        /// Alert 90: the handshake was cancelled by its sender.
        UserCanceled = "user_canceled" {
            proof: "An alert 90 in the clear, then the end.",
            usual: "A user or a program closed during the handshake; Java's `SSLSocket.close()` says so in this way.",
            next: "Usually nothing. If it is frequent: the timeouts of the client that sent it.",
        },
        /// Alert 109: a mandatory extension is missing.
        MissingExtension = "missing_extension" {
            proof: "A fatal alert 109 in the clear.",
            usual: "A ClientHello made by hand or by a scanner: TLS 1.3 without key_share, supported_groups or signature_algorithms.",
            next: "If it is a scanner, nothing. Otherwise update the client's library.",
        },
        /// Alert 110: an extension that is not supported here, or was not asked for.
        UnsupportedExtension = "unsupported_extension" {
            proof: "A fatal alert 110 in the clear.",
            usual: "A client offered early data to a Go server, which refuses it: the ticket is from another server behind the same name.",
            next: "Switch early data off in the client for this name, or on for all servers behind it; they have to share ticket keys, too.",
        },
        /// Alert 115: the server does not know the pre-shared key's identity.
        UnknownPskIdentity = "unknown_psk_identity" {
            proof: "A fatal alert 115 in the clear.",
            usual: "A device or a tunnel with pre-shared keys that is not in the server's list, or under another name.",
            next: "Compare identity and key on both ends (stunnel `PSKidentity` and `PSKsecrets`).",
        },
        /// A fatal alert without a name of its own here; the report's alerts carry its number.
        OtherAlert = "other_alert" {
            proof: "A fatal alert in the clear, with a number that has no cause here.",
            usual: "A rare or a private alert.",
            next: "Look the number up (`alerts` of the report) in the TLS Alerts registry of IANA, and in the sender's log.",
        },
        /// A record of an alert's size behind encryption ended the handshake.
        EncryptedAlert = "encrypted_alert" {
            proof: "TLS 1.3: the last record of an end has the size of an alert. Before: a record of type alert behind ChangeCipherSpec.",
            usual: "From the client: it does not accept the server's certificate. From the server: see `rejected_after_finished`.",
            next: "The sender's log names the alert. Reproduce it: `openssl s_client -connect HOST:PORT -servername NAME -verify_hostname NAME -verify_return_error -brief`.",
        },

        /// Alert 42: the certificate is corrupt, its signature is wrong, or its name does not match.
        CertificateBad = "certificate_bad" {
            proof: "A fatal alert 42 in the clear.",
            usual: "A wrong name (OpenSSL says 42 then). A Go client says 42 for every objection, also for an unknown CA or an expired certificate.",
            next: "`openssl s_client -connect HOST:PORT -servername NAME -verify_hostname NAME -brief` says which it is.",
        },
        /// Alert 43: the certificate is of a type that cannot be used for this.
        CertificateUnsupported = "certificate_unsupported" {
            proof: "A fatal alert 43 in the clear.",
            usual: "A server's certificate used by a client or the other way round: its extended key usage forbids it.",
            next: "`openssl x509 -noout -ext extendedKeyUsage,keyUsage -in CERT`: clients need clientAuth, servers serverAuth.",
        },
        /// Alert 44: the certificate was revoked.
        CertificateRevoked = "certificate_revoked" {
            proof: "A fatal alert 44 in the clear.",
            usual: "The certificate was replaced after an incident and is still in use somewhere.",
            next: "Deploy the new certificate and reload. Was it the CA's mistake: `openssl crl -noout -text -in CRL` lists the serial numbers.",
        },
        /// Alert 45: the certificate is not valid at this time.
        CertificateExpired = "certificate_expired" {
            proof: "A fatal alert 45 in the clear.",
            usual: "Renewal failed, or the renewed file was not loaded; an expired intermediate; a wrong clock at the end that objects.",
            next: "`openssl s_client -connect HOST:PORT -servername NAME </dev/null | openssl x509 -noout -dates`. Renewed on disk but not here: reload the server. Clocks: `timedatectl`.",
        },
        /// Alert 46: some other objection to the certificate.
        CertificateUnknown = "certificate_unknown" {
            proof: "A fatal alert 46 in the clear.",
            usual: "Java says 46 for nearly every objection, most often for an unknown CA (`PKIX path building failed`); so does BoringSSL when its application objects.",
            next: "The log of the end that objects. Java: `keytool -importcert -cacerts -file CA`, or its own trust store.",
        },
        /// Alert 48: the issuer is not trusted.
        CertificateUnknownCa = "certificate_unknown_ca" {
            proof: "A fatal alert 48 in the clear.",
            usual: "A private or self-signed CA that this end does not have, or a server that does not send its intermediate certificates.",
            next: "`openssl s_client -connect HOST:PORT -showcerts`: the intermediates have to be there (nginx `ssl_certificate` takes the full chain). Then trust the CA: `update-ca-certificates`, `curl --cacert`, Go `RootCAs`, `NODE_EXTRA_CA_CERTS`, `keytool`.",
        },
        /// The client sent no certificate and the server insists on one.
        CertificateRequired = "certificate_required" {
            proof: "Alert 116; alert 40 after a Certificate without certificates (TLS 1.2); in TLS 1.3 an alert-sized record after one of that size (likely).",
            usual: "A client that was not told of its certificate, or has none from a CA that the server asks for.",
            next: "Client: `curl --cert --key`, Go `Certificates`, nginx `proxy_ssl_certificate`. Server: `ssl_verify_client optional`, Go `ClientAuth`, Envoy `require_client_certificate`.",
        },
        /// The certificate is for another name.
        CertificateHostnameMismatch = "certificate_hostname_mismatch" {
            proof: "The library of the end that objects: X.509 verification failed because of the name, e-mail or IP address.",
            usual: "The name that the client asks for is not in the certificate: an alias, an IP address, a default server's certificate.",
            next: "`openssl s_client -connect HOST:PORT -servername NAME </dev/null | openssl x509 -noout -ext subjectAltName` shows the names it is for.",
        },
        /// Alert 113: the stapled OCSP response is bad or missing.
        CertificateStatusBad = "certificate_status_bad" {
            proof: "A fatal alert 113 in the clear.",
            usual: "A must-staple certificate whose server has no fresh OCSP response.",
            next: "`openssl s_client -connect HOST:PORT -status`; nginx `ssl_stapling on` needs a `resolver` and a way out to the CA's responder.",
        },

        /// Alert 70: no TLS version in common.
        ProtocolVersion = "protocol_version" {
            proof: "A fatal alert 70 in the clear.",
            usual: "A client that stops at TLS 1.0 or 1.1, or one that wants TLS 1.3 from an old server.",
            next: "`openssl s_client -connect HOST:PORT -tls1_2` and `-tls1_3` show what the server takes. nginx `ssl_protocols`, Go `MinVersion`, OpenSSL `MinProtocol`, Java `jdk.tls.disabledAlgorithms`.",
        },
        /// No cipher suite in common.
        NoSharedCipher = "no_shared_cipher" {
            proof: "The server's library says so (OpenSSL reason 193). The wire has only alert 40, `handshake_failure`.",
            usual: "A strict list on one end; a server whose certificate is of a type that none of the client's suites uses (TLS 1.2: ECDSA against RSA).",
            next: "Compare both lists: nginx `ssl_ciphers`, Go `CipherSuites`, OpenSSL `CipherString` and `Ciphersuites` with its `SECLEVEL`; and the type of the certificate.",
        },
        /// No group for the key exchange in common.
        NoSharedGroup = "no_shared_group" {
            proof: "The server's library says so (OpenSSL reason 101). The wire has only alert 40, `handshake_failure`.",
            usual: "One end allows only NIST curves, or only post-quantum groups.",
            next: "Compare both lists: nginx `ssl_ecdh_curve`, Go `CurvePreferences`, OpenSSL `Groups`.",
        },
        /// Alert 112: no certificate for this server name.
        UnrecognizedName = "unrecognized_name" {
            proof: "A fatal alert 112 in the clear.",
            usual: "The client uses an IP address or a name that the server does not serve: nginx `ssl_reject_handshake`, HAProxy `strict-sni`, Go without a certificate for it.",
            next: "Compare the SNI of this report with the server's names. Client: `curl --connect-to`, `openssl s_client -servername NAME`.",
        },

        /// Alert 120: no application protocol in common.
        NoApplicationProtocol = "no_application_protocol" {
            proof: "A fatal alert 120 in the clear.",
            usual: "A gRPC or HTTP/2 client and a server that only has HTTP/1.1, or the reverse.",
            next: "`openssl s_client -connect HOST:PORT -alpn h2`. Server: nginx `http2 on`, Envoy `alpn_protocols`, Go `NextProtos`.",
        },
        /// ALPN was offered, none was selected, and the client or the server left at once.
        AlpnRejectedByApp = "alpn_rejected_by_app" {
            proof: "The client offered HTTP/2 and nothing else, the ServerHello (TLS 1.2) or the library (TLS 1.3) says that nothing was selected, and the client closed within 100 ms without using the connection, or before its Finished was sent. Or the client offered HTTP, nothing was selected, and the server closed within 100 ms without an answer.",
            usual: "grpc-go since 1.67 refuses servers that do not negotiate h2, and clients that do not; grpc-java refuses such servers.",
            next: "Have the server select h2 (nginx `http2 on`, Envoy `alpn_protocols: h2`; a TLS-ending load balancer with an HTTP/2 or ALPN policy), or the client offer it (a health check or proxy that speaks HTTP/1.1 to a gRPC server). Until then: `GRPC_ENFORCE_ALPN_ENABLED=false` for the one that leaves.",
        },

        /// The server rejected the connection after the client's Finished.
        RejectedAfterFinished = "rejected_after_finished" {
            proof: "TLS 1.3: after the client's certificate and Finished, the server's only record has an alert's size.",
            usual: "The client's certificate: unknown CA, expired, wrong key usage, no permission. The client's library reports success first.",
            next: "The server's log names the alert. `openssl verify -purpose sslclient -CAfile CA CERT` with the server's CA file shows most objections.",
        },

        /// The server ended the HTTP/2 connection with GOAWAY ENHANCE_YOUR_CALM "too_many_pings" (11).
        H2GoawayTooManyPings = "h2_goaway_too_many_pings" {
            proof: "The server's GOAWAY, told by its or the client's library (certain), or its last record has the size of PING ACK and this GOAWAY, 65 bytes in TLS 1.3, after PINGs at an even interval (likely).",
            usual: "The gRPC client's keepalive time K is below the server's minimum (5 minutes by default), and the channel has no calls. The server counts the pings and closes at the fourth: the connection lives 4×K, the next ones 4×2K, as gRPC doubles K (gRFC A8).",
            next: "Raise the client's keepalive above the server's minimum (Go `keepalive.ClientParameters.Time`, C-core `GRPC_ARG_KEEPALIVE_TIME_MS`), or lower the minimum (Go `keepalive.EnforcementPolicy.MinTime` and `PermitWithoutStream`, C-core `GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS`). The client's K is a quarter of the life.",
        },
        /// The server ended the HTTP/2 connection because it is old: GOAWAY NO_ERROR "max_age".
        H2GoawayMaxAge = "h2_goaway_max_age" {
            proof: "The server's GOAWAY, told by a library (certain), or its last records have the sizes of GOAWAY \"max_age\" with a PING, 58 bytes in TLS 1.3 (likely).",
            usual: "The server limits how long connections live so that load spreads over new servers: gRPC `MaxConnectionAge` (±10 %, gRFC A9), Istio's and Envoy's 30 min. New calls go over a new connection, calls under way may finish.",
            next: "Nothing while calls do not fail. Calls that are cut: a longer `MaxConnectionAgeGrace`. Too many new connections: a longer age.",
        },
        /// The server ended the HTTP/2 connection because nobody used it: GOAWAY NO_ERROR "max_idle".
        H2GoawayMaxIdle = "h2_goaway_max_idle" {
            proof: "The server's GOAWAY, told by a library (certain), or its last record has the size of GOAWAY \"max_idle\" with a PING, 59 bytes in TLS 1.3, 49 of C-core (likely).",
            usual: "gRPC `MaxConnectionIdle` (C-core `GRPC_ARG_MAX_CONNECTION_IDLE_MS`): no call for so long.",
            next: "Nothing: the next call opens a new connection. If that is too slow, a longer idle time.",
        },
        /// The server asked to move on: GOAWAY NO_ERROR, as before a restart.
        H2GoawayGraceful = "h2_goaway_graceful" {
            proof: "The server's GOAWAY with NO_ERROR, told by a library (certain), or its last records have the sizes of GOAWAY \"graceful_stop\" with a PING (likely). Without text it has the size of a PING, and proves nothing but unasked after a silence and at once before the end (likely).",
            usual: "A rollout (gRPC `GracefulStop`), a reload of nginx or Envoy, limits of requests or of idle time (nginx `keepalive_requests`, `keepalive_timeout`).",
            next: "Nothing if it belongs to a rollout. Else a timer of idle time as long as the silence in the evidence: nginx `keepalive_timeout` (75 s), haproxy `timeout client`, Envoy `idle_timeout` (1 h). In use: nginx `keepalive_requests` (1000 by default), Envoy `max_connection_duration`.",
        },
        /// An end closed the HTTP/2 connection with a GOAWAY that has another error code; the report has the code.
        H2GoawayError = "h2_goaway_error" {
            proof: "A GOAWAY with an error code, told by a library.",
            usual: "An end that violates HTTP/2 or is taken to: PROTOCOL_ERROR (1), FLOW_CONTROL_ERROR (3), SETTINGS_TIMEOUT (4), ENHANCE_YOUR_CALM (11: too many resets or small frames).",
            next: "The code and text in `http2.goaways`, then the log of the end that sent it. Note both libraries' versions.",
        },
        /// The client waited in vain for the server's SETTINGS, the first thing an HTTP/2 server says.
        H2SettingsTimeout = "h2_settings_timeout" {
            proof: "The client sent its preface, the server no record but session tickets, and the client closed after a silence (likely; certain where a library says so). gRPC waits for 20 s.",
            usual: "What accepts the connection is not what serves it: a TLS-ending proxy whose backend is dead, a server whose threads are blocked, cmux waiting for more bytes. gRPC's own text misleads: `error reading server preface: use of closed network connection`.",
            next: "The server's process: stacks, CPU (`cpu.stat` for throttling), what it waits for. Behind a proxy the health of its backends. A slow start: the client's `MinConnectTimeout`.",
        },
        /// An HTTP/2 keepalive PING was not answered, and its sender closed.
        H2PingTimeout = "h2_ping_timeout" {
            proof: "The last thing an end said before a silence has the size of a PING; then it said goodbye, of the size of GOAWAY \"client transport shutdown\" (grpc-go), or closed (likely).",
            usual: "The path drops segments without a word, the peer's host or process is paused or gone, a firewall forgot the connection.",
            next: "The peer at that time: CPU throttling, garbage collection, a paused VM; then the path. gRPC keepalive `Timeout` (20 s by default) is how long it waits.",
        },
        /// The server closed the HTTP/2 connection before it sent SETTINGS.
        H2ClosedBeforeSettings = "h2_closed_before_settings" {
            proof: "ALPN is HTTP/2, the server sent no record after the handshake but session tickets, and closed first.",
            usual: "A server that does not speak HTTP/2 although it selects it, an access list or a limit of connections behind the TLS end, a proxy without a healthy backend. gRPC says `error reading server preface: EOF`.",
            next: "The server's log at this time. `curl -v --http2-prior-knowledge` or `nghttp -v https://HOST:PORT/` shows what it answers.",
        },
        /// The server answered an HTTP/2 client in HTTP/1.1.
        Http1OnH2 = "http1_on_h2" {
            proof: "A library says so (certain), or after the client's preface the server sent one record that cannot be SETTINGS and closed (likely).",
            usual: "TLS ends at a proxy that selects h2 and hands the bytes to a server that knows only HTTP/1.1, or at a load balancer's error page.",
            next: "Have the proxy speak HTTP/2 to the backend (Envoy `http2_protocol_options`, HAProxy `proto h2`, nginx `grpc_pass`), or take h2 out of its ALPN list.",
        },
        /// The kernel gave up on unacknowledged data after the time that the program had set with TCP_USER_TIMEOUT.
        TcpUserTimeout = "tcp_user_timeout" {
            proof: "ETIMEDOUT on a socket with `TCP_USER_TIMEOUT`, when that time had passed.",
            usual: "gRPC sets it to its keepalive `Timeout`, 20 s by default (gRFC A18). With Go's TCP keepalive of 15 s a single lost probe is then enough (grpc-go#6250).",
            next: "Loss on the path (`nstat -az TcpRetransSegs`, `ss -ti`). Or a longer keepalive `Timeout` in gRPC; in Go `net.Dialer.KeepAlive` negative, so that TCP sends no probes.",
        },
        /// A device between cut a connection that had been silent for its idle time.
        IdleTimeoutMiddlebox = "idle_timeout_middlebox" {
            proof: "After a silence of both ends came an RST that the peer did not send: its socket is on this host and sent none (certain), or the RST's TTL is not the peer's (likely).",
            usual: "A load balancer, NAT or firewall forgot the idle connection: AWS NLB 350 s, ELB and ALB 60 s, Azure 4 min, Google Cloud 10 min.",
            next: "Keepalive shorter than the device's time: gRPC keepalive (with the server's consent, see `h2_goaway_too_many_pings`), `TCP_KEEPIDLE`, Envoy `tcp_keepalive`. Or a longer time on the device.",
        },
    }
}
