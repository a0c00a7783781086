//! Go's type descriptors (internal/abi/type.go), kept in every program for its runtime. They say
//! where the members of its structs are, whatever the version.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{
    Elf, Error, Finding, Member, Offsets,
    layout::{Answer, Code},
};

/// Method tables looked at; large programs have some thousand.
const MOST: u64 = 1 << 16;
/// Members of a struct.
const MOST_MEMBERS: u64 = 256;
/// Longest name.
const LONGEST: usize = 128;
/// Method tables kept.
const MOST_ITABS: usize = 4096;

/// `abi.Type`: size, pointer bytes, hash, flags, alignments, kind, equal, data, name, pointer type.
const TYPE: u64 = 48;
const FLAGS: u64 = 20;
const KIND: u64 = 23;
const NAME: u64 = 40;
/// The name has a star in front that the type has not (`abi.TFlagExtraStar`).
const EXTRA_STAR: u8 = 2;
const KIND_MASK: u8 = 31;
const INTERFACE: u8 = 20;
const POINTER: u8 = 22;
const STRUCT: u8 = 25;

/// From a `net.TCPConn` to its file descriptor: package of each struct, and the member followed.
const DESCRIPTOR: [(&str, &str); 4] = [
    ("net", "conn"),
    ("net", "fd"),
    ("net", "pfd"),
    ("internal/poll", "Sysfd"),
];

/// Members of `tls.Conn`, by any of their names over time, and the bytes read of each.
const CONN: &[(&str, &[&str], u8)] = &[
    ("conn.conn", &["conn"], 16),
    ("conn.is_client", &["isClient"], 1),
    (
        "conn.handshake_complete",
        &["isHandshakeComplete", "handshakeStatus"],
        4,
    ),
    ("conn.handshake_err", &["handshakeErr"], 16),
    ("conn.vers", &["vers"], 2),
    ("conn.cipher_suite", &["cipherSuite"], 2),
    ("conn.did_resume", &["didResume"], 1),
    ("conn.did_hrr", &["didHRR"], 1),
    ("conn.server_name", &["serverName"], 16),
    ("conn.client_protocol", &["clientProtocol"], 16),
];

/// Members of values that handshakes come with: type, its package if any member is private (else the
/// type does not say), member, and the bytes read.
const VALUES: &[(&str, &str, &str, &str, u8)] = &[
    (
        "client_hello.random",
        "*tls.clientHelloMsg",
        "crypto/tls",
        "random",
        24,
    ),
    (
        "verification_error.err",
        "*tls.CertificateVerificationError",
        "",
        "Err",
        16,
    ),
    ("op_error.op", "*net.OpError", "", "Op", 16),
    ("op_error.err", "*net.OpError", "", "Err", 16),
    (
        "invalid_error.reason",
        "x509.CertificateInvalidError",
        "",
        "Reason",
        8,
    ),
    ("hostname_error.host", "x509.HostnameError", "", "Host", 16),
];

/// Interfaces whose method tables are looked at: what they hold is worth knowing.
const INTERFACES: [&str; 5] = [
    "error",
    "net.Conn",
    "tls.handshakeMessage",
    // Of grpc-go.
    "transport.ClientTransport",
    "balancer.SubConn",
];

/// Others hold too much else: the only type of theirs that is worth knowing.
const SINGLE: [(&str, &str); 1] = [("io.Reader", "*bufio.Reader")];

/// From grpc-go's `balancer.SubConn` to the transport of its `addrConn`.
const TRANSPORT: [&str; 2] = ["ac", "transport"];

/// The method table by which a value of a type is an interface: tells what an interface holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Itab {
    /// Address as linked.
    pub address: u64,
    /// `*net.TCPConn`.
    pub type_name: String,
    /// `net.Conn`.
    pub interface: String,
    /// Address of the type as linked.
    #[serde(skip)]
    pub of: u64,
}

/// The types of a program, as far as they are connections or errors.
pub struct Types<'a> {
    elf: &'a Elf<'a>,
    /// What names are relative to.
    base: u64,
    itabs: Vec<Itab>,
}

