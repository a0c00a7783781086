//! uprobes on GnuTLS: how a handshake ended, why it failed, alerts, the verdict on a certificate, what was
//! negotiated behind encryption.
//!
//! Only functions that run a few times for each connection; nothing while data flows. The programs are the
//! same for every file: where fields are comes from [`FILES`], by attach cookie.

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
    FIELD_ALPN, FIELD_EARLY_DATA, FIELD_RESUMED, FIELD_SERVER, FIELD_STATE, FIELD_VERSION,
    GnutlsOffsets, LIBRARY_FILES, LibraryMoment, SessionLibrary,
};
use tls_trace_ebpf::{
    session::{self, Session, Told},
    socket,
    user::{Fields, field, random, text},
};

/// `GNUTLS_E_FATAL_ALERT_RECEIVED`, without its sign.
const FATAL_ALERT_RECEIVED: u32 = 12;
/// Errors that are none (`gnutls_error_is_fatal()`): `LARGE_PACKET`, `WARNING_ALERT_RECEIVED`, `AGAIN`,
/// `REHANDSHAKE`, `INTERRUPTED`, `HEARTBEAT_PONG_RECEIVED`, `HEARTBEAT_PING_RECEIVED`, `REAUTH_REQUEST`.
const GO_ON: [i32; 8] = [-7, -16, -28, -37, -52, -292, -293, -424];
/// `GNUTLS_SERVER`, a flag of `gnutls_init()` that the session keeps.
const SERVER: u32 = 1;
/// `HSK_EARLY_DATA_ACCEPTED` (lib/gnutls_int.h).
const EARLY_DATA_ACCEPTED: u32 = 1 << 23;
/// `GNUTLS_AL_FATAL`.
const FATAL: u32 = 2;
/// Applications may have a pointer where descriptors are expected: those are larger.
const DESCRIPTORS: u64 = 1 << 24;
/// Alerts that end nothing, of those that a session keeps as its last: `close_notify`,
/// `no_certificate` of SSL 3.0, `user_canceled`, `no_renegotiation`, `unrecognized_name`.
const HARMLESS: [u32; 5] = [0, 41, 90, 100, 112];

/// A call that goes on.
#[derive(Clone, Copy)]
struct Call {
    session: u64,
    /// Where it writes its result.
    result: u64,
    /// Attach cookie; as wide as the rest, so that there is no padding.
    file: u64,
}

/// `gnutls_handshake`, by thread. Threads end without notice, so it has to be LRU.
#[map]
static HANDSHAKES: LruHashMap<u64, Call> = LruHashMap::with_max_entries(16384, 0);

/// `gnutls_certificate_verify_peers`, by thread: within a handshake or after it.
#[map]
static VERIFICATIONS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(4096, 0);

/// By attach cookie.
#[map]
static FILES: Array<GnutlsOffsets> = Array::with_max_entries(LIBRARY_FILES, 0);

/// match-proto: `int gnutls_handshake(gnutls_session_t session)`.
#[uprobe]
fn gnutls_handshake(ctx: ProbeContext) -> u32 {
    if let Some((session, file)) = session_of(&ctx) {
        remember(&HANDSHAKES, session, file, 0);
    }
    0
}

/// Return of [`gnutls_handshake`]: 0, or why it failed.
#[uretprobe]
fn gnutls_handshake_return(ctx: RetProbeContext) -> u32 {
    let Some(call) = take(&HANDSHAKES) else {
        return 0;
    };
    let result = ctx.ret::<i32>();
    if result == 0 {
        tell(call, Told::new(LibraryMoment::HANDSHAKE_RETURNED));
    } else if result < 0 && !GO_ON.contains(&result) {
        fail(call, result.unsigned_abs());
    }
    0
}

/// match-proto: `int gnutls_certificate_verify_peers(gnutls_session_t session, gnutls_typed_vdata_st *data,
/// unsigned int elements, unsigned int *status)`, behind all functions that verify the peer.
#[uprobe]
fn gnutls_verify(ctx: ProbeContext) -> u32 {
    if let (Some((session, file)), Some(status)) = (session_of(&ctx), ctx.arg::<u64>(3)) {
        remember(&VERIFICATIONS, session, file, status);
    }
    0
}

/// Return of [`gnutls_verify`].
#[uretprobe]
fn gnutls_verify_return(ctx: RetProbeContext) -> u32 {
    let Some(call) = take(&VERIFICATIONS) else {
        return 0;
    };
    if ctx.ret::<i32>() != 0 {
        return 0;
    }
    if let Some(verify_status @ 1..) = field::<u32>(call.result, 0) {
        let verified = Told::new(LibraryMoment::VERIFIED);
        tell(
            call,
            Told {
                verify_status,
                ..verified
            },
        );
    }
    0
}

