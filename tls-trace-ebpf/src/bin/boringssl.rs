//! uprobes on BoringSSL: how a handshake ended, why it failed, alerts, early data and its stated reason.
//!
//! Only functions that run a few times for each handshake, or on failure; nothing while data flows. Where
//! functions are may have been concluded from code without symbols: what they are called with has to make
//! sense, or the file's probes fall silent ([`NONSENSE`]).

#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a program is one function to the kernel's stack limit and to the verifier's bounds"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "cookies are made from 32 bits"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's attribute macros pass the context by value"
)]

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_get_current_pid_tgid},
    macros::{map, uprobe, uretprobe},
    maps::{Array, LruHashMap},
    programs::{ProbeContext, RetProbeContext},
};
use tls_trace_common::{
    BoringsslOffsets, FIELD_ALPN, FIELD_EARLY_DATA, FIELD_SERVER, LIBRARY_FILES, LOOSE,
    LibraryMoment, SAMPLE, SessionLibrary, UNAVAILABLE,
};
use tls_trace_ebpf::{
    session::{self, Session, Told},
    user::{Fields, copy, field, random, text},
};

/// `ERR_LIB_SSL` (include/openssl/err.h).
const ERR_LIB_SSL: i32 = 16;
/// Reasons end with those of alerts, which are 1000 and the description.
const REASONS: core::ops::RangeInclusive<i32> = 1..=1300;
/// Lines of a source file.
const LINES: core::ops::Range<i32> = 1..100_000;
/// `SSL_R_PROTOCOL_IS_SHUTDOWN`: the application goes on after a failure that was told already.
const PROTOCOL_IS_SHUTDOWN: i32 = 194;
/// `SSL3_AL_FATAL`; warnings are 1.
const FATAL: u32 = 2;
/// So much nonsense, and a file's probes are silent.
const ENOUGH: u32 = 3;

/// The session that a thread works on, or worked on last.
#[derive(Clone, Copy)]
struct Active {
    ssl: u64,
    file: u32,
    /// 1: the call that named it is over.
    loose: u32,
}

/// By `bpf_get_current_pid_tgid`. Threads end without notice, so it has to be LRU.
#[map]
static ACTIVE: LruHashMap<u64, Active> = LruHashMap::with_max_entries(16384, 0);

/// By attach cookie.
#[map]
static FILES: Array<BoringsslOffsets> = Array::with_max_entries(LIBRARY_FILES, 0);

/// Calls that cannot be of the function that was meant, by attach cookie.
#[map]
static NONSENSE: Array<u32> = Array::with_max_entries(LIBRARY_FILES, 0);

/// match-proto: `int SSL_do_handshake(SSL *ssl)`; also of `SSL_connect` and `SSL_accept`, where compilers
/// made copies of it.
#[uprobe]
fn bssl_handshake(ctx: ProbeContext) -> u32 {
    let file = file(&ctx);
    let Some(ssl @ 1..) = ctx.arg::<u64>(0) else {
        return 0;
    };
    if sound(file) {
        let active = Active {
            ssl,
            file,
            loose: 0,
        };
        // A full LRU map makes room; on failure the handshake goes unseen here and is seen on the wire.
        let _ = ACTIVE.insert(bpf_get_current_pid_tgid(), active, 0);
    }
    0
}

/// Return of [`bssl_handshake`]. Only 1 counts: everything else is failure or `WANT_READ`, and a failure
/// has told its reason by an error.
#[uretprobe]
fn bssl_handshake_return(ctx: RetProbeContext) -> u32 {
    let Some(entry) = ACTIVE.get_ptr_mut(bpf_get_current_pid_tgid()) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs; only this thread writes it.
    let active = unsafe { *entry };
    if active.loose == 1 {
        return 0;
    }
    // SAFETY: as above.
    unsafe { (*entry).loose = 1 };
    match ctx.ret::<i32>() {
        1 => tell(active, Told::new(LibraryMoment::HANDSHAKE_RETURNED)),
        -1 | 0 => {}
        _ => doubt(active.file),
    }
    0
}