/// A member of a struct.
#[derive(Clone, Copy)]
struct Field {
    kind: u64,
    /// As kept.
    offset: u64,
}

type Struct = BTreeMap<String, Field>;

impl<'a> Types<'a> {
    /// Finds them; None where a program has none.
    #[must_use]
    pub fn find(elf: &'a Elf<'a>) -> Option<Self> {
        // Position-independent programs have their types where the loader can relocate them. From
        // 1.27 on they have a section of their own.
        let places = [
            ".data.rel.ro.go.type",
            ".go.type",
            ".data.rel.ro",
            ".rodata",
        ];
        let base = places.iter().find_map(|name| elf.section(name))?.address;
        let mut types = Self {
            elf,
            base,
            itabs: Vec::new(),
        };
        for address in types.addresses() {
            if types.itabs.len() < MOST_ITABS
                && let Ok(Some(itab)) = types.itab(address)
            {
                types.itabs.push(itab);
            }
        }
        (!types.itabs.is_empty()).then_some(types)
    }

    /// Addresses of method tables.
    fn addresses(&self) -> Vec<u64> {
        let names = [".itablink", ".data.rel.ro.itablink"];
        if let Some(list) = names.iter().find_map(|name| self.elf.section(name)) {
            let count = ((list.file.end - list.file.start) / 8).min(MOST);
            let at = (0..count).map(|index| list.file.start + 8 * index);
            let addresses = at.filter_map(|at| self.elf.reader.array(at).ok());
            return addresses.map(u64::from_le_bytes).collect();
        }
        self.in_a_row().unwrap_or_default()
    }

    /// From 1.27 on there is no list of them: they are one after another among the types, where
    /// `runtime.moduledata` says.
    fn in_a_row(&self) -> Option<Vec<u64>> {
        let module = self.elf.section(".go.module")?.file.start;
        let word = |index: u64| {
            self.elf
                .reader
                .array(module + 8 * index)
                .map(u64::from_le_bytes)
        };
        // types, typedesclen, etypes, itaboffset, itabsize.
        let [types, offset, size] = [word(37).ok()?, word(40).ok()?, word(41).ok()?];
        let start = types.checked_add(offset)?;
        let end = start.checked_add(size)?;
        if types != self.base || end > word(39).ok()? {
            return None;
        }
        let mut addresses = Vec::new();
        let mut address = start;
        while address < end && addresses.len() < usize::try_from(MOST).ok()? {
            addresses.push(address);
            let interface = self.elf.number(address).ok()?;
            if self.kind(interface).ok()? != INTERFACE {
                return None;
            }
            // abi.InterfaceType: package, methods as slice.
            let methods = self.elf.number(interface.checked_add(TYPE + 16)?).ok()?;
            address = address.checked_add(24 + 8 * methods.clamp(1, 1 << 16))?;
        }
        Some(addresses)
    }

    /// A method table of connections or errors, and its type.
    fn itab(&self, address: u64) -> Result<Option<Itab>, Error> {
        // abi.ITab: interface type, type.
        let interface = self.name(self.elf.number(address)?)?;
        let single = SINGLE.iter().find(|(name, _)| *name == interface);
        if single.is_none() && !INTERFACES.contains(&&interface[..]) {
            return Ok(None);
        }
        let of = self.elf.number(address.saturating_add(8))?;
        let type_name = self.name(of)?;
        let known = single.is_none_or(|(_, only)| *only == type_name);
        Ok(known.then_some(Itab {
            address,
            type_name,
            interface,
            of,
        }))
    }

    /// The method tables of connections and errors.
    #[must_use]
    pub fn itabs(&self) -> Vec<Itab> {
        self.itabs.clone()
    }

    /// Where the members are. A type that cannot be read says nothing.
    #[must_use]
    pub fn members(&self) -> Code {
        self.conn().unwrap_or_default()
    }

