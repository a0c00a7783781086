//! Programs with a small BoringSSL or OpenSSL and no symbols, made byte by byte.

use std::collections::{BTreeMap, BTreeSet};

use crate::inspect::{stripped::Role, tests::sample::Writer};

const EHDR: usize = 64;
const PHDR: usize = 56;
const SHDR: usize = 64;
/// Files of BoringSSL, each as the compiler was given it.
const BORINGSSL: [&str; 5] = [
    "/b/ssl/ssl_lib.cc",
    "/b/ssl/s3_pkt.cc",
    "/b/ssl/s3_both.cc",
    "/b/ssl/tls13_client.cc",
    "/b/ssl/tls13_server.cc",
];
/// The same of OpenSSL, whose names of functions are strings, too.
const OPENSSL: [&str; 3] = [
    "ssl/ssl_lib.c",
    "ssl/statem/statem_lib.c",
    "../openssl/ssl/record/rec_layer_s3.c",
];
/// Functions in the table of the protocol.
const METHODS: usize = 18;

/// The program, and what is where.
pub struct Program {
    pub bytes: Vec<u8>,
    /// First byte of each function, which is also its address.
    pub functions: BTreeMap<&'static str, usize>,
    /// What there is to be found.
    pub truth: BTreeSet<(Role, u64)>,
    /// The function that most calls are of.
    pub elected: &'static str,
    /// Distances from the table of functions to each, by name.
    pub unwind: BTreeMap<&'static str, usize>,
    /// First byte of the table of functions, of the relocations, and of the section headers.
    pub tables: [usize; 3],
}

/// Code under construction. It begins where the file does.
struct Code {
    bytes: Vec<u8>,
    strings: BTreeMap<String, usize>,
    functions: Vec<(&'static str, usize, usize)>,
}

impl Code {
    fn new(strings: impl IntoIterator<Item = String>) -> Self {
        let mut bytes = vec![0; EHDR + 2 * PHDR];
        let mut places = BTreeMap::new();
        for string in strings {
            let at = bytes.len();
            bytes.extend([string.as_bytes(), b"\0"].concat());
            places.insert(string, at);
        }
        // What tells that there is TLS at all.
        bytes.extend([&b"c hs"[..], b" traffic", b"\0"].concat());
        Self {
            bytes,
            strings: places,
            functions: Vec::new(),
        }
    }

    fn at(&self, name: &str) -> usize {
        let mut functions = self.functions.iter();
        functions.find(|(other, ..)| *other == name).unwrap().1
    }

    /// Adds a function; `write` says what it does.
    fn function(&mut self, name: &'static str, write: impl FnOnce(&mut Self)) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(16), 0xcc);
        let start = self.bytes.len();
        write(self);
        self.bytes.push(0xc3);
        let length = self.bytes.len() - start;
        self.functions.push((name, start, length));
    }

    fn relative(&mut self, to: usize) {
        let from = i64::try_from(self.bytes.len()).unwrap() + 4;
        let distance = i32::try_from(i64::try_from(to).unwrap() - from).unwrap();
        self.bytes.extend(distance.to_le_bytes());
    }

    fn call(&mut self, to: &str) {
        let to = self.at(to);
        self.bytes.push(0xe8);
        self.relative(to);
    }

    /// `ERR_put_error(16, 0, reason, file, 7)`.
    fn raise(&mut self, reason: u32, file: &str) {
        let file = self.strings[&format!("/b/ssl/{file}")];
        self.bytes.extend([0xbf, 16, 0, 0, 0, 0x31, 0xf6, 0xba]);
        self.bytes.extend(reason.to_le_bytes());
        self.bytes.extend([0x48, 0x8d, 0x0d]);
        self.relative(file);
        self.bytes.extend([0x41, 0xb8, 7, 0, 0, 0]);
        self.call("ERR_put_error");
    }