/// match-proto: `void ERR_put_error(int library, int unused, int reason, const char *file, unsigned line)`.
#[uprobe]
fn bssl_error(ctx: ProbeContext) -> u32 {
    let (Some(library), Some(reason), Some(line)) =
        (ctx.arg::<i32>(0), ctx.arg::<i32>(2), ctx.arg::<i32>(4))
    else {
        return 0;
    };
    if library != ERR_LIB_SSL || reason == PROTOCOL_IS_SHUTDOWN {
        return 0;
    }
    if !REASONS.contains(&reason) || !LINES.contains(&line) {
        doubt(file(&ctx));
        return 0;
    }
    let Some(active) = ACTIVE.get_ptr(bpf_get_current_pid_tgid()) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs.
    let active = unsafe { *active };
    let mut told = Told::new(LibraryMoment::ERROR);
    told.reason = reason.cast_unsigned();
    told.flags = if active.loose == 1 { LOOSE } else { 0 };
    tell(active, told);
    0
}

/// match-proto: `int ssl_send_alert(SSL *ssl, int level, int desc)`, and `ssl_send_alert_impl` alike: either
/// may be part of the other.
#[uprobe]
fn bssl_alert(ctx: ProbeContext) -> u32 {
    let file = file(&ctx);
    let (Some(ssl @ 1..), Some(level), Some(alert_sent)) =
        (ctx.arg::<u64>(0), ctx.arg::<u32>(1), ctx.arg::<u32>(2))
    else {
        return 0;
    };
    if !(1..=FATAL).contains(&level) || alert_sent > 0xff {
        doubt(file);
    } else if level == FATAL {
        let active = Active {
            ssl,
            file,
            loose: 0,
        };
        let sent = Told::new(LibraryMoment::ALERT_SENT);
        tell(active, Told { alert_sent, ..sent });
    }
    0
}

/// match-proto: `void tls_free(SSL *ssl)`, or `SSL_free`: the memory may be another session's soon.
#[uprobe]
fn bssl_free(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let active = ACTIVE.get_ptr(thread);
    // SAFETY: an entry of the map, alive while the program runs.
    if active.is_some_and(|active| Some(unsafe { (*active).ssl }) == ctx.arg::<u64>(0)) {
        let _ = ACTIVE.remove(thread);
    }
    0
}

/// Sends what the library knows of a session.
#[inline(always)]
fn tell(active: Active, told: Told) {
    let Active { ssl, file, .. } = active;
    let (Some(offsets), true) = (FILES.get(file), sound(file)) else {
        return;
    };
    let Some(s3 @ 1..) = field::<u64>(ssl, offsets.s3) else {
        return;
    };
    let known = random(s3, offsets.client_random);
    let unknown_place = offsets.client_random == UNAVAILABLE;
    // A server that refuses the hello before it keeps anything of it: nothing leads to its connection.
    if known.is_none() && !unknown_place {
        return;
    }
    let session = Session {
        library: SessionLibrary::BORINGSSL,
        address: ssl,
        file,
        cookie: 0,
        random: known.unwrap_or([0; 4]),
    };
    session::tell(session, told, |record| {
        if unknown_place && copy(&mut record.sample, s3, SAMPLE as u64) {
            record.sample_length = SAMPLE as u32;
        }
        let mut fields = Fields::new(&mut record.fields, 0);
        if let Some(server) = field::<u8>(ssl, offsets.server) {
            fields.add(FIELD_SERVER);
            record.server = (u32::from(server) >> (offsets.server_bit & 7)) & 1;
        }
        if let Some(early_data) = field::<u32>(s3, offsets.early_data_reason) {
            fields.add(FIELD_EARLY_DATA);
            record.early_data = early_data;
        }
        let alpn = text(s3, offsets.alpn, offsets.alpn_length, &mut record.alpn);
        if let Some(length) = alpn {
            fields.add(FIELD_ALPN);
            record.alpn_length = length;
        }
    });
}

/// The file that the probe is in.
#[inline(always)]
fn file(ctx: &ProbeContext) -> u32 {
    // SAFETY: the context of the running program.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    cookie as u32
}

/// Whether the probes in a file are where they should be, as far as was seen.
#[inline(always)]
fn sound(file: u32) -> bool {
    NONSENSE.get(file).is_some_and(|count| *count < ENOUGH)
}

/// Counts a call that makes no sense.
#[inline(always)]
fn doubt(file: u32) {
    if let (true, Some(count)) = (sound(file), NONSENSE.get_ptr_mut(file)) {
        // SAFETY: an entry of the map, which never goes; an increment that is lost is made up for by the
        // next nonsense.
        unsafe { *count += 1 };
    }
}
