//! uprobes on OpenSSL: how a handshake ended, why it failed, what was negotiated behind encryption.
//!
//! Only functions that run a few times for each handshake, or on failure; nothing while data flows.
//! The programs are the same for every file: where fields are comes from [`FILES`], by attach cookie. Where
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
    reason = "cookies are made from 32 bits, sizes are at most 64"
)]
#![expect(
    clippy::incompatible_msrv,
    reason = "eBPF programs have a toolchain of their own, which is newer"
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
    FIELD_ALPN, FIELD_EARLY_DATA, FIELD_EARLY_DATA_OK, FIELD_RESUMED, FIELD_SERVER,
    FIELD_SESSION_ALPN, FIELD_STATE, FIELD_VERIFY_RESULT, FIELD_VERSION, Kind, LIBRARY_FILES,
    LOOSE, LibraryMoment, LibraryRecord, Lost, NO_DETAIL, OpensslOffsets, UNAVAILABLE,
};
use tls_trace_ebpf::{
    kernel::header,
    output::{current_task, send},
    user::{Fields, field, random, text},
};

/// `TLS_ST_OK` (include/openssl/ssl.h).
const TLS_ST_OK: u32 = 1;
/// `ERR_LIB_SSL` (include/openssl/err.h).
const ERR_LIB_SSL: i32 = 20;
/// `SSL_R_SHUTDOWN_WHILE_IN_INIT`: the application gives up after a failure that was told already.
const SHUTDOWN_WHILE_IN_INIT: i32 = 407;

/// Numbers of libraries (`ERR_LIB_MASK`), and of reasons (`ERR_REASON_MASK`).
const LIBRARIES: core::ops::RangeInclusive<i32> = 1..=0xff;
const REASONS: core::ops::RangeInclusive<i32> = 1..=0x7f_ffff;
/// `SSL_AD_NO_ALERT` (ssl/ssl_local.h), and the descriptions of alerts.
const ALERTS: core::ops::RangeInclusive<i32> = -1..=0xff;
/// So much nonsense, and a file's probes are silent.
const ENOUGH: u32 = 3;

/// The session that a thread works on, or worked on last.
#[derive(Clone, Copy)]
struct Active {
    ssl: u64,
    file: u32,
    /// [`CALLED`], [`LEFT`] or [`CLEARED`].
    state: u32,
}

/// `SSL_do_handshake` works on it.
const CALLED: u32 = 0;
/// The call that named it is over.
const LEFT: u32 = 1;
/// `SSL_clear` named it: if that begins a handshake, the state machine puts its buffer before the connection next.
const CLEARED: u32 = 2;

/// The buffer that a state machine collects a flight in, in a process.
#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    bio: u64,
    process: u64,
}

/// Whose a buffer is.
#[derive(Clone, Copy)]
struct Owner {
    ssl: u64,
    /// Attach cookie; as wide as the rest, so that there is no padding.
    file: u64,
}

/// By `bpf_get_current_pid_tgid`. Threads end without notice, so it has to be LRU.
#[map]
static ACTIVE: LruHashMap<u64, Active> = LruHashMap::with_max_entries(16384, 0);

/// Of handshakes that `SSL_do_handshake` does not drive. Not every buffer is taken out again, so it has to be LRU.
#[map]
static BUFFERS: LruHashMap<Buffer, Owner> = LruHashMap::with_max_entries(16384, 0);

/// By attach cookie.
#[map]
static FILES: Array<OpensslOffsets> = Array::with_max_entries(LIBRARY_FILES, 0);

/// Calls that cannot be of the function that was meant, by attach cookie.
#[map]
static NONSENSE: Array<u32> = Array::with_max_entries(LIBRARY_FILES, 0);

/// match-proto: `int SSL_do_handshake(SSL *s)`, which `SSL_connect`, `SSL_accept` and the functions of
/// early data call, too.
#[uprobe]
fn ssl_do_handshake(ctx: ProbeContext) -> u32 {
    let Some((ssl, file)) = session(&ctx) else {
        return 0;
    };
    let Some(offsets) = offsets(ssl, file) else {
        return 0;
    };
    // Done already: some applications call it again and again while data flows.
    if field::<u32>(ssl, offsets.state) == Some(TLS_ST_OK) {
        return 0;
    }
    activate(ssl, file, CALLED);
    0
}

/// Return of [`ssl_do_handshake`]. Only 1 counts: everything else is failure or `WANT_READ`, and a
/// failure has told its reason by an error.
#[uretprobe]
fn ssl_do_handshake_return(ctx: RetProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let Some(active) = ACTIVE.get_ptr_mut(thread) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs; only this thread writes it.
    let Active { ssl, file, state } = unsafe { *active };
    if state != CALLED {
        return 0;
    }
    // SAFETY: as above.
    unsafe { (*active).state = LEFT };
    if ctx.ret::<i32>() == 1 {
        tell(
            ssl,
            file,
            LibraryMoment::HANDSHAKE_RETURNED,
            Failure::NONE,
            0,
        );
    }
    0
}