    fn conn(&self) -> Option<Code> {
        let conn = self.pointed("*tls.Conn")?;
        let conn = self.members_of(conn, "crypto/tls").ok()??;
        let shift = shift(&conn, "isClient", 0x10)?;
        let mut code = Code::new();
        let mut add = |name, offset: u64, width| {
            let answer = match u32::try_from(offset >> shift) {
                Ok(offset) => Answer::At(Offsets {
                    path: vec![offset],
                    width,
                    bits: None,
                }),
                Err(_) => Answer::Silent("absurd offset".to_owned()),
            };
            code.insert(name, answer);
        };
        for (member, names, width) in CONN {
            let field = names.iter().find_map(|name| conn.get(*name));
            if let Some(field) = field {
                add(member, field.offset, *width);
            }
        }
        // The first error that ended the direction of what is received.
        if let Some(half) = conn.get("in")
            && let Ok(Some(members)) = self.members_of(half.kind, "crypto/tls")
            && let Some(err) = members.get("err")
        {
            add("conn.in_err", half.offset.saturating_add(err.offset), 16);
        }
        if let Some(offset) = self.descriptor() {
            add("net_fd.sysfd", offset, 4);
        }
        Some(code)
    }

    /// Where the members are of values that handshakes come with.
    #[must_use]
    pub fn values(&self) -> Code {
        let Some(shift) = self.shift() else {
            return Code::new();
        };
        let found = VALUES
            .iter()
            .filter_map(|&(name, of, package, member, width)| {
                let of = self.value(of)?;
                let field = *self.members_of(of, package).ok()??.get(member)?;
                let offsets = Offsets {
                    path: vec![u32::try_from(field.offset >> shift).ok()?],
                    width,
                    bits: None,
                };
                Some((name, Answer::At(offsets)))
            });
        found.collect()
    }

    /// Where the transport is in an `addrConn` of grpc-go.
    #[must_use]
    pub fn transport(&self) -> Option<Member> {
        let shift = self.shift()?;
        let mut of = self.pointed("*grpc.acBalancerWrapper")?;
        let mut offset = 0;
        for member in TRANSPORT {
            if self.kind(of).ok()? == POINTER {
                of = self.elf.number(of.checked_add(TYPE)?).ok()?;
            }
            let members = self.members_of(of, "google.golang.org/grpc").ok()??;
            let field = *members.get(member)?;
            (of, offset) = (field.kind, field.offset);
        }
        let offsets = Offsets {
            path: vec![u32::try_from(offset >> shift).ok()?],
            width: 16,
            bits: None,
        };
        Some(Member {
            name: "addr_conn.transport",
            finding: Finding::Binary(offsets),
        })
    }

    /// How offsets are kept in this program.
    fn shift(&self) -> Option<u32> {
        let hello = self.pointed("*tls.clientHelloMsg")?;
        let hello = self.members_of(hello, "crypto/tls").ok()??;
        // Its second member, behind a slice.
        shift(&hello, "vers", 0x18)
    }

    /// The struct of that name, or, with a star in front, what the pointer type points to.
    fn value(&self, name: &str) -> Option<u64> {
        if name.starts_with('*') {
            return self.pointed(name);
        }
        let held = self.itabs.iter().find(|itab| itab.type_name == name);
        Some(held?.of)
    }

    /// Offset of the file descriptor in a `net.netFD`.
    fn descriptor(&self) -> Option<u64> {
        let mut of = self.pointed("*net.TCPConn")?;
        let mut offset = 0u64;
        for (package, member) in DESCRIPTOR {
            if self.kind(of).ok()? == POINTER {
                of = self.elf.number(of.checked_add(TYPE)?).ok()?;
                offset = 0;
            }
            let field = *self.members_of(of, package).ok()??.get(member)?;
            offset = offset.checked_add(field.offset)?;
            of = field.kind;
        }
        Some(offset)
    }

