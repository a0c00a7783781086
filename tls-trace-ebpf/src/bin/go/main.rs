//! uprobes on Go's crypto/tls: how a handshake ended and why, alerts, what was negotiated behind
//! encryption.
//!
//! Never at the return of a function by a return probe: those move return addresses, which Go's runtime
//! reads when it grows a stack. The return instructions are probed instead. Goroutines change threads,
//! so what belongs to a call is kept by goroutine, which register R14 (R28) names in all Go code.

#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a program is one function to the kernel's stack limit and to the verifier's bounds"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "cookies are made of 16 and 48 bits; of registers and Go ints the lower part is meant"
)]
#![expect(
    clippy::incompatible_msrv,
    reason = "eBPF programs have a toolchain of their own, which is newer"
)]

mod http2;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_attach_cookie, bpf_get_current_pid_tgid},
    macros::{map, uprobe},
    maps::{Array, LruHashMap},
    programs::ProbeContext,
};
use tls_trace_common::{
    FIELD_ALPN, FIELD_RESUMED, FIELD_SERVER, FIELD_STATE, FIELD_VERSION, GO_ADDRESS_BITS, GoError,
    GoOffsets, GoRecord, Kind, LIBRARY_FILES, LibraryMoment, Lost, NO_DETAIL,
};
use tls_trace_ebpf::{
    kernel::header,
    output::{current_task, send},
    socket,
    user::{Fields, copy, field, peek},
};

/// Where `struct pt_regs` has the registers that Go's ABI uses (`src/cmd/compile/abi-internal.md`), in
/// words: the first five arguments or results, the goroutine and the program counter.
#[expect(unexpected_cfgs, reason = "told by the build")]
const REGISTERS: [usize; 7] = if cfg!(bpf_target_arch = "aarch64") {
    [0, 1, 2, 3, 4, 28, 32]
} else {
    // ax, bx, cx, di, si, r14, ip
    [10, 5, 11, 14, 13, 1, 16]
};
const FIRST: usize = REGISTERS[0];
const SECOND: usize = REGISTERS[1];
const THIRD: usize = REGISTERS[2];
const FOURTH: usize = REGISTERS[3];
const FIFTH: usize = REGISTERS[4];
const GOROUTINE: usize = REGISTERS[5];
const COUNTER: usize = REGISTERS[6];

/// `close_notify`.
const CLOSE_NOTIFY: u8 = 0;
/// `serverHandshakeState.clientHello` and that of `serverHandshakeStateTLS13`, behind the connection
/// and the context, Go 1.17 to 1.27. A wrong one would find no random of 32 bytes that the wire knows.
const CLIENT_HELLO: u32 = 24;
/// Length of "remote error", the `Op` of an alert from the peer; "local error" is of one sent.
const REMOTE_ERROR: u64 = 12;

/// Something in a process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    address: u64,
    process: u64,
}

/// A connection that shakes hands or did.
#[derive(Clone, Copy)]
struct Session {
    /// ClientHello.random; zero until it is seen.
    random: [u64; 4],
    /// Cookie of its socket, 0 unknown.
    cookie: u64,
    /// The last alert sent, [`NO_DETAIL`] none.
    alert: u32,
    /// 1: the handshake is complete.
    done: u32,
}

impl Session {
    #[inline(always)]
    fn write_random(&self, to: &mut [u8; 32]) {
        let words = to.as_chunks_mut::<8>().0.iter_mut();
        for (to, from) in words.zip(self.random) {
            *to = from.to_ne_bytes();
        }
    }
}

/// An interface value.
#[derive(Clone, Copy)]
struct Interface {
    table: u64,
    data: u64,
}

/// A string or the beginning of a slice.
#[derive(Clone, Copy)]
struct Slice {
    data: u64,
    length: u64,
}

/// What an error says.
#[derive(Clone, Copy)]
struct Failure {
    error: GoError,
    reason: u32,
    text: Slice,
}

/// By address of the `tls.Conn`. Not every connection is closed in good order, so it has to be LRU.
#[map]
static SESSIONS: LruHashMap<Key, Session> = LruHashMap::with_max_entries(32768, 0);