/// match-proto: `int SSL_clear(SSL *s)`, which the state machine calls at the start of each handshake,
/// also of one that is driven by `SSL_write` or a BIO.
#[uprobe]
fn ssl_clear(ctx: ProbeContext) -> u32 {
    let Some((ssl, file)) = session(&ctx) else {
        return 0;
    };
    let Some(known) = ACTIVE.get_ptr_mut(bpf_get_current_pid_tgid()) else {
        activate(ssl, file, CLEARED);
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs; only this thread writes it.
    let active = unsafe { *known };
    if active.ssl != ssl {
        activate(ssl, file, CLEARED);
    } else if active.state != CALLED {
        // SAFETY: as above.
        unsafe { (*known).state = CLEARED };
    }
    0
}

/// match-proto: `BIO *BIO_push(BIO *b, BIO *append)`, by which the state machine puts a buffer before the connection,
/// right after [`ssl_clear`].
#[uprobe]
fn bio_push(ctx: ProbeContext) -> u32 {
    let Some(active) = ACTIVE.get_ptr_mut(bpf_get_current_pid_tgid()) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs; only this thread writes it.
    let Active { ssl, file, state } = unsafe { *active };
    if state != CLEARED {
        return 0;
    }
    // SAFETY: as above.
    unsafe { (*active).state = LEFT };
    let owner = Owner {
        ssl,
        file: u64::from(file),
    };
    // A full LRU map makes room; on failure the handshake goes unseen here and is seen on the wire.
    let _ = BUFFERS.insert(buffer(&ctx), owner, 0);
    0
}

/// match-proto: `BIO *BIO_pop(BIO *b)`, by which `tls_finish_handshake` takes the buffer away. Whether that was the
/// end of a handshake is said by the session itself.
#[uprobe]
fn bio_pop(ctx: ProbeContext) -> u32 {
    let buffer = buffer(&ctx);
    let Some(owner) = BUFFERS.get_ptr(buffer) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs.
    let Owner { ssl, file } = unsafe { *owner };
    let file = file as u32;
    let _ = BUFFERS.remove(buffer);
    let Some(offsets) = offsets(ssl, file) else {
        return 0;
    };
    if field::<u32>(ssl, offsets.state) == Some(TLS_ST_OK) {
        tell(ssl, file, LibraryMoment::COMPLETED, Failure::NONE, 0);
    }
    0
}

#[inline(always)]
fn buffer(ctx: &ProbeContext) -> Buffer {
    Buffer {
        bio: ctx.arg(0).unwrap_or(0),
        process: bpf_get_current_pid_tgid() >> 32,
    }
}

/// match-proto: `void SSL_free(SSL *s)`: the last look, for handshakes that no return tells of.
#[uprobe]
fn ssl_free(ctx: ProbeContext) -> u32 {
    let Some((ssl, file)) = session(&ctx) else {
        return 0;
    };
    let thread = bpf_get_current_pid_tgid();
    let known = ACTIVE.get_ptr(thread);
    // SAFETY: an entry of the map, alive while the program runs.
    if known.is_some_and(|active| unsafe { (*active).ssl } == ssl) {
        // The memory may be another session's soon.
        let _ = ACTIVE.remove(thread);
    }
    tell(ssl, file, LibraryMoment::FREED, Failure::NONE, 0);
    0
}

/// match-proto: `void ERR_vset_error(int lib, int reason, const char *fmt, va_list args)`, OpenSSL 3.
#[uprobe]
fn err_vset_error(ctx: ProbeContext) -> u32 {
    failed(ctx.arg(0), ctx.arg(1))
}

/// match-proto: `void ERR_put_error(int lib, int func, int reason, const char *file, int line)`,
/// OpenSSL 1.1.1.
#[uprobe]
fn err_put_error(ctx: ProbeContext) -> u32 {
    failed(ctx.arg(0), ctx.arg(2))
}

/// The same where it has no symbol, and `ERR_set_error(int lib, int reason, const char *fmt, ...)`.
#[uprobe]
fn ossl_set_error(ctx: ProbeContext) -> u32 {
    let (library, reason): (Option<i32>, Option<i32>) = (ctx.arg(0), ctx.arg(1));
    let makes_sense = library.is_some_and(|library| LIBRARIES.contains(&library))
        && reason.is_some_and(|reason| REASONS.contains(&reason));
    if makes_sense {
        failed(library, reason)
    } else {
        doubt(cookie(&ctx));
        0
    }
}

/// match-proto: `void ossl_statem_fatal(SSL_CONNECTION *s, int al, int reason, const char *fmt, ...)`, where
/// it has no symbol.
#[uprobe]
fn ossl_statem_fatal(ctx: ProbeContext) -> u32 {
    let (Some(ssl @ 1..), Some(alert), Some(reason)) =
        (ctx.arg::<u64>(0), ctx.arg::<i32>(1), ctx.arg::<i32>(2))
    else {
        return 0;
    };
    let file = cookie(&ctx);
    if !ALERTS.contains(&alert) || !REASONS.contains(&reason) {
        doubt(file);
        return 0;
    }
    let failure = Failure {
        reason: reason.cast_unsigned(),
        // -1 is `NO_DETAIL`.
        alert_sent: alert.cast_unsigned(),
    };
    tell(ssl, file, LibraryMoment::ERROR, failure, 0);
    0
}

#[inline(always)]
fn failed(library: Option<i32>, reason: Option<i32>) -> u32 {
    let (Some(ERR_LIB_SSL), Some(reason)) = (library, reason) else {
        return 0;
    };
    if reason == SHUTDOWN_WHILE_IN_INIT {
        return 0;
    }
    let Some(active) = ACTIVE.get_ptr(bpf_get_current_pid_tgid()) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs.
    let active = unsafe { *active };
    let flags = if active.state == CALLED { 0 } else { LOOSE };
    let failure = Failure {
        reason: reason.cast_unsigned(),
        ..Failure::NONE
    };
    tell(
        active.ssl,
        active.file,
        LibraryMoment::ERROR,
        failure,
        flags,
    );
    0
}

/// What went wrong.
#[derive(Clone, Copy)]
struct Failure {
    /// `ERR_GET_REASON`, 0 for nothing.
    reason: u32,
    /// Description of an alert, [`NO_DETAIL`] for none.
    alert_sent: u32,
}

impl Failure {
    const NONE: Self = Self {
        reason: 0,
        alert_sent: NO_DETAIL,
    };
}

/// The session in the first argument, and the file that the probe is in.
#[inline(always)]
fn session(ctx: &ProbeContext) -> Option<(u64, u32)> {
    let ssl: u64 = ctx.arg(0)?;
    if ssl == 0 {
        return None;
    }
    Some((ssl, cookie(ctx)))
}

/// The file that the probe is in.
#[inline(always)]
fn cookie(ctx: &ProbeContext) -> u32 {
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

#[inline(always)]
fn activate(ssl: u64, file: u32, state: u32) {
    let active = Active { ssl, file, state };
    // A full LRU map makes room; on failure the handshake goes unseen here and is seen on the wire.
    let _ = ACTIVE.insert(bpf_get_current_pid_tgid(), active, 0);
}

/// The offsets for a session, unless it is not one of TLS over TCP.
#[inline(always)]
fn offsets(ssl: u64, file: u32) -> Option<&'static OpensslOffsets> {
    let offsets = FILES.get(file)?;
    if offsets.kind != UNAVAILABLE && field::<u32>(ssl, offsets.kind) != Some(0) {
        return None;
    }
    Some(offsets)
}

/// Sends what the library knows of a session, unless that has seen no ClientHello yet.
#[inline(always)]
fn tell(ssl: u64, file: u32, moment: LibraryMoment, failure: Failure, flags: u32) {
    let (Some(offsets), true) = (offsets(ssl, file), sound(file)) else {
        return;
    };
    let s3 = if offsets.s3 == UNAVAILABLE {
        Some(ssl)
    } else {
        field::<u64>(ssl, offsets.s3)
    };
    let Some(s3) = s3 else {
        return;
    };
    let Some(random) = random(s3, offsets.client_random) else {
        return;
    };
    send::<LibraryRecord>(Lost::LIBRARY, |record| {
        record.header = header(0, Kind::LIBRARY, 0, 0, moment.0);
        current_task(&mut record.task);
        record.session = ssl;
        for (to, from) in record.random.as_chunks_mut::<8>().0.iter_mut().zip(random) {
            *to = from.to_ne_bytes();
        }
        record.reason = failure.reason;
        record.file = file;
        record.flags = flags;
        record.alert_sent = failure.alert_sent;
        let mut fields = Fields::new(&mut record.fields, 0);
        let mut read = |offset, bit| {
            let value = field::<u32>(ssl, offset);
            if value.is_some() {
                fields.add(bit);
            }
            value.unwrap_or(0)
        };
        record.version = read(offsets.version, FIELD_VERSION);
        record.state = read(offsets.state, FIELD_STATE);
        record.server = read(offsets.server, FIELD_SERVER);
        record.early_data = read(offsets.early_data, FIELD_EARLY_DATA);
        record.resumed = read(offsets.resumed, FIELD_RESUMED);
        record.verify_result = read(offsets.verify_result, FIELD_VERIFY_RESULT);
        record.early_data_ok = read(offsets.early_data_ok, FIELD_EARLY_DATA_OK);
        let alpn = text(s3, offsets.alpn, offsets.alpn_length, &mut record.alpn);
        record.alpn_length = alpn.unwrap_or(0);
        if alpn.is_some() {
            fields.add(FIELD_ALPN);
        }
        let session = field::<u64>(ssl, offsets.session).unwrap_or(0);
        let (at, length) = (offsets.session_alpn, offsets.session_alpn_length);
        let alpn = text(session, at, length, &mut record.session_alpn);
        record.session_alpn_length = alpn.unwrap_or(0);
        if alpn.is_some() {
            fields.add(FIELD_SESSION_ALPN);
        }
    });
}