    /// `ERR_set_debug(file, 7, function)`.
    fn set_debug(&mut self, file: &str, function: &str) {
        let (file, function) = (self.strings[file], self.strings[function]);
        self.bytes.extend([0x48, 0x8d, 0x15]);
        self.relative(function);
        self.bytes.extend([0xbe, 7, 0, 0, 0, 0x48, 0x8d, 0x3d]);
        self.relative(file);
        self.call("ERR_set_debug");
    }

    /// `ERR_raise(20, reason)`, in a function of that name.
    fn raise_error(&mut self, reason: u32, file: &str, function: &str) {
        self.set_debug(file, function);
        self.bytes.extend([0x31, 0xd2, 0xbe]);
        self.bytes.extend(reason.to_le_bytes());
        self.bytes.extend([0x31, 0xc0, 0xbf, 20, 0, 0, 0]);
        self.call("ERR_set_error");
    }

    /// `SSLfatal(ssl, 40, reason)`, in a function of that name; the session is in `rbx`.
    fn fatal(&mut self, reason: u32, function: &str) {
        self.set_debug("ssl/statem/statem_lib.c", function);
        self.bytes.extend([0x48, 0x89, 0xdf, 0xba]);
        self.bytes.extend(reason.to_le_bytes());
        self.bytes.extend([0x31, 0xc9, 0xbe, 40, 0, 0, 0]);
        self.call("ossl_statem_fatal");
    }

    /// `lea rax, [rbx + offset]`.
    fn use_member(&mut self, offset: u32) {
        self.bytes.extend([0x48, 0x8d, 0x83]);
        self.bytes.extend(offset.to_le_bytes());
    }

