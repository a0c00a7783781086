//! `cgroup_skb` programs on the root cgroup: the first TCP payload of every socket, both ways.
//!
//! Every path returns 1: the packet goes on. Payload is copied with its sequence number; putting it
//! in order is user space's work. When user space has seen enough, or the bound is reached, a packet
//! costs one socket-storage look-up and a branch. Until then a socket has no storage, and a
//! connection that ends soon never gets any: making it costs more than looking at a packet.
//!
//! Of sockets whose end is worth more than a close, the storage remembers the last packets
//! ([`tls_trace_ebpf::tail`]).

#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a program is one function to the kernel's stack limit and to the verifier's bounds"
)]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "reading a field through a context pointer is one act"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes are bounded by SEGMENT_MAX; a checked conversion would be one more branch"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's attribute macros pass the context by value"
)]

use core::{ffi::c_void, mem::MaybeUninit, ptr};

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::SkStorage,
    helpers::{
        bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_fullsock, bpf_skb_load_bytes, bpf_tcp_sock,
        generated::bpf_sk_storage_get,
    },
    macros::{btf_map, btf_tracepoint, cgroup_skb, map},
    maps::LruHashMap,
    programs::{BtfTracePointContext, SkBuffContext},
};
use tls_trace_common::{
    CAPTURE_BYTES, CAPTURE_SEGMENTS, DONE_ALL, DONE_BUT_TAIL, DONE_ENTRIES, EGRESS, INGRESS, Kind,
    LAST, LISTENER, Lost, OVERFLOW, SEGMENT_MAX, SegmentRecord, Task,
};
use tls_trace_ebpf::{
    kernel::{TcpSock, mapped},
    output::{EVENTS, count_lost, current_ids, wakeup},
    tail::{Payload, SocketState, tick},
};

const IPPROTO_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u32 = 10;
const SOCK_STREAM: u32 = 1;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Segments of one direction before it is asked whether user space wants more: it looks at the
/// first of them many milliseconds later.
const UNHURRIED_SEGMENTS: u32 = 8;

/// Flag of [`SocketState`]: no payload of this direction is wanted any more, bits 0 and 1.
const fn done<const DIRECTION: u8>() -> u32 {
    1 << DIRECTION
}

/// Flag of [`SocketState`]: the same of both.
const DONE_BOTH: u32 = done::<INGRESS>() | done::<EGRESS>();
/// Flag of [`SocketState`]: the last packets are remembered.
const TAIL: u32 = 1 << 2;
/// Flag of [`SocketState`]: until user space says whether they are wanted. It is asked once a tick at most;
/// the times that it was are counted in the bits above.
const ASK: u32 = 1 << 3;
const ASKED: u32 = 1 << 16;
/// Times it is asked, which is for two seconds or longer: then it does not know the socket.
const MOST_ASKED: u32 = 512 * ASKED;

/// Freed by the kernel with the socket.
#[btf_map]
static SOCKETS: SkStorage<SocketState> = SkStorage::new();

/// Cookies of sockets whose payload user space no longer wants, with [`DONE_ALL`] or [`DONE_BUT_TAIL`]. Read
/// only while a socket is not done, so old entries are harmless, and not for its first packets: user space is
/// not that fast.
#[map]
static DONE: LruHashMap<u64, u8> = LruHashMap::with_max_entries(DONE_ENTRIES, 0);

/// Not 0: report every FIN and RST; set where the `tcp` object is missing.
#[unsafe(no_mangle)]
static WATCH_CLOSE: u32 = 0;

/// Kernels with BTF, whose listeners show their accept queues.
#[cgroup_skb(ingress)]
fn wire_ingress(ctx: SkBuffContext) -> i32 {
    segment::<INGRESS, true>(&ctx);
    1
}

/// Kernels without.
#[cgroup_skb(ingress)]
fn wire_ingress_plain(ctx: SkBuffContext) -> i32 {
    segment::<INGRESS, false>(&ctx);
    1
}

/// Kernels where `cgroup_skb` programs may ask for the current task (6.10 and later).
#[cgroup_skb(egress)]
fn wire_egress(ctx: SkBuffContext) -> i32 {
    segment::<EGRESS, true>(&ctx);
    1
}

/// Kernels where they may not.
#[cgroup_skb(egress)]
fn wire_egress_plain(ctx: SkBuffContext) -> i32 {
    segment::<EGRESS, false>(&ctx);
    1
}

