//! A small libssl, made byte by byte: one segment, the accessors, a symbol table.

use std::ops::Range;

/// Bytes of the ELF header, a program header, a section header, a symbol.
const EHDR: usize = 64;
const PHDR: usize = 56;
const SHDR: usize = 64;
const SYM: usize = 24;

/// Functions that return a member of 4 or 8 bytes: `mov eax, [rdi + offset]; ret`.
const RETURNS: [(&str, u32, bool); 10] = [
    ("SSL_version", 0x48, false),
    ("SSL_get_rbio", 0x50, true),
    ("SSL_is_server", 0x78, false),
    ("SSL_get_shutdown", 0x84, false),
    ("SSL_get_state", 0xac, false),
    ("SSL_in_init", 0xb4, false),
    ("SSL_session_reused", 0x508, false),
    ("SSL_get_session", 0x900, true),
    ("SSL_get_verify_result", 0x998, true),
    ("SSL_get_early_data_status", 0xb20, false),
];
const PLAIN: [&str; 3] = ["SSL_do_handshake", "SSL_clear", "SSL_free"];

/// The file, and where its parts are.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub bytes: Vec<u8>,
    /// Every field of every header: where it is, and its bytes.
    pub fields: Vec<Range<usize>>,
}

/// Makes it.
pub fn libssl() -> Sample {
    let mut code = Vec::new();
    let mut strings = vec![0];
    let mut symbols = vec![0; SYM];
    let code_at = EHDR + PHDR;
    let mut add = |name: &str, body: &[u8]| {
        let name_at = u32::try_from(strings.len()).unwrap();
        let address = (code_at + code.len()) as u64;
        strings.extend([name.as_bytes(), b"\0"].concat());
        // Name; global function; section 1; address; size.
        symbols.extend(name_at.to_le_bytes());
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend(address.to_le_bytes());
        symbols.extend((body.len() as u64).to_le_bytes());
        code.extend(body);
        code.resize(code.len().next_multiple_of(16), 0xcc);
    };
    for (name, offset, wide) in RETURNS {
        let load: &[u8] = if wide {
            &[0x48, 0x8b, 0x87]
        } else {
            &[0x8b, 0x87]
        };
        add(name, &[load, &offset.to_le_bytes(), &[0xc3]].concat());
    }
    for name in PLAIN {
        add(name, &[0x31, 0xc0, 0xc3]);
    }
    let symbols_at = code_at + code.len();
    let strings_at = symbols_at + symbols.len();
    let sections_at = (strings_at + strings.len()).next_multiple_of(8);
    let mut file = Writer::default();
    file.bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_DYN, EM_X86_64, version, entry, tables, flags, sizes and numbers.
    file.numbers([
        (2, 3),
        (2, 62),
        (4, 1),
        (8, 0),
        (8, EHDR),
        (8, sections_at),
        (4, 0),
    ]);
    file.numbers([(2, EHDR), (2, PHDR), (2, 1), (2, SHDR), (2, 4), (2, 3)]);
    // PT_LOAD, to read and to run: the whole file, where it is.
    let whole = sections_at + 4 * SHDR;
    file.numbers([
        (4, 1),
        (4, 5),
        (8, 0),
        (8, 0),
        (8, 0),
        (8, whole),
        (8, whole),
        (8, 4096),
    ]);
    file.bytes(&code);
    file.symbols(&symbols);
    file.bytes(&strings);
    file.0.bytes.resize(sections_at, 0);
    file.numbers([
        (4, 0),
        (4, 0),
        (8, 0),
        (8, 0),
        (8, 0),
        (8, 0),
        (4, 0),
        (4, 0),
        (8, 0),
        (8, 0),
    ]);
    // Name, type, flags, address, offset, size, link, information, alignment, entry size.
    for (kind, flags, at, size, link) in [
        (1, 6, code_at, code.len(), 0),
        (11, 2, symbols_at, symbols.len(), 3),
        (3, 2, strings_at, strings.len(), 0),
    ] {
        file.numbers([(4, 0), (4, kind), (8, flags), (8, at), (8, at), (8, size)]);
        file.numbers([(4, link), (4, 0), (8, 8), (8, SYM)]);
    }
    file.0
}

#[derive(Default)]
pub struct Writer(pub Sample);

impl Writer {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.bytes.extend(bytes);
    }

    /// Each of so many bytes.
    pub fn numbers<const N: usize>(&mut self, numbers: [(usize, usize); N]) {
        for (size, number) in numbers {
            let start = self.0.bytes.len();
            self.0.bytes.extend(&number.to_le_bytes()[..size]);
            self.0.fields.push(start..start + size);
        }
    }

    fn symbols(&mut self, symbols: &[u8]) {
        for symbol in symbols.chunks(SYM) {
            let start = self.0.bytes.len();
            let ends = [4, 5, 6, 8, 16, 24];
            let starts = [0, 4, 5, 6, 8, 16];
            let fields = starts.into_iter().zip(ends);
            self.0
                .fields
                .extend(fields.map(|(from, to)| start + from..start + to));
            self.0.bytes.extend(symbol);
        }
    }
}