/// The connection that a goroutine shakes hands for.
#[map]
static HANDSHAKES: LruHashMap<Key, u64> = LruHashMap::with_max_entries(16384, 0);

/// By the upper bits of the attach cookie.
#[map]
static FILES: Array<GoOffsets> = Array::with_max_entries(LIBRARY_FILES, 0);

/// A program that hit a probe.
struct Hit {
    context: ProbeContext,
    file: u32,
    offsets: &'static GoOffsets,
    /// What is added to linked addresses.
    bias: u64,
}

impl Hit {
    #[inline(always)]
    fn new(context: ProbeContext) -> Option<Self> {
        // SAFETY: the context of the running program.
        let cookie = unsafe { bpf_get_attach_cookie(context.as_ptr()) };
        let file = (cookie >> GO_ADDRESS_BITS) as u32;
        let linked = cookie & ((1 << GO_ADDRESS_BITS) - 1);
        let offsets = FILES.get(file)?;
        let bias = register(&context, COUNTER).wrapping_sub(linked);
        Some(Self {
            context,
            file,
            offsets,
            bias,
        })
    }

    #[inline(always)]
    fn first(&self) -> u64 {
        register(&self.context, FIRST)
    }

    #[inline(always)]
    fn second(&self) -> u64 {
        register(&self.context, SECOND)
    }

    #[inline(always)]
    fn goroutine(&self) -> Key {
        key(register(&self.context, GOROUTINE))
    }

    /// Linked address of the type of what an interface holds.
    #[inline(always)]
    fn type_of(&self, value: Interface) -> u64 {
        // abi.ITab: interface, type.
        field::<u64>(value.table, 8).map_or(0, |of| of.wrapping_sub(self.bias))
    }

    /// As [`Self::type_of`], of two words that may be no interface.
    #[inline(always)]
    fn type_if_any(&self, value: Interface) -> u64 {
        if value.table == 0 {
            return 0;
        }
        peek::<u64>(value.table.wrapping_add(8)).map_or(0, |of| of.wrapping_sub(self.bias))
    }

    /// Cookie of the socket below a connection; 0 where something is in between.
    #[inline(always)]
    fn cookie(&self, connection: u64) -> u64 {
        let Some(conn) = field::<Interface>(connection, self.offsets.conn) else {
            return 0;
        };
        if self.offsets.tcp_conn == 0 || self.type_of(conn) != self.offsets.tcp_conn {
            return 0;
        }
        // net.TCPConn is a net.conn, which is a pointer to a net.netFD.
        let descriptor = field::<u64>(conn.data, 0);
        let number = descriptor.and_then(|fd| field::<u32>(fd, self.offsets.sysfd));
        number.map_or(0, socket::cookie)
    }

    /// Looks into an error: through those that only wrap another, at most three deep.
    #[inline(always)]
    fn failure(&self, mut value: Interface) -> Failure {
        let offsets = self.offsets;
        let mut of = self.type_of(value);
        for _ in 0..3 {
            if of == 0 {
                break;
            }
            let inner = if of == offsets.verification_error {
                field::<Interface>(value.data, offsets.verification_err)
            } else if of == offsets.permanent_error {
                // Its only member.
                field::<Interface>(value.data, 0)
            } else {
                None
            };
            let Some(inner) = inner else {
                break;
            };
            value = inner;
            of = self.type_of(value);
        }
        let mut failure = Failure {
            error: GoError::OTHER,
            reason: 0,
            text: Slice { data: 0, length: 0 },
        };
        if of == 0 {
            return failure;
        }
        let [a, b, c, d] = offsets.messages;
        if of == a || of == b || of == c || of == d {
            if let Some(text) = field::<Slice>(value.data, 0) {
                failure.error = GoError::MESSAGE;
                failure.text = text;
            }
        } else if of == offsets.op_error {
            self.operation(value.data, &mut failure);
        } else if of == offsets.unknown_authority {
            failure.error = GoError::UNKNOWN_AUTHORITY;
        } else if of == offsets.invalid_error {
            if let Some(reason) = field::<u64>(value.data, offsets.invalid_reason) {
                failure.error = GoError::CERTIFICATE_INVALID;
                failure.reason = reason as u32;
            }
        } else if of == offsets.hostname_error {
            failure.error = GoError::HOSTNAME;
            if let Some(text) = field::<Slice>(value.data, offsets.hostname) {
                failure.text = text;
            }
        }
        failure
    }