/// Tells the last packets while the socket's end is still to come: once it is destroyed, user space judges.
///
/// match-proto: `trace_inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
fn wire_tail(ctx: BtfTracePointContext) -> i32 {
    let (old, new): (u8, u8) = (ctx.arg(1), ctx.arg(2));
    let sk: *mut c_void = ctx.arg(0);
    if sk.is_null() || old != TCP_ESTABLISHED && new != TCP_CLOSE {
        return 0;
    }
    if let Some(state) = storage(sk.cast(), 0)
        && state.flags & TAIL != 0
    {
        // SAFETY: argument 0 is a socket, which has a storage.
        state.tell(unsafe { bpf_get_socket_cookie(sk) });
    }
    0
}

/// A TCP segment: pointers into the packet, proven to be inside its linear part.
#[derive(Clone, Copy)]
struct Packet {
    /// IP header, its first 20 bytes.
    ip: *const u8,
    ipv6: bool,
    ttl: u8,
    /// TCP header, its fixed 20 bytes.
    tcp: *const u8,
    /// Sequence number.
    seq: u32,
    /// Where the payload begins, from the start of the IP header.
    payload: u32,
    /// Bytes of payload.
    length: u32,
}

impl Packet {
    #[inline(always)]
    fn flags(self) -> u8 {
        // SAFETY: inside the TCP header.
        unsafe { *self.tcp.add(13) }
    }

    #[inline(always)]
    fn payload(self) -> Payload {
        Payload {
            seq: self.seq,
            offset: self.payload,
            length: self.length,
        }
    }
}

/// What is common to the records of one packet.
#[derive(Clone, Copy)]
struct Origin {
    cookie: u64,
    netns: u32,
    flags: u8,
}

/// `MORE`: the kernel allows what the program would like to know besides, that is the task on
/// egress, a listener's accept queue on ingress.
#[inline(always)]
fn segment<const DIRECTION: u8, const MORE: bool>(ctx: &SkBuffContext) -> Option<()> {
    // SAFETY: a context field; null for packets without a socket.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return None;
    }
    if let Some(state) = storage(sk, 0)
        && state.flags & done::<DIRECTION>() != 0
    {
        if state.flags & TAIL != 0 {
            remember::<DIRECTION>(ctx, state);
        }
        if is_bare_header(ctx) {
            let packet = parse(ctx)?;
            if packet.length == 0 && packet.flags() & closes::<DIRECTION>() != 0 {
                let origin = Origin {
                    cookie: cookie(ctx),
                    netns: 0,
                    flags: 0,
                };
                send::<256, DIRECTION, MORE>(ctx, packet, origin, 0);
            }
        }
        return None;
    }
    // SAFETY: the helper takes a checked socket; null for request and time-wait sockets.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return None;
    }
    // SAFETY: a context field of a full socket.
    if unsafe { (*sk).protocol } != u32::from(IPPROTO_TCP) {
        return None;
    }
    let packet = parse(ctx)?;
    // SAFETY: a context field of a full socket.
    let listener = unsafe { (*sk).state } == TCP_LISTEN;
    let opens = packet.flags() & (SYN | ACK) != 0 && packet.flags() & RST == 0;
    if DIRECTION == INGRESS && MORE && listener && opens {
        let cookie = cookie(ctx);
        // SAFETY: a full socket.
        let sock = unsafe { TcpSock::of_packet(sk.cast_const().cast(), cookie)? };
        if sock.is_accept_queue_full() {
            let origin = Origin {
                cookie,
                netns: sock.netns(),
                flags: LISTENER | OVERFLOW,
            };
            // It comes again if it matters.
            let header = Packet {
                length: 0,
                ..packet
            };
            send::<256, DIRECTION, MORE>(ctx, header, origin, 0);
            return None;
        }
    }
    if packet.length == 0 && packet.flags() & closes::<DIRECTION>() == 0 {
        return None;
    }
    let cookie = cookie(ctx);
    let mut flags = 0;
    if listener {
        flags |= LISTENER;
    } else if packet.length > 0 {
        let progress = progress::<DIRECTION>(sk, packet)?;
        let wanted = if progress.segments > UNHURRIED_SEGMENTS {
            wanted(cookie)
        } else {
            None
        };
        if let Some(wanted) = wanted {
            let state = storage(sk, CREATE)?;
            state.flags = DONE_BOTH;
            if wanted == DONE_BUT_TAIL {
                state.flags |= TAIL;
                state.packet::<DIRECTION>(ctx, tick(), packet.payload());
            }
            return None;
        }
        if progress.bytes > i64::from(CAPTURE_BYTES) || progress.segments > CAPTURE_SEGMENTS {
            // The other direction may still say why: an alert follows a ClientHello that is too long.
            storage(sk, CREATE)?.flags |= done::<DIRECTION>() | TAIL | ASK;
            flags |= LAST;
        }
    }
    let origin = Origin {
        cookie,
        netns: 0,
        flags,
    };
    if packet.length <= 256 {
        send::<256, DIRECTION, MORE>(ctx, packet, origin, 0);
    } else if packet.length <= 2048 {
        send::<2048, DIRECTION, MORE>(ctx, packet, origin, 0);
    } else {
        send::<SEGMENT_MAX, DIRECTION, MORE>(ctx, packet, origin, 0);
        // Segmentation offload makes packets of up to 64 KiB; two records reach the bound.
        if packet.length > SEGMENT_MAX as u32 {
            send::<SEGMENT_MAX, DIRECTION, MORE>(ctx, packet, origin, SEGMENT_MAX as u32);
        }
    }
    None
}

