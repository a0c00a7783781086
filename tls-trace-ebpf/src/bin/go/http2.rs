//! uprobes on Go's HTTP/2 and on grpc-go: what ends a connection, and how far it came. Control frames
//! that come once or a few times for each connection, never those that come with every request.
//!
//! What such a function works on leads to the `tls.Conn` below, which the handshake is known by. Each
//! step is checked by the type of what an interface holds, and none looks past the object it begins in:
//! a connection that is wrapped in a type not known here is not found, rather than taken for another.

use aya_ebpf::{
    macros::{map, uprobe},
    maps::LruHashMap,
    programs::ProbeContext,
};
use tls_trace_common::{FIELD_SERVER, Http2Moment, Http2Record, Kind, Lost};
use tls_trace_ebpf::{
    kernel::header,
    output::{current_task, send},
    user::{copy, field},
};

use crate::{
    FIFTH, FOURTH, Hit, Interface, Key, SESSIONS, Session, Slice, THIRD, key, length, register,
};

/// Words of an owner that are looked through for its connection. All of them are larger: serverConn and
/// `ClientConn` of http2, `http2Client` (its word 16 in grpc-go 1.82) and `http2Server` of grpc-go.
const OWNER: u64 = 24;
/// Interfaces between a framer or an owner and the `tls.Conn`, at most.
const STEPS: u32 = 3;
/// `bufio.Reader.rd`, behind a slice.
const READER: u32 = 24;
/// `http2.FrameHeader.Flags`.
const FLAGS: u32 = 2;
/// `http2.FlagSettingsAck`.
const ACK: u8 = 1;
/// `http2.GoAwayFrame`: error code, and debug data, behind the header of 12 bytes and the last stream.
const CODE: u32 = 16;
const DEBUG: u32 = 24;
/// `connectivity.Ready`.
const READY: u32 = 2;

/// No text.
const NOTHING: Slice = Slice { data: 0, length: 0 };

/// The connection of a subchannel that is ready.
#[derive(Clone, Copy)]
struct Channel {
    connection: u64,
    session: Session,
}

/// By address of grpc-go's `addrConn`.
#[map]
static CHANNELS: LruHashMap<Key, Channel> = LruHashMap::with_max_entries(8192, 0);

impl Hit {
    #[inline(always)]
    fn argument(&self, index: usize) -> u64 {
        register(&self.context, index)
    }

    /// The `tls.Conn` that an interface holds, or that what it holds passes everything on to.
    #[inline(always)]
    fn below(&self, mut value: Interface) -> Option<u64> {
        let offsets = self.offsets;
        for _ in 0..STEPS {
            let of = self.type_of(value);
            if of == 0 {
                return None;
            }
            let inner = if of == offsets.tls_conn {
                return Some(value.data);
            } else if of == offsets.buffered {
                READER
            } else if of == offsets.syscall_conn {
                0
            } else {
                return None;
            };
            value = field::<Interface>(value.data, inner)?;
        }
        None
    }

    /// That of a `Framer`, which begins with what it reads from.
    #[inline(always)]
    fn of_framer(&self, framer: u64) -> Option<u64> {
        self.below(field::<Interface>(framer, 0)?)
    }

    /// That of what owns a connection, and has it among its first members.
    #[inline(always)]
    fn of_owner(&self, owner: u64) -> Option<u64> {
        let offsets = self.offsets;
        for word in 0..OWNER {
            let value = field::<Interface>(owner.wrapping_add(8 * word), 0)?;
            let of = self.type_if_any(value);
            if of != 0 && (of == offsets.tls_conn || of == offsets.syscall_conn) {
                return self.below(value);
            }
        }
        None
    }

    /// What is known of a connection: from its handshake, else its socket.
    #[inline(always)]
    fn session(&self, connection: u64) -> Option<Session> {
        if let Some(session) = SESSIONS.get_ptr(key(connection)) {
            // SAFETY: an entry of the map, alive while the program runs; its random and cookie do not
            // change any more.
            return Some(unsafe { *session });
        }
        let cookie = self.cookie(connection);
        (cookie != 0).then_some(Session {
            random: [0; 4],
            cookie,
            alert: 0,
            done: 1,
        })
    }

    #[inline(always)]
    fn say(&self, connection: Option<u64>, moment: Http2Moment, code: u32, text: Slice) {
        if let Some(connection) = connection
            && let Some(session) = self.session(connection)
        {
            self.say_of(connection, &session, moment, code, text);
        }
    }

    #[inline(always)]
    fn say_of(
        &self,
        connection: u64,
        session: &Session,
        moment: Http2Moment,
        code: u32,
        text: Slice,
    ) {
        send::<Http2Record>(Lost::LIBRARY, |record| {
            record.header = header(session.cookie, Kind::HTTP2, 0, 0, moment.0);
            current_task(&mut record.task);
            record.connection = connection;
            session.write_random(&mut record.random);
            record.text = [0; 128];
            record.text_length = if copy(&mut record.text, text.data, text.length) {
                length(text)
            } else {
                0
            };
            let client = field::<u8>(connection, self.offsets.is_client);
            record.fields = if client.is_some() { FIELD_SERVER } else { 0 };
            record.server = client.map_or(0, |client| u32::from(client == 0));
            record.code = code;
            record.file = self.file;
            record.reserved = 0;
        });
    }