    /// A `net.OpError`: an alert, or reading or writing that failed.
    #[inline(always)]
    fn operation(&self, data: u64, failure: &mut Failure) {
        let offsets = self.offsets;
        let (Some(operation), Some(inner)) = (
            field::<Slice>(data, offsets.op),
            field::<Interface>(data, offsets.op_err),
        ) else {
            return;
        };
        if offsets.alert == 0 || self.type_of(inner) != offsets.alert {
            failure.error = GoError::IO;
        } else if operation.length == REMOTE_ERROR
            && let Some(description) = field::<u8>(inner.data, 0)
        {
            failure.error = GoError::ALERT_RECEIVED;
            failure.reason = u32::from(description);
        }
    }

    /// Sends what Go knows of a connection.
    #[inline(always)]
    fn tell(&self, connection: u64, session: &Session, failure: Option<Failure>) {
        let offsets = self.offsets;
        let moment = match failure {
            Some(_) => LibraryMoment::ERROR,
            None => LibraryMoment::HANDSHAKE_RETURNED,
        };
        send::<GoRecord>(Lost::LIBRARY, |record| {
            record.header = header(session.cookie, Kind::GO, 0, 0, moment.0);
            current_task(&mut record.task);
            record.connection = connection;
            session.write_random(&mut record.random);
            record.alpn = [0; 64];
            record.text = [0; 128];
            record.file = self.file;
            record.alert_sent = session.alert;
            let (error, reason, text) = match failure {
                Some(failure) => (failure.error, failure.reason, failure.text),
                None => (GoError::NONE, 0, Slice { data: 0, length: 0 }),
            };
            (record.error, record.reason) = (error.0, reason);
            record.text_length = if copy(&mut record.text, text.data, text.length) {
                length(text)
            } else {
                0
            };
            let mut fields = Fields::new(&mut record.fields, FIELD_STATE);
            let version = field::<u16>(connection, offsets.version);
            if version.is_some() {
                fields.add(FIELD_VERSION);
            }
            record.version = version.map_or(0, u32::from);
            let client = field::<u8>(connection, offsets.is_client);
            if client.is_some() {
                fields.add(FIELD_SERVER);
            }
            record.server = client.map_or(0, |client| u32::from(client == 0));
            let resumed = field::<u8>(connection, offsets.resumed);
            if resumed.is_some() {
                fields.add(FIELD_RESUMED);
            }
            record.resumed = resumed.map_or(0, u32::from);
            record.alpn_length = 0;
            if let Some(alpn) = field::<Slice>(connection, offsets.alpn) {
                if alpn.length == 0 {
                    fields.add(FIELD_ALPN);
                } else if copy(&mut record.alpn, alpn.data, alpn.length) {
                    fields.add(FIELD_ALPN);
                    record.alpn_length = length(alpn);
                }
            }
        });
    }
}

/// `(*Conn).clientHandshake` and `(*Conn).serverHandshake`: the receiver is the connection.
#[uprobe]
fn go_handshake(ctx: ProbeContext) -> u32 {
    let Some(hit) = Hit::new(ctx) else {
        return 0;
    };
    let connection = hit.first();
    let session = Session {
        random: [0; 4],
        cookie: hit.cookie(connection),
        alert: NO_DETAIL,
        done: 0,
    };
    // Full LRU maps make room; on failure the handshake goes unseen here and is seen on the wire.
    let _ = SESSIONS.insert(key(connection), session, 0);
    let _ = HANDSHAKES.insert(hit.goroutine(), connection, 0);
    0
}

/// `(*Conn).loadSession(hello *clientHelloMsg)`: every client calls it with its ClientHello.
#[uprobe]
fn go_client_hello(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        remember_random(&hit, hit.first(), hit.second());
    }
    0
}