/// match-proto: `int gnutls_alert_send(gnutls_session_t session, gnutls_alert_level_t level,
/// gnutls_alert_description_t desc)`. The last is `close_notify`, when the connection is closed: the moment
/// to see whether an alert had come in after the handshake.
#[uprobe]
fn gnutls_alert_send(ctx: ProbeContext) -> u32 {
    let (Some((session, file)), Some(level), Some(alert_sent)) =
        (session_of(&ctx), ctx.arg::<u32>(1), ctx.arg::<u32>(2))
    else {
        return 0;
    };
    let call = call(session, file, 0);
    if level == FATAL {
        let sent = Told::new(LibraryMoment::ALERT_SENT);
        tell(call, Told { alert_sent, ..sent });
    } else {
        look_for_alert(call);
    }
    0
}

/// match-proto: `void gnutls_deinit(gnutls_session_t session)`: the last look.
#[uprobe]
fn gnutls_deinit(ctx: ProbeContext) -> u32 {
    if let Some((session, file)) = session_of(&ctx) {
        look_for_alert(call(session, file, 0));
    }
    0
}

/// Tells of an alert from the peer that ended the session, if there was one.
#[inline(always)]
fn look_for_alert(call: Call) {
    let alert = FILES
        .get(call.file as u32)
        .and_then(|offsets| field::<u32>(call.session, offsets.alert));
    if alert.is_some_and(|alert| !HARMLESS.contains(&alert)) {
        fail(call, FATAL_ALERT_RECEIVED);
    }
}

#[inline(always)]
fn fail(call: Call, reason: u32) {
    let mut told = Told::new(LibraryMoment::ERROR);
    told.reason = reason;
    if reason == FATAL_ALERT_RECEIVED {
        let offsets = FILES.get(call.file as u32);
        let alert = offsets.and_then(|offsets| field::<u32>(call.session, offsets.alert));
        let Some(alert) = alert else {
            return;
        };
        told.alert_received = alert;
    }
    tell(call, told);
}

/// Sends what the library knows of a session.
#[inline(always)]
fn tell(call: Call, told: Told) {
    let Some(offsets) = FILES.get(call.file as u32) else {
        return;
    };
    let address = call.session;
    let descriptor = field::<u64>(address, offsets.descriptor);
    let descriptor = descriptor.filter(|descriptor| *descriptor < DESCRIPTORS);
    let session = Session {
        library: SessionLibrary::GNUTLS,
        address,
        file: call.file as u32,
        cookie: descriptor.map_or(0, |descriptor| socket::cookie(descriptor as u32)),
        random: random(address, offsets.client_random).unwrap_or([0; 4]),
    };
    session::tell(session, told, |record| {
        let mut fields = Fields::new(&mut record.fields, FIELD_STATE);
        if let Some(entity @ 1..) = field::<u32>(address, offsets.entity) {
            fields.add(FIELD_SERVER);
            record.server = u32::from(entity == SERVER);
        }
        if let Some(version) = field::<u64>(address, offsets.version)
            .and_then(|version| field::<u32>(version, offsets.version_id))
        {
            fields.add(FIELD_VERSION);
            record.version = version;
        }
        if let Some(resumed) = field::<u8>(address, offsets.resumed) {
            fields.add(FIELD_RESUMED);
            record.resumed = u32::from(resumed);
        }
        if let Some(flags) = field::<u32>(address, offsets.handshake_flags) {
            fields.add(FIELD_EARLY_DATA);
            record.early_data = u32::from(flags & EARLY_DATA_ACCEPTED != 0);
        }
        if let Some(alpn) = field::<u64>(address, offsets.alpn) {
            let (at, length) = (offsets.alpn_selected, offsets.alpn_length);
            // No such extension, no protocol.
            let length = if alpn == 0 {
                Some(0)
            } else {
                text(alpn, at, length, &mut record.alpn)
            };
            if let Some(length) = length {
                fields.add(FIELD_ALPN);
                record.alpn_length = length;
            }
        }
    });
}

/// The session in the first argument, and the file that the probe is in.
#[inline(always)]
fn session_of(ctx: &ProbeContext) -> Option<(u64, u32)> {
    let session: u64 = ctx.arg(0)?;
    if session == 0 {
        return None;
    }
    // SAFETY: the context of the running program.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    Some((session, cookie as u32))
}

#[inline(always)]
fn call(session: u64, file: u32, result: u64) -> Call {
    Call {
        session,
        result,
        file: u64::from(file),
    }
}

#[inline(always)]
fn remember(calls: &LruHashMap<u64, Call>, session: u64, file: u32, result: u64) {
    // A full LRU map makes room; on failure the call goes unseen here and is seen on the wire.
    let _ = calls.insert(bpf_get_current_pid_tgid(), call(session, file, result), 0);
}

/// The call of this thread that returns now.
#[inline(always)]
fn take(calls: &LruHashMap<u64, Call>) -> Option<Call> {
    let thread = bpf_get_current_pid_tgid();
    let entry = calls.get_ptr(thread)?;
    // SAFETY: an entry of the map, alive while the program runs; only this thread writes it.
    let call = unsafe { *entry };
    let _ = calls.remove(thread);
    Some(call)
}
