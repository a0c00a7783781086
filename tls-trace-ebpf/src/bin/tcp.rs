//! `tp_btf` programs: the life of TCP sockets. Keyed by socket cookie; pointers are reused within
//! milliseconds.

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
    helpers::bpf_probe_read_kernel, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tls_trace_common::{Kind, Lost, NO_DETAIL, SignalRecord, SocketRecord};
use tls_trace_ebpf::{
    kernel::{OFFSETS, TcpSock, header, offset, task},
    output::send,
};

const TCP_FIN_WAIT2: u8 = 5;
const TCP_CLOSE: u8 = 7;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSING: u8 = 11;

/// match-proto: `trace_inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let (old, new): (u8, u8) = (ctx.arg(1), ctx.arg(2));
    // A listener's own changes, and those of a child whose cookie is not its own yet.
    if old == TCP_LISTEN || new == TCP_LISTEN {
        return 0;
    }
    // It says only that the peer acknowledged the FIN.
    if new == TCP_FIN_WAIT2 {
        return 0;
    }
    // SAFETY: argument 0 is the socket.
    if let Some(sock) = unsafe { TcpSock::new(ctx.arg::<*const c_void>(0)) } {
        // After an orderly close the kernel destroys a socket that nobody holds at once, which says
        // the same.
        if new == TCP_CLOSE && after_fin(old) && sock.is_orphan() {
            return 0;
        }
        debug!(&ctx, "state {} -> {} cookie {}", old, new, sock.cookie);
        send_socket(sock, Kind::STATE, old, new);
    }
    0
}

/// match-proto: `trace_tcp_destroy_sock(struct sock *sk)`
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: argument 0 is the socket.
    if let Some(sock) = unsafe { TcpSock::new(ctx.arg::<*const c_void>(0)) } {
        let state = sock.state();
        debug!(&ctx, "destroy in state {} cookie {}", state, sock.cookie);
        send_socket(sock, Kind::DESTROY, state, state);
    }
    0
}

/// match-proto: `trace_tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, const enum sk_rst_reason reason)`
#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: argument 0 is the socket or null.
    unsafe { signal(ctx.arg(0), Kind::RESET_SENT, ctx.arg(2)) }
}

/// The same tracepoint on kernels before 6.10, without a reason.
///
/// match-proto: `trace_tcp_send_reset(const struct sock *sk, const struct sk_buff *skb)`
#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_send_reset_plain(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: argument 0 is the socket.
    unsafe { signal(ctx.arg(0), Kind::RESET_SENT, NO_DETAIL) }
}

/// match-proto: `trace_tcp_receive_reset(struct sock *sk)`
#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: argument 0 is the socket.
    unsafe { signal(ctx.arg(0), Kind::RESET_RECEIVED, 0) }
}

/// match-proto: `trace_inet_sk_error_report(const struct sock *sk)`
#[btf_tracepoint(function = "inet_sk_error_report")]
fn inet_sk_error_report(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: argument 0 is the socket.
    if let Some(sock) = unsafe { TcpSock::new(ctx.arg::<*const c_void>(0)) } {
        send_signal(sock, Kind::SOCKET_ERROR, sock.error(), 0, 0);
    }
    0
}

/// match-proto: `trace_tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb, …)`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    let skb: *const c_void = ctx.arg(1);
    // SAFETY: `tcp_skb_cb` starts with `seq` and `end_seq`; the helper does not fault.
    let [seq, end_seq] = unsafe {
        bpf_probe_read_kernel(
            skb.wrapping_byte_add(offset(&OFFSETS.skb_cb))
                .cast::<[u32; 2]>(),
        )
    }
    .unwrap_or([0; 2]);
    // SAFETY: argument 0 is the socket.
    if let Some(sock) = unsafe { TcpSock::new(ctx.arg::<*const c_void>(0)) } {
        send_signal(sock, Kind::RETRANSMIT, 0, seq, end_seq);
    }
    0
}

/// Whether this end's FIN is acknowledged, or all but.
#[inline(always)]
fn after_fin(state: u8) -> bool {
    state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK
}

/// # Safety
/// `sk` is an argument of the running program of type `struct sock *`.
#[inline(always)]
unsafe fn signal(sk: *const c_void, kind: Kind, detail: u32) -> i32 {
    // SAFETY: the caller's promise.
    if let Some(sock) = unsafe { TcpSock::new(sk) } {
        send_signal(sock, kind, detail, 0, 0);
    }
    0
}

#[inline(always)]
fn send_socket(sock: TcpSock, kind: Kind, old_state: u8, new_state: u8) {
    send::<SocketRecord>(Lost::SOCKET, |record| {
        record.header = header(sock.cookie, kind, old_state, new_state, 0);
        sock.tuple(&mut record.tuple);
        task(&mut record.task);
        sock.counters(&mut record.counters);
    });
}

#[inline(always)]
fn send_signal(sock: TcpSock, kind: Kind, detail: u32, seq: u32, end_seq: u32) {
    send::<SignalRecord>(Lost::SIGNAL, |record| {
        let state = sock.state();
        record.header = header(sock.cookie, kind, state, state, detail);
        record.seq = seq;
        record.end_seq = end_seq;
        task(&mut record.task);
    });
}
