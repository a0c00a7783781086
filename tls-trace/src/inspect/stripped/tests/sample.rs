//! A program with a small BoringSSL and no symbols, made byte by byte.

use std::collections::BTreeMap;

use crate::inspect::tests::sample::Writer;

const EHDR: usize = 64;
const PHDR: usize = 56;
const SHDR: usize = 64;
/// Files, each as the compiler was given it.
const FILES: [&str; 5] = [
    "ssl_lib.cc",
    "s3_pkt.cc",
    "s3_both.cc",
    "tls13_client.cc",
    "tls13_server.cc",
];
/// Functions in the table of the protocol.
const METHODS: usize = 18;

/// The program, and what is where.
pub struct Program {
    pub bytes: Vec<u8>,
    /// First byte of each function, which is also its address.
    pub functions: BTreeMap<&'static str, usize>,
    /// Distances from the table of functions to each, by name.
    pub unwind: BTreeMap<&'static str, usize>,
    /// First byte of the table of functions, of the relocations, and of the section headers.
    pub tables: [usize; 3],
}

/// Code under construction. It begins where the file does.
struct Code {
    bytes: Vec<u8>,
    files: BTreeMap<&'static str, usize>,
    functions: Vec<(&'static str, usize, usize)>,
}

impl Code {
    fn new() -> Self {
        let mut bytes = vec![0; EHDR + 2 * PHDR];
        let mut files = BTreeMap::new();
        for file in FILES {
            files.insert(file, bytes.len());
            bytes.extend([b"/b/ssl/", file.as_bytes(), b"\0"].concat());
        }
        // What tells that there is TLS at all.
        bytes.extend([&b"c hs"[..], b" traffic", b"\0"].concat());
        let functions = Vec::new();
        Self {
            bytes,
            files,
            functions,
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
        let file = self.files[file];
        self.bytes.extend([0xbf, 16, 0, 0, 0, 0x31, 0xf6, 0xba]);
        self.bytes.extend(reason.to_le_bytes());
        self.bytes.extend([0x48, 0x8d, 0x0d]);
        self.relative(file);
        self.bytes.extend([0x41, 0xb8, 7, 0, 0, 0]);
        self.call("ERR_put_error");
    }

    /// `mov rax, [rdi + 0x30]`.
    fn load_state(&mut self) {
        self.bytes.extend([0x48, 0x8b, 0x47, 0x30]);
    }
}

fn code() -> Code {
    let mut code = Code::new();
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
    code.function("tls_other", |code| code.bytes.extend([0x90; 16]));
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

/// Makes it.
pub fn boringssl() -> Program {
    let mut code = code();
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
    let methods = [
        "tls_new",
        "tls_free",
        "tls_write_app_data",
        "tls_add_message",
    ];
    let methods = methods.into_iter().chain(["tls_other"; METHODS - 4]);
    for (slot, name) in methods.enumerate() {
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