/// Remembers a packet of a finished handshake.
#[inline(always)]
fn remember<const DIRECTION: u8>(ctx: &SkBuffContext, state: &mut SocketState) -> Option<()> {
    let packet = parse(ctx)?;
    if packet.length == 0 {
        return None;
    }
    let now = tick();
    if state.flags & ASK != 0 && state.is_later::<DIRECTION>(now) {
        state.flags += ASKED;
        let wanted = match wanted(cookie(ctx)) {
            None if state.flags >= MOST_ASKED => Some(DONE_ALL),
            wanted => wanted,
        };
        match wanted {
            None => {}
            Some(DONE_BUT_TAIL) => state.flags &= !ASK,
            Some(_) => {
                state.flags &= !(ASK | TAIL);
                return None;
            }
        }
    }
    state.packet::<DIRECTION>(ctx, now, packet.payload());
    None
}

/// Whether a packet of a finished handshake is worth a look: an RST made by a middlebox has no TCP
/// options, so its length gives it away without loading a header.
#[inline(always)]
fn is_bare_header(ctx: &SkBuffContext) -> bool {
    let length = ctx.len();
    length == 40 || length == 60 || watch_close() && length <= 120
}

/// Flags worth a record without payload. The `tcp` object tells of closes, except for the TTL of an
/// RST, which shows where it comes from.
#[inline(always)]
fn closes<const DIRECTION: u8>() -> u8 {
    if watch_close() {
        FIN | RST
    } else if DIRECTION == INGRESS {
        RST
    } else {
        0
    }
}

#[inline(always)]
fn watch_close() -> bool {
    // SAFETY: a static integer, only ever read; volatile as the loader overwrites it.
    unsafe { ptr::read_volatile(&raw const WATCH_CLOSE) != 0 }
}

/// How far a direction has come, by the kernel's own count.
struct Progress {
    /// Stream bytes up to the end of this packet; of one sent again, up to its end.
    bytes: i64,
    /// Segments with payload, repeated ones too.
    segments: u32,
}

#[inline(always)]
fn progress<const DIRECTION: u8>(sk: *mut bpf_sock, packet: Packet) -> Option<Progress> {
    // Raw sockets may send TCP, too, and have no such counters.
    // SAFETY: a context field of a full socket.
    if unsafe { (*sk).type_ } != SOCK_STREAM {
        return None;
    }
    // SAFETY: the helper takes a full socket.
    let tcp = unsafe { bpf_tcp_sock(sk) };
    if tcp.is_null() {
        return None;
    }
    // SAFETY: context fields of a TCP socket, here and below: `edge` is the stream's byte number
    // `past`.
    let (past, edge, segments) = unsafe {
        if DIRECTION == EGRESS {
            ((*tcp).bytes_acked, (*tcp).snd_una, (*tcp).data_segs_out)
        } else {
            ((*tcp).bytes_received, (*tcp).rcv_nxt, (*tcp).data_segs_in)
        }
    };
    let ahead = i64::from(packet.seq.wrapping_sub(edge).cast_signed()) + i64::from(packet.length);
    Some(Progress {
        bytes: past.cast_signed() + ahead,
        segments,
    })
}

