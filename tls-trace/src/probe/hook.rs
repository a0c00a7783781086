//! The table of hooks: one row for each, with its back ends in order of preference.

use serde::Serialize;

/// An eBPF object: one hook family. An object fails or loads as a whole, so families that need
/// different kernels are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// `tp_btf` programs of TCP.
    Tcp,
    /// kprobes of TCP.
    TcpKprobe,
    /// `cgroup_skb` programs.
    Wire,
    /// uprobes on OpenSSL.
    Openssl,
    /// uprobes on Go's crypto/tls.
    Go,
    /// uprobes on GnuTLS.
    Gnutls,
    /// uprobes on BoringSSL.
    Boringssl,
}

impl Object {
    /// Every object, in the order they are loaded.
    pub const ALL: [Self; 7] = [
        Self::Tcp,
        Self::TcpKprobe,
        Self::Wire,
        Self::Openssl,
        Self::Go,
        Self::Gnutls,
        Self::Boringssl,
    ];

    /// Whether its programs are attached to TLS libraries, as these are found.
    #[must_use]
    pub fn is_library(self) -> bool {
        match self {
            Self::Tcp | Self::TcpKprobe | Self::Wire => false,
            Self::Openssl | Self::Go | Self::Gnutls | Self::Boringssl => true,
        }
    }

    /// Stable label; the name of the object file.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::TcpKprobe => "tcp_kprobe",
            Self::Wire => "wire",
            Self::Openssl => "openssl",
            Self::Go => "go",
            Self::Gnutls => "gnutls",
            Self::Boringssl => "boringssl",
        }
    }
}

/// Stable name of a hook, as in metrics and `tls-trace check`.
pub type HookName = &'static str;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Stable name.
    pub name: HookName,
    /// Object it lives in.
    pub object: Object,
    /// What it is for, in one sentence.
    pub purpose: &'static str,
    /// Whether the tracer is blind to something it promises without it.
    pub required: bool,
    /// Ways to hook, best first.
    pub back_ends: &'static [BackEnd],
}

/// A way to hook.
#[derive(Clone, Copy, Debug)]
pub struct BackEnd {
    /// Label in reports.
    pub label: &'static str,
    /// Program in the object.
    pub program: &'static str,
    /// Where it goes.
    pub target: Target,
}

/// Where a program attaches.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// A tracepoint, through the kernel's BTF, with at least so many arguments.
    BtfTracepoint(&'static str, u32),
    /// A kernel function's entry or return.
    Function(&'static str),
    /// The root of cgroup v2.
    Cgroup,
    /// A function of a TLS library, in each file that has it as it is found.
    Library(UprobeKind),
}

/// The kernel's ways to place a uprobe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UprobeKind {
    /// A `uprobe_multi` link, Linux 6.6.
    Multi,
    /// A perf event; needs `CAP_SYS_ADMIN`, and is slow to detach.
    Perf,
}

/// How attaching a hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum HookState {
    /// Attached by the preferred back end.
    Attached,
    /// Attached by another back end.
    Fallback {
        /// Which.
        back_end: &'static str,
        /// Why not the preferred one.
        reason: String,
    },
    /// Not attached.
    Skipped {
        /// Why, and what to do about it.
        reason: String,
    },
}

/// One row of the table with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookReport {
    /// Name of the hook.
    pub name: HookName,
    /// Object it lives in.
    pub object: Object,
    /// What it is for, in one sentence.
    pub purpose: &'static str,
    /// Whether the tracer is blind to something it promises without it.
    pub required: bool,
    /// How it ended.
    #[serde(flatten)]
    pub state: HookState,
}

/// A kprobe row. kprobes only refine what the tracepoints tell: none is required.
macro_rules! kprobe {
    ($name:literal, $purpose:literal $(,)?) => {
        Hook {
            name: $name,
            object: Object::TcpKprobe,
            purpose: $purpose,
            required: false,
            back_ends: &[BackEnd {
                label: "kprobe",
                program: $name,
                target: Target::Function($name),
            }],
        }
    };
}