/// `handshake()` of `serverHandshakeState` and `serverHandshakeStateTLS13`: both begin with the
/// connection, and have the ClientHello at the same place.
#[uprobe]
fn go_server_hello(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        let state = hit.first();
        // One after the other: of two at once, the verifier of Linux 6.1 cannot tell that both are there.
        if let Some(connection) = field::<u64>(state, 0)
            && let Some(hello) = field::<u64>(state, CLIENT_HELLO)
        {
            remember_random(&hit, connection, hello);
        }
    }
    0
}

#[inline(always)]
fn remember_random(hit: &Hit, connection: u64, hello: u64) {
    let Some(session) = SESSIONS.get_ptr_mut(key(connection)) else {
        return;
    };
    let Some(random) = field::<Slice>(hello, hit.offsets.random) else {
        return;
    };
    if random.length == 32
        && let Some(random) = field::<[u64; 4]>(random.data, 0)
    {
        // SAFETY: an entry of the map, alive while the program runs; only the goroutine that shakes
        // hands for this connection writes it.
        unsafe { (*session).random = random };
    }
}

/// Return instructions of what [`go_handshake`] is attached to; the result is an error.
#[uprobe]
fn go_handshake_return(ctx: ProbeContext) -> u32 {
    let Some(hit) = Hit::new(ctx) else {
        return 0;
    };
    let goroutine = hit.goroutine();
    let Some(connection) = HANDSHAKES.get_ptr(goroutine) else {
        return 0;
    };
    // SAFETY: an entry of the map, alive while the program runs; only this goroutine writes it.
    let connection = unsafe { *connection };
    let _ = HANDSHAKES.remove(goroutine);
    let Some(entry) = SESSIONS.get_ptr_mut(key(connection)) else {
        return 0;
    };
    // SAFETY: as above.
    let session = unsafe { *entry };
    let error = Interface {
        table: hit.first(),
        data: hit.second(),
    };
    if error.table == 0 {
        // SAFETY: as above.
        unsafe { (*entry).done = 1 };
        hit.tell(connection, &session, None);
    } else {
        let failure = hit.failure(error);
        let _ = SESSIONS.remove(key(connection));
        hit.tell(connection, &session, Some(failure));
    }
    0
}

/// `(*Conn).sendAlertLocked(err alert)`. The last is `close_notify`, when the connection is closed: the
/// moment to see whether an alert had come in after the handshake.
#[uprobe]
fn go_alert(ctx: ProbeContext) -> u32 {
    let Some(hit) = Hit::new(ctx) else {
        return 0;
    };
    let (connection, description) = (hit.first(), hit.second() as u8);
    let Some(entry) = SESSIONS.get_ptr_mut(key(connection)) else {
        return 0;
    };
    if description != CLOSE_NOTIFY {
        // SAFETY: an entry of the map, alive while the program runs; the connection's lock is held.
        unsafe { (*entry).alert = u32::from(description) };
        return 0;
    }
    // SAFETY: as above.
    let session = unsafe { *entry };
    let _ = SESSIONS.remove(key(connection));
    let Some(error) = field::<Interface>(connection, hit.offsets.in_err) else {
        return 0;
    };
    if session.done == 1 && error.table != 0 {
        let failure = hit.failure(error);
        if failure.error == GoError::ALERT_RECEIVED {
            hit.tell(connection, &session, Some(failure));
        }
    }
    0
}

/// Length of a text: more than any, where it does not fit.
#[inline(always)]
fn length(text: Slice) -> u32 {
    text.length.min(u64::from(u32::MAX)) as u32
}

/// Something of the current process.
#[inline(always)]
fn key(address: u64) -> Key {
    let process = bpf_get_current_pid_tgid() >> 32;
    Key { address, process }
}

#[inline(always)]
fn register(context: &ProbeContext, index: usize) -> u64 {
    let word = context.regs.cast::<u64>().wrapping_add(index);
    // SAFETY: the context of the program, which has that many words; the verifier checks the constant.
    unsafe { *word }
}
