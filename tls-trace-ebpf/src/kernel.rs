//! Fields of kernel structs, read through offsets that the loader takes from the kernel's BTF.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_probe_read_kernel,
    bpf_skc_to_tcp_sock, generated::bpf_probe_read_kernel as bpf_probe_read_kernel_raw,
};
use tls_trace_common::{Counters, Header, KernelOffsets, Kind, Task, Tuple};

use crate::output::current_task;

/// `AF_INET6`.
const AF_INET6: u16 = 10;

/// The first of `enum sock_flags` (include/net/sock.h).
const SOCK_DEAD: u64 = 1;

/// Overwritten by the loader before the program is loaded.
#[unsafe(no_mangle)]
pub static OFFSETS: KernelOffsets = KernelOffsets {
    skc_daddr: 0,
    skc_rcv_saddr: 0,
    skc_dport: 0,
    inet_sport: 0,
    skc_family: 0,
    skc_state: 0,
    skc_net: 0,
    skc_v6_daddr: 0,
    skc_v6_rcv_saddr: 0,
    skc_cookie: 0,
    skc_flags: 0,
    net_inum: 0,
    sk_err: 0,
    sk_ack_backlog: 0,
    sk_max_ack_backlog: 0,
    sk_lingertime: 0,
    bytes_acked: 0,
    bytes_received: 0,
    snd_nxt: 0,
    snd_una: 0,
    rcv_nxt: 0,
    copied_seq: 0,
    total_retrans: 0,
    task_flags: 0,
    task_exit_code: 0,
    skb_cb: 0,
    sock_linger_bit: 0,
};

/// Reads an offset out of [`OFFSETS`].
#[inline(always)]
pub fn offset(field: &'static u32) -> usize {
    // SAFETY: a reference to an integer. Volatile, so that the compiler does not take the zeros
    // above for the truth.
    unsafe { core::ptr::read_volatile(field) as usize }
}

/// A `struct sock` that the verifier knows as such (a `tp_btf` argument), of TCP, not null.
#[derive(Clone, Copy)]
pub struct TcpSock {
    sk: *const c_void,
    tcp: *const c_void,
    /// Socket cookie.
    pub cookie: u64,
}

impl TcpSock {
    /// Checks a `struct sock *` argument: `None` for null and for other protocols.
    ///
    /// # Safety
    /// `sk` is an argument of the running `tp_btf` program of type `struct sock *`.
    #[inline(always)]
    pub unsafe fn new(sk: *const c_void) -> Option<Self> {
        if sk.is_null() {
            return None;
        }
        // SAFETY: the helper accepts null. Kernels before 6.13 believe tracepoint arguments to be
        // never null and drop the check above; a null socket's cookie is 0 on all of them.
        let cookie = unsafe { bpf_get_socket_cookie(sk.cast_mut()) };
        if cookie == 0 {
            return None;
        }
        // SAFETY: `sk` is not null.
        let tcp = unsafe { tcp_sock(sk)? };
        Some(Self { sk, tcp, cookie })
    }

    /// Checks the socket of a `cgroup_skb` program's context, whose cookie is known.
    ///
    /// # Safety
    /// `sk` is that socket, checked for null.
    #[inline(always)]
    pub unsafe fn of_packet(sk: *const c_void, cookie: u64) -> Option<Self> {
        // SAFETY: the caller's promise.
        let tcp = unsafe { tcp_sock(sk)? };
        // There only the latter is a pointer into the kernel; it begins with `struct sock`.
        Some(Self {
            sk: tcp,
            tcp,
            cookie,
        })
    }

    /// Reads a field of `struct sock` at `offset`.
    #[inline(always)]
    fn sock<T: Copy>(self, offset: usize) -> T {
        // SAFETY: the verifier knows the pointer's type and checks the offset, a constant to it,
        // against the kernel's BTF; the load cannot fault.
        unsafe { *self.sk.wrapping_byte_add(offset).cast::<T>() }
    }

    /// Reads a field of `struct tcp_sock` at `offset`.
    #[inline(always)]
    fn tcp<T: Copy>(self, offset: usize) -> T {
        // SAFETY: as for `sock`.
        unsafe { *self.tcp.wrapping_byte_add(offset).cast::<T>() }
    }

    /// `sk_state`.
    #[inline(always)]
    pub fn state(self) -> u8 {
        self.sock(offset(&OFFSETS.skc_state))
    }

    /// `SOCK_DEAD`: no process holds the socket any more.
    #[inline(always)]
    pub fn is_orphan(self) -> bool {
        self.flags() & SOCK_DEAD != 0
    }

    /// `sk_flags`.
    #[inline(always)]
    fn flags(self) -> u64 {
        self.sock(offset(&OFFSETS.skc_flags))
    }