/// A uprobe row. Libraries only refine what the wire tells: none is required.
macro_rules! uprobe {
    ($object:ident, $program:literal, $purpose:literal $(,)?) => {
        Hook {
            name: $program,
            object: Object::$object,
            purpose: $purpose,
            required: false,
            back_ends: &[
                BackEnd {
                    label: "uprobe_multi",
                    program: $program,
                    target: Target::Library(UprobeKind::Multi),
                },
                BackEnd {
                    label: "uprobe",
                    program: $program,
                    target: Target::Library(UprobeKind::Perf),
                },
            ],
        }
    };
}

/// Every hook there is.
pub const HOOKS: &[Hook] = &[
    tracepoint(
        "inet_sock_set_state",
        "opening and closing of TCP connections, and by which process",
        &[tp_btf("inet_sock_set_state", "inet_sock_set_state", 3)],
    ),
    tracepoint(
        "tcp_destroy_sock",
        "end of a socket: the moment a verdict is due",
        &[tp_btf("tcp_destroy_sock", "tcp_destroy_sock", 1)],
    ),
    tracepoint(
        "tcp_send_reset",
        "resets sent, with the kernel's reason from Linux 6.10 on",
        &[
            tp_btf("tcp_send_reset", "tcp_send_reset", 3),
            BackEnd {
                label: "tp_btf without reason",
                ..tp_btf("tcp_send_reset_plain", "tcp_send_reset", 2)
            },
        ],
    ),
    tracepoint(
        "tcp_receive_reset",
        "resets received",
        &[tp_btf("tcp_receive_reset", "tcp_receive_reset", 1)],
    ),
    tracepoint(
        "inet_sk_error_report",
        "errors that applications see: timeout, refused, unreachable",
        &[tp_btf("inet_sk_error_report", "inet_sk_error_report", 1)],
    ),
    tracepoint(
        "tcp_retransmit_skb",
        "segments sent again, lost ClientHellos among them",
        &[tp_btf("tcp_retransmit_skb", "tcp_retransmit_skb", 2)],
    ),
    kprobe!("tcp_send_fin", "exact moment and task of a FIN sent"),
    kprobe!("tcp_fin", "exact moment of a FIN received"),
    kprobe!("tcp_reset", "exact moment of an RST received"),
    kprobe!(
        "tcp_send_active_reset",
        "task of an RST sent by close() or a timer",
    ),
    kprobe!("tcp_v4_send_reset", "RST sent in answer to a segment, IPv4"),
    kprobe!("tcp_v6_send_reset", "RST sent in answer to a segment, IPv6"),
    kprobe!(
        "inet_csk_accept",
        "process that accepted a connection, before it sends anything",
    ),
    Hook {
        name: "wire_ingress",
        object: Object::Wire,
        purpose: "first TLS bytes received by each socket",
        required: true,
        back_ends: &[
            BackEnd {
                label: "cgroup_skb",
                program: "wire_ingress",
                target: Target::Cgroup,
            },
            BackEnd {
                label: "cgroup_skb without accept queues",
                program: "wire_ingress_plain",
                target: Target::Cgroup,
            },
        ],
    },
    Hook {
        name: "wire_egress",
        object: Object::Wire,
        purpose: "first TLS bytes sent by each socket, and by which process",
        required: true,
        back_ends: &[
            BackEnd {
                label: "cgroup_skb",
                program: "wire_egress",
                target: Target::Cgroup,
            },
            BackEnd {
                label: "cgroup_skb without task",
                program: "wire_egress_plain",
                target: Target::Cgroup,
            },
        ],
    },
    Hook {
        name: "wire_tail",
        object: Object::Wire,
        purpose: "last packets of long HTTP/2 connections",
        required: false,
        back_ends: &[tp_btf("wire_tail", "inet_sock_set_state", 3)],
    },
    uprobe!(
        Openssl,
        "ssl_do_handshake",
        "session that a thread works on, OpenSSL"
    ),
    uprobe!(
        Openssl,
        "ssl_do_handshake_return",
        "what was negotiated when a handshake completes, OpenSSL",
    ),
    uprobe!(
        Openssl,
        "ssl_clear",
        "start of a handshake on any path, OpenSSL",
    ),
    uprobe!(Openssl, "ssl_free", "last look at a session, OpenSSL",),
    uprobe!(
        Openssl,
        "bio_push",
        "which handshake it is, where reading and writing drives it, OpenSSL",
    ),
    uprobe!(
        Openssl,
        "bio_pop",
        "end of a handshake that reading and writing drives, OpenSSL",
    ),
    uprobe!(
        Openssl,
        "err_vset_error",
        "exact reason of a failure, OpenSSL 3"
    ),
    uprobe!(
        Openssl,
        "err_put_error",
        "exact reason of a failure, OpenSSL 1.1"
    ),
    uprobe!(
        Openssl,
        "ossl_set_error",
        "exact reason of a failure, OpenSSL 3 without symbols",
    ),
    uprobe!(
        Openssl,
        "ossl_statem_fatal",
        "reason and alert of a failure, OpenSSL 3 without symbols",
    ),
    uprobe!(Go, "go_handshake", "start of a handshake, Go"),
    uprobe!(Go, "go_client_hello", "which handshake it is, Go clients"),
    uprobe!(Go, "go_server_hello", "which handshake it is, Go servers"),
    uprobe!(
        Go,
        "go_handshake_return",
        "end of a handshake, and why it failed, Go",
    ),
    uprobe!(Go, "go_alert", "alerts behind encryption, Go"),
    uprobe!(Go, "go_h2_goaway_sent", "why an HTTP/2 end is leaving, Go"),
    uprobe!(
        Go,
        "go_h2_goaway_received",
        "why the other HTTP/2 end is leaving, grpc-go and Go servers",
    ),
    uprobe!(
        Go,
        "go_h2_goaway_read",
        "why the HTTP/2 server is leaving, Go clients",
    ),
    uprobe!(Go, "go_h2_settings_sent", "start of HTTP/2, Go"),
    uprobe!(Go, "go_h2_settings_acked", "answer to SETTINGS, Go"),
    uprobe!(
        Go,
        "go_h2_settings_received",
        "SETTINGS of the other end, grpc-go and Go servers",
    ),
    uprobe!(
        Go,
        "go_h2_settings_read",
        "SETTINGS of the server, Go clients",
    ),
    uprobe!(
        Go,
        "go_h2_ping_lost",
        "an HTTP/2 PING that was not answered, Go clients",
    ),
    uprobe!(Go, "go_grpc_close", "why grpc-go closes a connection"),
    uprobe!(Go, "go_grpc_state", "states of subchannels, grpc-go"),
    uprobe!(Gnutls, "gnutls_handshake", "start of a handshake, GnuTLS"),
    uprobe!(
        Gnutls,
        "gnutls_handshake_return",
        "end of a handshake, and why it failed, GnuTLS",
    ),
    uprobe!(Gnutls, "gnutls_verify", "check of a certificate, GnuTLS"),
    uprobe!(
        Gnutls,
        "gnutls_verify_return",
        "what is wrong with a certificate, GnuTLS",
    ),
    uprobe!(
        Gnutls,
        "gnutls_alert_send",
        "alerts behind encryption, GnuTLS",
    ),
    uprobe!(Gnutls, "gnutls_deinit", "last look at a session, GnuTLS"),
    uprobe!(
        Boringssl,
        "bssl_handshake",
        "session that a thread works on, BoringSSL",
    ),
    uprobe!(
        Boringssl,
        "bssl_handshake_return",
        "what was negotiated when a handshake completes, BoringSSL",
    ),
    uprobe!(
        Boringssl,
        "bssl_error",
        "exact reason of a failure, BoringSSL",
    ),
    uprobe!(
        Boringssl,
        "bssl_alert",
        "alerts behind encryption, BoringSSL",
    ),
    uprobe!(Boringssl, "bssl_free", "end of a session, BoringSSL"),
];

const fn tracepoint(name: HookName, purpose: &'static str, back_ends: &'static [BackEnd]) -> Hook {
    Hook {
        name,
        object: Object::Tcp,
        purpose,
        required: true,
        back_ends,
    }
}

const fn tp_btf(program: &'static str, name: &'static str, arguments: u32) -> BackEnd {
    BackEnd {
        label: "tp_btf",
        program,
        target: Target::BtfTracepoint(name, arguments),
    }
}
