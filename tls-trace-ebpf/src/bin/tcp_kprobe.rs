//! kprobes: the exact moment and task of FIN and RST, and who accepted a connection. They add to
//! the `tcp` object where the kernel has kprobes; arguments beyond the socket differ between
//! versions and are not read.

#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a program is one function to the kernel's stack limit and to the verifier's bounds"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's attribute macros pass the context by value"
)]

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_probe_read_kernel,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use tls_trace_common::{Function, Kind, Lost, SignalRecord};
use tls_trace_ebpf::{
    kernel::{OFFSETS, header, offset},
    output::{current_task, send},
};

/// match-proto: `void tcp_send_fin(struct sock *sk)`
#[kprobe]
fn tcp_send_fin(ctx: ProbeContext) -> u32 {
    called(ctx.arg(0), Function::SEND_FIN)
}

/// match-proto: `void tcp_fin(struct sock *sk)`
#[kprobe]
fn tcp_fin(ctx: ProbeContext) -> u32 {
    called(ctx.arg(0), Function::RECEIVE_FIN)
}

/// match-proto: `void tcp_reset(struct sock *sk, struct sk_buff *skb)`
#[kprobe]
fn tcp_reset(ctx: ProbeContext) -> u32 {
    called(ctx.arg(0), Function::RECEIVE_RESET)
}

/// match-proto: `void tcp_send_active_reset(struct sock *sk, …)`
#[kprobe]
fn tcp_send_active_reset(ctx: ProbeContext) -> u32 {
    called(ctx.arg(0), Function::SEND_ACTIVE_RESET)
}

/// match-proto: `static void tcp_v4_send_reset(const struct sock *sk, struct sk_buff *skb, …)`
#[kprobe]
fn tcp_v4_send_reset(ctx: ProbeContext) -> u32 {
    called(ctx.arg(0), Function::SEND_RESET)
}

/// match-proto: `static void tcp_v6_send_reset(const struct sock *sk, struct sk_buff *skb, …)`
#[kprobe]
fn tcp_v6_send_reset(ctx: ProbeContext) -> u32 {
    called(ctx.arg(0), Function::SEND_RESET)
}

/// match-proto: `struct sock *inet_csk_accept(struct sock *sk, …)`
#[kretprobe]
fn inet_csk_accept(ctx: RetProbeContext) -> u32 {
    called(Some(ctx.ret()), Function::ACCEPT)
}

/// Reports that `function` ran for `sk`. Sockets without a cookie are not known to anybody else:
/// the `tcp` object gives every socket one at its first change of state.
#[inline(always)]
fn called(sk: Option<*const c_void>, function: Function) -> u32 {
    let Some(sk) = sk else {
        return 0;
    };
    let cookie = field::<u64>(sk, offset(&OFFSETS.skc_cookie));
    if cookie == 0 {
        return 0;
    }
    let state = field::<u8>(sk, offset(&OFFSETS.skc_state));
    send::<SignalRecord>(Lost::SIGNAL, |record| {
        record.header = header(cookie, Kind::FUNCTION, state, state, function.0);
        record.seq = 0;
        record.end_seq = 0;
        current_task(&mut record.task);
    });
    0
}

/// A field of the struct at `base`; zero where the address cannot be read.
#[inline(always)]
fn field<T: Copy + Default>(base: *const c_void, offset: usize) -> T {
    // SAFETY: the helper checks the address and does not fault.
    unsafe { bpf_probe_read_kernel(base.wrapping_byte_add(offset).cast()) }.unwrap_or_default()
}
