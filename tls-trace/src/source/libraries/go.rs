//! Hooks Go's crypto/tls, in each program that has it.

use std::fs::File;

use aya::maps::{Array, MapData};
use tls_trace_common::{GO_ADDRESS_BITS, GoOffsets, UNAVAILABLE};

use super::{Hooked, Hooker, NotHooked, Slots};
use crate::{
    inspect::{Family, Library, Place},
    probe::AttachedObject,
};

/// Programs of the object `go` and functions they belong to, at their entry. What ends a handshake is
/// attached before what begins one: a beginning without an end would leave goroutines marked.
const ENTRIES: &[(&str, &str)] = &[
    ("go_alert", "sendAlertLocked"),
    ("go_client_hello", "loadSession"),
    ("go_server_hello", "serverHandshakeState.handshake"),
    ("go_server_hello", "serverHandshakeStateTLS13.handshake"),
];
/// Programs for HTTP/2 and the ends of the names of functions they belong to, in whatever package: a
/// program may have several of a name.
const HTTP2: &[(&str, &[&str])] = &[
    ("go_h2_goaway_sent", &["Framer).WriteGoAway"]),
    ("go_h2_settings_sent", &["Framer).WriteSettings"]),
    ("go_h2_settings_acked", &["Framer).WriteSettingsAck"]),
    (
        "go_h2_goaway_received",
        &["serverConn).processGoAway", "http2Client).handleGoAway"],
    ),
    ("go_h2_goaway_read", &["clientConnReadLoop).processGoAway"]),
    (
        "go_h2_settings_received",
        &[
            "serverConn).processSettings",
            "http2Client).handleSettings",
            "http2Server).handleSettings",
        ],
    ),
    (
        "go_h2_settings_read",
        &["clientConnReadLoop).processSettings"],
    ),
    ("go_h2_ping_lost", &["ClientConn).closeForLostPing"]),
    (
        "go_grpc_close",
        &["http2Client).Close", "http2Server).Close"],
    ),
    ("go_grpc_state", &["addrConn).updateConnectivityState"]),
];
const HANDSHAKES: [&str; 2] = ["clientHandshake", "serverHandshake"];

/// The object `go` and what it is told of each file.
pub(super) struct Go {
    object: AttachedObject,
    table: Array<MapData, Offsets>,
    slots: Slots,
}

/// [`GoOffsets`] as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Offsets(GoOffsets);

// SAFETY: integers without padding, as the ABI asserts.
unsafe impl aya::Pod for Offsets {}

impl Go {
    /// Takes over the object.
    ///
    /// # Errors
    /// It lacks the map `FILES`.
    pub(super) fn new(mut object: AttachedObject) -> Result<Self, NotHooked> {
        Ok(Self {
            table: super::table(&mut object, "FILES")?,
            object,
            slots: Slots::default(),
        })
    }

    fn attach(&mut self, file: &File, library: &Library) -> Result<Hooked, NotHooked> {
        let slot = self.slots.take()?;
        let index = slot.entry;
        self.table
            .set(index, Offsets(offsets(library)), 0)
            .map_err(NotHooked::because)?;
        let entry = |place: &Place| [(place.offset, cookie(index, place.address))];
        let returns = |place: &Place| {
            let inside = place.returns.iter();
            let inside = inside.map(|at| (*at, cookie(index, place.address + at - place.offset)));
            inside.collect()
        };
        let mut links = Vec::new();
        let mut attach =
            |program, function: &str, places: &[(u64, u64)]| -> Result<(), NotHooked> {
                let attached = self.object.attach_uprobes(program, file, places);
                links.extend(attached.map_err(|error| NotHooked(format!("{function}: {error}")))?);
                Ok(())
            };
        // The linker leaves out what a program has no use for: a client's server, a server's client.
        let has = |function: &'static str| library.place(function).map(|place| (function, place));
        let handshakes: Vec<_> = HANDSHAKES.into_iter().filter_map(has).collect();
        if handshakes.is_empty() {
            return Err(NotHooked("no handshake can be located".to_owned()));
        }
        for (function, place) in &handshakes {
            let returns: Vec<_> = returns(place);
            if returns.is_empty() {
                let unknown = format!("the returns of {function} cannot be located");
                return Err(NotHooked(unknown));
            }
            attach("go_handshake_return", function, &returns)?;
        }
        for &(program, function) in ENTRIES {
            if let Some((_, place)) = has(function) {
                attach(program, function, &entry(place))?;
            }
        }
        for &(program, functions) in HTTP2 {
            let named = |name: &str| functions.iter().any(|end| name.ends_with(end));
            let hooks = library.hooks.iter().filter(|hook| named(hook.name));
            let places = hooks.filter_map(|hook| hook.place.as_ref());
            let places: Vec<_> = places.flat_map(entry).collect();
            if !places.is_empty() {
                attach(program, functions[0], &places)?;
            }
        }
        for (function, place) in handshakes {
            attach("go_handshake", function, &entry(place))?;
        }
        Ok(Hooked {
            links,
            slot: Some(slot),
        })
    }
}

impl Hooker for Go {
    fn hook(&mut self, file: &File, library: &Library) -> Option<Result<Hooked, NotHooked>> {
        (library.family == Family::Go).then(|| self.attach(file, library))
    }
}

/// What a probe is told of itself: the file, and its address as linked.
fn cookie(file: u32, address: u64) -> u64 {
    let addresses = (1 << GO_ADDRESS_BITS) - 1;
    u64::from(file) << GO_ADDRESS_BITS | (address & addresses)
}

/// What is known of a program.
fn offsets(library: &Library) -> GoOffsets {
    let member = |name| match library.offsets(name).map(|offsets| &offsets.path[..]) {
        Some([offset]) => *offset,
        _ => UNAVAILABLE,
    };
    // Two types of that name: of packages of the same name, and no telling which is which.
    let of = |name: &str| {
        let mut same = library.itabs.iter().filter(|itab| itab.type_name == name);
        match same.next() {
            Some(first) if same.all(|other| other.of == first.of) => first.of,
            _ => 0,
        }
    };
    GoOffsets {
        tcp_conn: of("*net.TCPConn"),
        verification_error: of("*tls.CertificateVerificationError"),
        permanent_error: of("*tls.permanentError"),
        op_error: of("*net.OpError"),
        alert: of("tls.alert"),
        unknown_authority: of("x509.UnknownAuthorityError"),
        invalid_error: of("x509.CertificateInvalidError"),
        hostname_error: of("x509.HostnameError"),
        messages: [
            of("*errors.errorString"),
            of("*fmt.wrapError"),
            of("tls.RecordHeaderError"),
            of("transport.ConnectionError"),
        ],
        tls_conn: of("*tls.Conn"),
        buffered: of("*bufio.Reader"),
        syscall_conn: of("*credentials.syscallConn"),
        http2_client: of("*transport.http2Client"),
        conn: member("conn.conn"),
        is_client: member("conn.is_client"),
        version: member("conn.vers"),
        resumed: member("conn.did_resume"),
        alpn: member("conn.client_protocol"),
        in_err: member("conn.in_err"),
        sysfd: member("net_fd.sysfd"),
        random: member("client_hello.random"),
        verification_err: member("verification_error.err"),
        op: member("op_error.op"),
        op_err: member("op_error.err"),
        invalid_reason: member("invalid_error.reason"),
        hostname: member("hostname_error.host"),
        transport: member("addr_conn.transport"),
    }
}