/// Flag of [`storage`]: make it where there is none.
const CREATE: u32 = BPF_SK_STORAGE_GET_F_CREATE;

/// What is kept beside a socket; of any state, null is returned for those that are not full.
#[inline(always)]
fn storage(sk: *mut bpf_sock, flags: u32) -> Option<&'static mut SocketState> {
    // SAFETY: a map of this program and a socket that is not null; the kernel zeroes a new value.
    let state = unsafe {
        bpf_sk_storage_get(
            (&raw const SOCKETS).cast_mut().cast(),
            sk.cast(),
            ptr::null_mut(),
            u64::from(flags),
        )
    };
    if state.is_null() && flags == CREATE {
        count_lost(Lost::STORAGE);
    }
    // SAFETY: null or a value of the map's type. Programs on two CPUs may race on its bits; one
    // that is lost is set again by the next packet.
    unsafe { state.cast::<SocketState>().as_mut() }
}

/// What user space wants of a socket of which it has seen enough; absent where it has not.
#[inline(always)]
fn wanted(cookie: u64) -> Option<u8> {
    // SAFETY: values are never changed, only replaced.
    unsafe { DONE.get(cookie) }.copied()
}

#[inline(always)]
fn cookie(ctx: &SkBuffContext) -> u64 {
    // SAFETY: the program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// Finds the headers. They are in the packet's linear part: the stack has just written them
/// (egress), or just read them there (ingress).
#[inline(always)]
fn parse(ctx: &SkBuffContext) -> Option<Packet> {
    // SAFETY: context fields, which the verifier knows as the packet's bounds.
    let (ip, end) = unsafe { ((*ctx.skb.skb).data, (*ctx.skb.skb).data_end) };
    let (ip, end) = (ip as usize as *const u8, end as usize as *const u8);
    let inside = |pointer: *const u8, length: usize| pointer.wrapping_add(length) <= end;
    if !inside(ip, 20) {
        return None;
    }
    // SAFETY: the first 20 bytes are inside, here and below.
    let version = unsafe { *ip };
    let ipv6 = version >> 4 == 6;
    let header_length = if ipv6 {
        // SAFETY: as above. Extension headers are rare on TCP and not followed.
        if !inside(ip, 40) || unsafe { *ip.add(6) } != IPPROTO_TCP {
            return None;
        }
        40
    } else {
        // SAFETY: as above. A fragment has no TCP header, or only its beginning.
        let fragment = unsafe { ip.add(6).cast::<u16>().read_unaligned() };
        // SAFETY: as above.
        let protocol = unsafe { *ip.add(9) };
        if protocol != IPPROTO_TCP || fragment & 0x3fff_u16.to_be() != 0 {
            return None;
        }
        u32::from(version & 0xf) * 4
    };
    let tcp = ip.wrapping_add(header_length as usize);
    if !inside(tcp, 20) {
        return None;
    }
    // Volatile, so that it is read here: where it is used, the compiler would make the pointer anew, and the
    // verifier would not know its bound.
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "headers are at even addresses: each is a multiple of four bytes long"
    )]
    // SAFETY: the TCP header's first 20 bytes are inside, at an even address like all headers.
    let seq = unsafe {
        let seq = tcp.add(4).cast::<u16>();
        [ptr::read_volatile(seq), ptr::read_volatile(seq.add(1))]
    };
    // SAFETY: as above.
    let data_offset = unsafe { *tcp.add(12) };
    let payload = header_length + u32::from(data_offset >> 4) * 4;
    Some(Packet {
        ip,
        ipv6,
        // SAFETY: inside the IP header.
        ttl: unsafe { *ip.add(if ipv6 { 7 } else { 8 }) },
        tcp,
        seq: u32::from(u16::from_be(seq[0])) << 16 | u32::from(u16::from_be(seq[1])),
        payload,
        length: ctx.len().checked_sub(payload)?,
    })
}

/// A record with room for `N` payload bytes.
#[repr(C)]
struct Class<const N: usize> {
    record: SegmentRecord,
    payload: MaybeUninit<[u8; N]>,
}