    /// What a pointer type of that name points to: one that some interface holds, or, until 1.26, one
    /// of the list of all types without a name of their own.
    fn pointed(&self, name: &str) -> Option<u64> {
        let held = self.itabs.iter().map(|itab| itab.of);
        let pointer = held.chain(self.listed()).find(|of| {
            self.kind(*of).is_ok_and(|kind| kind == POINTER)
                && self.name(*of).is_ok_and(|found| found == name)
        });
        self.elf.number(pointer?.checked_add(TYPE)?).ok()
    }

    fn listed(&self) -> impl Iterator<Item = u64> {
        let names = [".typelink", ".data.rel.ro.typelink"];
        let list = names.iter().find_map(|name| self.elf.section(name));
        let range = list.map(|list| list.file.clone()).unwrap_or_default();
        let count = ((range.end - range.start) / 4).min(MOST);
        (0..count).filter_map(move |index| {
            let offset = self.elf.reader.array(range.start + 4 * index).ok()?;
            self.base.checked_add(u32::from_le_bytes(offset).into())
        })
    }

    /// Name of a type. Names of named types are kept with the star of their pointer type.
    fn name(&self, of: u64) -> Result<String, Error> {
        let at = self.elf.offset(of.saturating_add(NAME))?;
        let offset = self.elf.reader.array(at).map(u32::from_le_bytes)?;
        let flags = self.elf.reader.array::<1>(at - NAME + FLAGS)?;
        let name = self.string(self.base.saturating_add(offset.into()))?;
        let extra_star = flags[0] & EXTRA_STAR != 0;
        Ok(match name.strip_prefix('*') {
            Some(rest) if extra_star => rest.to_owned(),
            _ => name,
        })
    }

    /// Flags, length as varint, bytes.
    fn string(&self, address: u64) -> Result<String, Error> {
        let at = self.elf.offset(address)?;
        let [_, low, high] = self.elf.reader.array(at)?;
        let (length, bytes) = match (low, high) {
            (low, _) if low < 0x80 => (usize::from(low), 1),
            _ => (usize::from(low & 0x7f) | usize::from(high) << 7, 2),
        };
        if length > LONGEST {
            return Err(Error::TooLarge);
        }
        let mut name = [0; LONGEST];
        if self.elf.reader.paged(&mut name[..length], at + 1 + bytes)? < length {
            return Err(Error::Truncated);
        }
        Ok(String::from_utf8_lossy(&name[..length]).into_owned())
    }

    /// Members of a struct; None where it is none, or not of that package.
    fn members_of(&self, of: u64, package: &str) -> Result<Option<Struct>, Error> {
        if self.kind(of)? != STRUCT {
            return Ok(None);
        }
        let word = |index: u64| self.elf.number(of.saturating_add(TYPE + 8 * index));
        // abi.StructType: package, members as slice.
        let private = word(0)?;
        let of_package = match private {
            0 => package.is_empty(),
            private => self.string(private)? == package,
        };
        if !of_package {
            return Ok(None);
        }
        let (first, count) = (word(1)?, word(2)?);
        let mut members = Struct::new();
        for index in 0..count.min(MOST_MEMBERS) {
            // abi.StructField: name, type, offset.
            let at = first.saturating_add(24 * index);
            let name = self.string(self.elf.number(at)?)?;
            let field = Field {
                kind: self.elf.number(at.saturating_add(8))?,
                offset: self.elf.number(at.saturating_add(16))?,
            };
            members.insert(name, field);
        }
        Ok(Some(members))
    }

    fn kind(&self, of: u64) -> Result<u8, Error> {
        let at = self.elf.offset(of.saturating_add(KIND))?;
        Ok(self.elf.reader.array::<1>(at)?[0] & KIND_MASK)
    }
}

/// Before 1.19 the lowest bit of an offset told whether the member is embedded. A member whose place is
/// known shows which it is.
fn shift(of: &Struct, member: &str, at: u64) -> Option<u32> {
    match of.get(member)?.offset {
        offset if offset == at => Some(0),
        offset if offset == at << 1 => Some(1),
        _ => None,
    }
}
