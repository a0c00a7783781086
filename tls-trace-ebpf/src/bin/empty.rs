//! Programs that do nothing: what the kernel's own statistics cost, for `cargo xtask bench` to
//! subtract. Not part of the tracer.

#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{btf_tracepoint, cgroup_skb},
    programs::{BtfTracePointContext, SkBuffContext},
};
// The panic handler and the license.
use tls_trace_ebpf as _;

/// match-proto: `trace_inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
fn empty_tracepoint(_: BtfTracePointContext) -> i32 {
    0
}

#[cgroup_skb(egress)]
fn empty_egress(_: SkBuffContext) -> i32 {
    1
}