    /// Whether a listener drops what would open another connection (`sk_acceptq_is_full`).
    #[inline(always)]
    pub fn is_accept_queue_full(self) -> bool {
        self.sock::<u32>(offset(&OFFSETS.sk_ack_backlog))
            > self.sock::<u32>(offset(&OFFSETS.sk_max_ack_backlog))
    }

    /// `sk_err`, an errno.
    #[inline(always)]
    pub fn error(self) -> u32 {
        self.sock(offset(&OFFSETS.sk_err))
    }

    /// Writes addresses, ports and network namespace.
    #[inline(always)]
    pub fn tuple(self, tuple: &mut Tuple) {
        if self.sock::<u16>(offset(&OFFSETS.skc_family)) == AF_INET6 {
            self.address(offset(&OFFSETS.skc_v6_rcv_saddr), &mut tuple.local);
            self.address(offset(&OFFSETS.skc_v6_daddr), &mut tuple.remote);
        } else {
            mapped(self.sock(offset(&OFFSETS.skc_rcv_saddr)), &mut tuple.local);
            mapped(self.sock(offset(&OFFSETS.skc_daddr)), &mut tuple.remote);
        }
        tuple.local_port = u16::from_be(self.tcp(offset(&OFFSETS.inet_sport)));
        tuple.remote_port = u16::from_be(self.sock(offset(&OFFSETS.skc_dport)));
        tuple.netns = self.netns();
    }

    /// Writes the `struct in6_addr` at `offset`.
    #[inline(always)]
    fn address(self, offset: usize, to: &mut [u8; 16]) {
        // SAFETY: the helper does not fault and zeroes `to` on failure.
        unsafe {
            bpf_probe_read_kernel_raw(
                to.as_mut_ptr().cast(),
                16,
                self.sk.wrapping_byte_add(offset),
            );
        }
    }

    /// Inode number of the network namespace; 0 where it cannot be read.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        let net: *const c_void = self.sock(offset(&OFFSETS.skc_net));
        // SAFETY: a `struct net *` that lives as long as the socket; the helper does not fault.
        unsafe { bpf_probe_read_kernel(net.wrapping_byte_add(offset(&OFFSETS.net_inum)).cast()) }
            .unwrap_or(0)
    }

    /// Writes the counters of `struct tcp_sock`.
    #[inline(always)]
    pub fn counters(self, counters: &mut Counters) {
        let linger = self.flags() >> (offset(&OFFSETS.sock_linger_bit) & 63) & 1 == 1;
        let linger_time: u64 = self.sock(offset(&OFFSETS.sk_lingertime));
        counters.bytes_acked = self.tcp(offset(&OFFSETS.bytes_acked));
        counters.bytes_received = self.tcp(offset(&OFFSETS.bytes_received));
        counters.snd_nxt = self.tcp(offset(&OFFSETS.snd_nxt));
        counters.snd_una = self.tcp(offset(&OFFSETS.snd_una));
        counters.rcv_nxt = self.tcp(offset(&OFFSETS.rcv_nxt));
        counters.copied_seq = self.tcp(offset(&OFFSETS.copied_seq));
        counters.total_retrans = self.tcp(offset(&OFFSETS.total_retrans));
        counters.error = self.error();
        counters.linger_zero = u32::from(linger && linger_time == 0);
        counters.valid = 1;
    }
}

/// # Safety
/// `sk` is a socket that the verifier knows, not null.
#[inline(always)]
unsafe fn tcp_sock(sk: *const c_void) -> Option<*const c_void> {
    // SAFETY: the caller's promise; the helper checks type and protocol itself.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast_mut()) };
    (!tcp.is_null()).then_some(tcp.cast_const().cast())
}

/// Writes the current task with its flags and exit code; for `tp_btf` programs.
#[inline(always)]
pub fn task(task: &mut Task) {
    current_task(task);
    // SAFETY: no arguments; returns the running task, never null.
    let current = unsafe { bpf_get_current_task_btf() } as *const c_void;
    // SAFETY: a typed pointer to the verifier, which checks the constant offset.
    task.flags = unsafe {
        *current
            .wrapping_byte_add(offset(&OFFSETS.task_flags))
            .cast()
    };
    // SAFETY: as above.
    task.exit_code = unsafe {
        *current
            .wrapping_byte_add(offset(&OFFSETS.task_exit_code))
            .cast()
    };
}

/// A header with the time of now.
#[inline(always)]
pub fn header(cookie: u64, kind: Kind, old_state: u8, new_state: u8, detail: u32) -> Header {
    Header {
        // SAFETY: no arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        cookie,
        kind,
        old_state,
        new_state,
        detail,
    }
}

/// Writes an IPv4 address, as it lies in memory, as IPv4-mapped IPv6.
#[inline(always)]
pub fn mapped(address: u32, to: &mut [u8; 16]) {
    let [a, b, c, d] = address.to_ne_bytes();
    *to = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
}