    /// A GOAWAY that was read.
    #[inline(always)]
    fn goaway(&self, connection: Option<u64>) {
        let frame = self.second();
        if let Some(code) = field::<u32>(frame, CODE) {
            let debug = field::<Slice>(frame, DEBUG).unwrap_or(NOTHING);
            self.say(connection, Http2Moment::GOAWAY_RECEIVED, code, debug);
        }
    }

    /// SETTINGS that were read.
    #[inline(always)]
    fn settings(&self, connection: Option<u64>) {
        let moment = match field::<u8>(self.second(), FLAGS) {
            Some(flags) if flags & ACK != 0 => Http2Moment::SETTINGS_ACK_RECEIVED,
            Some(_) => Http2Moment::SETTINGS_RECEIVED,
            None => return,
        };
        self.say(connection, moment, 0, NOTHING);
    }
}

/// `(*Framer).WriteGoAway(lastStream uint32, code ErrCode, debug []byte)`.
#[uprobe]
fn go_h2_goaway_sent(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        let debug = Slice {
            data: hit.argument(FOURTH),
            length: hit.argument(FIFTH),
        };
        let code = hit.argument(THIRD) as u32;
        let connection = hit.of_framer(hit.first());
        hit.say(connection, Http2Moment::GOAWAY_SENT, code, debug);
    }
    0
}

/// `(*Framer).WriteSettings`.
#[uprobe]
fn go_h2_settings_sent(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        let connection = hit.of_framer(hit.first());
        hit.say(connection, Http2Moment::SETTINGS_SENT, 0, NOTHING);
    }
    0
}

/// `(*Framer).WriteSettingsAck`.
#[uprobe]
fn go_h2_settings_acked(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        let connection = hit.of_framer(hit.first());
        hit.say(connection, Http2Moment::SETTINGS_ACK_SENT, 0, NOTHING);
    }
    0
}

/// `processGoAway` and `handleGoAway` of what owns a connection, with the frame.
#[uprobe]
fn go_h2_goaway_received(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        hit.goaway(hit.of_owner(hit.first()));
    }
    0
}

/// The same of http2's `clientConnReadLoop`, which is no more than a pointer to the owner.
#[uprobe]
fn go_h2_goaway_read(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx)
        && let Some(owner) = field::<u64>(hit.first(), 0)
    {
        hit.goaway(hit.of_owner(owner));
    }
    0
}

/// `processSettings` and `handleSettings` of what owns a connection, with the frame.
#[uprobe]
fn go_h2_settings_received(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        hit.settings(hit.of_owner(hit.first()));
    }
    0
}

/// The same of http2's `clientConnReadLoop`.
#[uprobe]
fn go_h2_settings_read(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx)
        && let Some(owner) = field::<u64>(hit.first(), 0)
    {
        hit.settings(hit.of_owner(owner));
    }
    0
}

/// `(*ClientConn).closeForLostPing`.
#[uprobe]
fn go_h2_ping_lost(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        let connection = hit.of_owner(hit.first());
        hit.say(connection, Http2Moment::PING_LOST, 0, NOTHING);
    }
    0
}

/// `(*http2Client).Close(err error)` and `(*http2Server).Close(err error)` of grpc-go.
#[uprobe]
fn go_grpc_close(ctx: ProbeContext) -> u32 {
    if let Some(hit) = Hit::new(ctx) {
        let connection = hit.of_owner(hit.first());
        let failure = hit.failure(Interface {
            table: hit.second(),
            data: hit.argument(THIRD),
        });
        hit.say(connection, Http2Moment::CLOSED, 0, failure.text);
    }
    0
}

/// `(*addrConn).updateConnectivityState(state, err)`. It has a connection when it becomes ready, and none
/// any more when it says so.
#[uprobe]
fn go_grpc_state(ctx: ProbeContext) -> u32 {
    let Some(hit) = Hit::new(ctx) else {
        return 0;
    };
    let (channel, state) = (hit.first(), hit.second() as u32);
    if state != READY {
        if let Some(entry) = CHANNELS.get_ptr(key(channel)) {
            // SAFETY: an entry of the map, alive while the program runs; the channel's lock is held.
            let of = unsafe { *entry };
            let _ = CHANNELS.remove(key(channel));
            let moment = Http2Moment::CHANNEL;
            hit.say_of(of.connection, &of.session, moment, state, NOTHING);
        }
        return 0;
    }
    let Some(transport) = field::<Interface>(channel, hit.offsets.transport) else {
        return 0;
    };
    if hit.offsets.http2_client != 0
        && hit.type_of(transport) == hit.offsets.http2_client
        && let Some(connection) = hit.of_owner(transport.data)
        && let Some(session) = hit.session(connection)
    {
        let of = Channel {
            connection,
            session,
        };
        // A full LRU map makes room; on failure the end of this state goes unseen.
        let _ = CHANNELS.insert(key(channel), of, 0);
        hit.say_of(connection, &session, Http2Moment::CHANNEL, state, NOTHING);
    }
    0
}