    /// `mov rax, [rdi + 0x30]`.
    fn load_state(&mut self) {
        self.bytes.extend([0x48, 0x8b, 0x47, 0x30]);
    }
}

fn boringssl_code() -> Code {
    let mut code = Code::new(BORINGSSL.map(str::to_owned));
    code.function("ERR_put_error", |code| code.bytes.extend([0x90; 20]));
    for reason in 300..400 {
        code.function("any", |code| code.raise(reason, "ssl_lib.cc"));
    }
    code.function("SSL_do_handshake", |code| code.raise(134, "ssl_lib.cc"));
    code.function("ssl_send_alert", |code| code.raise(194, "s3_pkt.cc"));
    code.function("ssl_send_alert_impl", |code| code.raise(194, "s3_pkt.cc"));
    // mov [rdi + 0x30], rax.
    code.function("tls_new", |code| {
        code.bytes.extend([0x48, 0x89, 0x47, 0x30]);
    });
    code.function("tls_free", |code| {
        code.load_state();
        code.bytes.extend([0x90; 16]);
    });
    code.function("tls_write_app_data", |code| {
        code.raise(194, "s3_pkt.cc");
        code.raise(123, "s3_pkt.cc");
    });
    code.function("tls_add_message", |code| code.raise(69, "s3_both.cc"));
    code.function("other", |code| code.bytes.extend([0x90; 16]));
    code.function("early_data", |code| {
        code.load_state();
        for reason in 1..=8_u32 {
            // mov dword [rax + 0x100], reason.
            code.bytes.extend([0xc7, 0x80, 0, 1, 0, 0]);
            code.bytes.extend(reason.to_le_bytes());
        }
        code.raise(401, "tls13_server.cc");
    });
    code.function("caller", |code| {
        code.call("SSL_do_handshake");
        // mov esi, 2; mov edx, 40.
        code.bytes.extend([0xbe, 2, 0, 0, 0, 0xba, 40, 0, 0, 0]);
        code.call("ssl_send_alert");
        code.call("ssl_send_alert_impl");
    });
    code
}

/// Names of functions that only raise errors.
fn name(number: u32) -> String {
    format!("function_{number}")
}

/// With `is_inlined`, the handshake is inside of another function.
fn openssl_code(is_inlined: bool) -> Code {
    let known = [
        "SSL_do_handshake",
        "SSL_clear",
        "SSL_shutdown",
        "ossl_ssl_connection_reset",
        "ssl3_read_bytes",
        "tls1_setup_key_block",
        "tls_construct_client_hello",
    ];
    let strings = OPENSSL.into_iter().chain(known).map(str::to_owned);
    let mut code = Code::new(strings.chain((0..124).map(name)));
    code.function("ERR_set_debug", |code| code.bytes.extend([0x90; 20]));
    code.function("ERR_vset_error", |code| code.bytes.extend([0x90; 20]));
    code.function("ERR_set_error", |code| code.call("ERR_vset_error"));
    code.function("ossl_statem_fatal", |code| {
        // mov esi, edx; mov edi, 20.
        code.bytes.extend([0x89, 0xd6, 0xbf, 20, 0, 0, 0]);
        code.call("ERR_vset_error");
    });
    for number in 0..62 {
        let lib = |code: &mut Code| code.raise_error(300, "ssl/ssl_lib.c", &name(number));
        code.function("any", lib);
        code.function("any", |code| code.fatal(300, &name(62 + number)));
    }
    code.function("SSL_do_handshake", |code| {
        // mov eax, [rdi].
        code.bytes.extend([0x8b, 0x07]);
        code.raise_error(144, "ssl/ssl_lib.c", "SSL_do_handshake");
        if is_inlined {
            code.raise_error(259, "ssl/ssl_lib.c", "function_1");
        }
    });
    code.function("SSL_shutdown", |code| {
        // cmp dword [rdi], 0.
        code.bytes.extend([0x83, 0x3f, 0]);
        code.raise_error(276, "ssl/ssl_lib.c", "SSL_shutdown");
    });
    code.function("SSL_clear", |code| {
        code.raise_error(188, "ssl/ssl_lib.c", "SSL_clear");
    });
    code.function("connection_new", |code| code.bytes.extend([0x90; 16]));
    code.function("connection_free", |code| code.bytes.extend([0x90; 16]));
    code.function("connection_reset", |code| {
        code.raise_error(259, "ssl/ssl_lib.c", "ossl_ssl_connection_reset");
    });
    code.function("other", |code| code.bytes.extend([0x90; 16]));
    code.function("ssl3_read_bytes", |code| {
        let file = OPENSSL[2];
        code.raise_error(244, file, "ssl3_read_bytes");
    });
    code.function("tls1_setup_key_block", |code| {
        code.use_member(0x148);
        code.use_member(0x128);
        code.fatal(259, "tls1_setup_key_block");
    });
    code.function("tls_construct_client_hello", |code| {
        code.use_member(0x148);
        code.fatal(191, "tls_construct_client_hello");
    });
    code.function("caller", |code| {
        code.call("SSL_do_handshake");
        code.call("SSL_clear");
    });
    code
}

/// Makes one with OpenSSL 3.3.
pub fn openssl() -> Program {
    openssl_of(openssl_code(false))
}

/// Makes one where the function that shakes hands is another, with the handshake inside.
pub fn openssl_inlined() -> Program {
    openssl_of(openssl_code(true))
}

fn openssl_of(code: Code) -> Program {
    let mut methods = vec!["connection_new", "connection_free", "connection_reset"];
    methods.resize(14, "other");
    methods.push("ssl3_read_bytes");
    let roles = [
        (Role::SetDebug, "ERR_set_debug"),
        (Role::SetError, "ERR_vset_error"),
        (Role::Handshake, "SSL_do_handshake"),
        (Role::Fatal, "ossl_statem_fatal"),
        (Role::Clear, "SSL_clear"),
        (Role::MethodFree, "connection_free"),
    ];
    program(code, &methods, &roles)
}

/// Makes one with BoringSSL.
pub fn boringssl() -> Program {
    let methods = [
        "tls_new",
        "tls_free",
        "tls_write_app_data",
        "tls_add_message",
    ];
    let roles = [
        (Role::PutError, "ERR_put_error"),
        (Role::Handshake, "SSL_do_handshake"),
        (Role::Alert, "ssl_send_alert"),
        (Role::Alert, "ssl_send_alert_impl"),
        (Role::Free, "tls_free"),
    ];
    program(boringssl_code(), &methods, &roles)
}

/// Makes it: with a table of these methods and others, and with those functions to be found, of which the
/// first stores errors.
fn program(mut code: Code, methods: &[&'static str], roles: &[(Role, &'static str)]) -> Program {
    let align = |code: &mut Code| {
        code.bytes
            .resize(code.bytes.len().next_multiple_of(16), 0xcc);
        code.bytes.len()
    };
    let table = align(&mut code);
    code.bytes.resize(table + METHODS * 8, 0);
    let unwind_at = align(&mut code);
    let unwind = unwind(&mut code, unwind_at);
    let unwind_end = code.bytes.len();
    let relocations = align(&mut code);
    for slot in 0..METHODS {
        let name = methods.get(slot).unwrap_or(&"other");
        let function = code.at(name) as u64;
        for number in [(table + slot * 8) as u64, 8, function] {
            code.bytes.extend(number.to_le_bytes());
        }
    }
    let end = code.bytes.len();
    let names = b"\0.eh_frame\0.rela.dyn\0";
    code.bytes.extend(names);
    let sections = align(&mut code);
    let mut file = Writer::default();
    file.bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.numbers([
        (2, 3),
        (2, 62),
        (4, 1),
        (8, 0),
        (8, EHDR),
        (8, sections),
        (4, 0),
    ]);
    file.numbers([(2, EHDR), (2, PHDR), (2, 2), (2, SHDR), (2, 4), (2, 3)]);
    let whole = sections + 4 * SHDR;
    // What runs, then what is only read.
    for (flags, start, end) in [(5, 0, table), (4, table, whole)] {
        file.numbers([(4, 1), (4, flags), (8, start), (8, start), (8, start)]);
        file.numbers([(8, end - start), (8, end - start), (8, 4096)]);
    }
    let headers = file.0.bytes.len();
    file.bytes(&code.bytes[headers..]);
    file.bytes(&[0; SHDR]);
    // Name, type, flags, address, offset, size, link, information, alignment, entry size.
    for (name, kind, flags, at, size) in [
        (1, 1, 2, unwind_at, unwind_end - unwind_at),
        (11, 4, 2, relocations, end - relocations),
        (0, 3, 0, end, names.len()),
    ] {
        file.numbers([
            (4, name),
            (4, kind),
            (8, flags),
            (8, at),
            (8, at),
            (8, size),
        ]);
        file.numbers([(4, 0), (4, 0), (8, 8), (8, 0)]);
    }
    Program {
        bytes: file.0.bytes,
        functions: code
            .functions
            .iter()
            .map(|(name, at, _)| (*name, *at))
            .collect(),
        truth: roles
            .iter()
            .map(|(role, name)| (*role, code.at(name) as u64))
            .collect(),
        elected: roles[0].1,
        unwind,
        tables: [unwind_at, relocations, sections],
    }
}

/// One common entry (`zR`, 4 bytes relative to where they are), then one for each function.
fn unwind(code: &mut Code, at: usize) -> BTreeMap<&'static str, usize> {
    code.bytes.extend([20, 0, 0, 0, 0, 0, 0, 0, 1]);
    code.bytes.extend(b"zR\0");
    code.bytes.extend([1, 0x78, 16, 1, 0x1b]);
    code.bytes.resize(at + 24, 0);
    let mut places = BTreeMap::new();
    for (name, start, length) in code.functions.clone() {
        let entry = code.bytes.len();
        code.bytes.extend(16_u32.to_le_bytes());
        code.bytes
            .extend(u32::try_from(entry + 4 - at).unwrap().to_le_bytes());
        places.insert(name, code.bytes.len());
        let distance = i64::try_from(start).unwrap() - i64::try_from(entry + 8).unwrap();
        code.bytes
            .extend(i32::try_from(distance).unwrap().to_le_bytes());
        code.bytes
            .extend(u32::try_from(length).unwrap().to_le_bytes());
        code.bytes.extend([0; 4]);
    }
    places
}