/// Sends the payload from `skip` on, up to `N` bytes of it.
#[inline(always)]
fn send<const N: usize, const DIRECTION: u8, const MORE: bool>(
    ctx: &SkBuffContext,
    packet: Packet,
    origin: Origin,
    skip: u32,
) {
    let Some(mut entry) = EVENTS.reserve::<Class<N>>(0) else {
        count_lost(Lost::SEGMENT);
        return;
    };
    let class = entry.as_mut_ptr();
    let rest = packet.length - skip;
    // What a second record of the same packet tells is not told twice.
    let length = if skip == 0 && rest > SEGMENT_MAX as u32 {
        SEGMENT_MAX as u32
    } else {
        rest
    };
    // SAFETY: the reserved memory is this program's until it is submitted, here and below.
    let record = unsafe { &mut (*class).record };
    // SAFETY: no arguments.
    record.header.time_ns = unsafe { bpf_ktime_get_ns() };
    record.header.cookie = origin.cookie;
    record.header.kind = Kind::SEGMENT;
    record.header.old_state = 0;
    record.header.new_state = 0;
    record.header.detail = 0;
    // SAFETY: `parse` proved 20 bytes of TCP header.
    let word = |offset| u32::from_be(unsafe { read_u32(packet.tcp.add(offset)) });
    let ports = word(0);
    let (source, destination) = ((ports >> 16) as u16, ports as u16);
    let tuple = &mut record.tuple;
    tuple.netns = origin.netns;
    if DIRECTION == EGRESS {
        (tuple.local_port, tuple.remote_port) = (source, destination);
        address(ctx, &mut tuple.local, packet, 0);
        address(ctx, &mut tuple.remote, packet, 1);
    } else {
        (tuple.local_port, tuple.remote_port) = (destination, source);
        address(ctx, &mut tuple.local, packet, 1);
        address(ctx, &mut tuple.remote, packet, 0);
    }
    if DIRECTION == EGRESS && MORE {
        current_ids(&mut record.task);
    } else {
        record.task = NOBODY;
    }
    record.seq = packet.seq.wrapping_add(skip);
    record.ack = word(8);
    record.length = length;
    record.tcp_flags = packet.flags();
    record.ttl = packet.ttl;
    record.direction = DIRECTION;
    record.flags = origin.flags;
    record.reserved = 0;
    record.reserved_2 = 0;
    // SAFETY: as above; payload memory may be anything.
    let payload = unsafe { (&raw mut (*class).payload).cast() };
    record.captured = capture::<N>(ctx, packet.payload + skip, length, payload);
    entry.submit(wakeup(size_of::<Class<N>>()));
}

/// Copies up to `N` payload bytes and says how many.
#[inline(always)]
fn capture<const N: usize>(ctx: &SkBuffContext, from: u32, length: u32, to: *mut c_void) -> u16 {
    if length == 0 {
        return 0;
    }
    // The verifier must see for itself that the size is between 1 and N. Volatile, so that the
    // compiler does not prove it first and drop the check; by addition, because the verifier of
    // Linux 6.1 learns nothing from a comparison with zero; 64 bits wide, because it forgets
    // bounds over 32-bit moves.
    let last = u64::from(length - 1);
    // SAFETY: a local variable.
    let last = unsafe { ptr::read_volatile(&raw const last) };
    let captured = last.min(N as u64 - 1) + 1;
    // SAFETY: `to` has room for N bytes, `captured` is between 1 and N.
    let result =
        unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast::<c_void>(), from, to, captured as u32) };
    if result == 0 { captured as u16 } else { 0 }
}

/// Writes the packet's source (0) or destination (1) address.
#[inline(always)]
fn address(ctx: &SkBuffContext, to: &mut [u8; 16], packet: Packet, which: u32) {
    if packet.ipv6 {
        // Through the helper: the verifier does not carry the longer header's bound to this place.
        // SAFETY: `to` has room for an address; the helper checks the packet.
        unsafe {
            bpf_skb_load_bytes(
                ctx.skb.skb.cast::<c_void>(),
                8 + which * 16,
                to.as_mut_ptr().cast(),
                16,
            );
        }
        return;
    }
    // SAFETY: `parse` proved 20 bytes of IPv4 header.
    mapped(
        unsafe { read_u32(packet.ip.add(12 + which as usize * 4)) },
        to,
    );
}

/// Reads four bytes of a packet header in memory order.
///
/// # Safety
/// They are inside the packet.
#[inline(always)]
unsafe fn read_u32(pointer: *const u8) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { pointer.cast::<u32>().read_unaligned() }
}

const NOBODY: Task = Task {
    pid: 0,
    tid: 0,
    cgroup: 0,
    flags: 0,
    exit_code: 0,
    comm: [0; 16],
};
