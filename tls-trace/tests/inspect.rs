//! What `tls-trace inspect` costs, however large the file is.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

const MIB: u64 = 1 << 20;
/// Bytes of a program header and a section header.
const HEADERS: [usize; 2] = [56, 64];

/// An executable of 1 GiB, most of it holes: 900 MiB of code, a symbol table of 24 MiB with names of 64
/// MiB. At the very end of the names and symbols is a libssl without code that can be told.
fn giant(path: &Path) -> std::io::Result<()> {
    let [program, section] = HEADERS;
    let code = 4096..900 * MIB;
    let symbols = 900 * MIB..924 * MIB;
    let names = 924 * MIB..988 * MIB;
    let sections = 1024 * MIB - 4 * section as u64;
    let numbers = |numbers: &[(usize, u64)]| -> Vec<u8> {
        let bytes = numbers
            .iter()
            .flat_map(|(size, number)| number.to_le_bytes()[..*size].to_vec());
        bytes.collect()
    };
    let mut file = File::create(path)?;
    let mut put = |at: u64, bytes: &[u8]| {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    };
    put(0, b"\x7fELF\x02\x01\x01")?;
    let header = [
        (2, 2),
        (2, 62),
        (4, 1),
        (8, 0),
        (8, 64),
        (8, sections),
        (4, 0),
        (2, 64),
    ];
    put(16, &numbers(&header))?;
    put(
        54,
        &numbers(&[
            (2, program as u64),
            (2, 1),
            (2, section as u64),
            (2, 3),
            (2, 0),
        ]),
    )?;
    // PT_LOAD, to read and to run.
    let size = code.end - code.start;
    let load = [
        (4, 1),
        (4, 5),
        (8, code.start),
        (8, code.start),
        (8, 0),
        (8, size),
        (8, size),
        (8, 0),
    ];
    put(64, &numbers(&load))?;
    for (index, name) in ["SSL_get_state\0", "SSL_do_handshake\0"]
        .into_iter()
        .enumerate()
    {
        let name_at = names.end - 64 + 32 * index as u64;
        put(name_at, name.as_bytes())?;
        let symbol = [
            (4, name_at - names.start),
            (1, 0x12),
            (1, 0),
            (2, 1),
            (8, 8192),
            (8, 16),
        ];
        put(symbols.end - 24 * (index as u64 + 1), &numbers(&symbol))?;
    }
    // `xor eax, eax; ret`.
    put(8192, &[0x31, 0xc0, 0xc3])?;
    for (index, (kind, range, link)) in [(2_u64, symbols, 2), (3, names, 0)].into_iter().enumerate()
    {
        let size = range.end - range.start;
        let header = [
            (4, 0),
            (4, kind),
            (8, 0),
            (8, 0),
            (8, range.start),
            (8, size),
            (4, link),
        ];
        put(
            sections + section as u64 * (index as u64 + 1),
            &numbers(&header),
        )?;
    }
    file.set_len(1024 * MIB)
}

/// Inspects a file in a process of its own: what it says, and its largest resident set in bytes.
fn inspect(path: &Path) -> (String, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tls-trace"));
    command.arg("inspect").arg(path).stdout(Stdio::piped());
    #[expect(
        clippy::zombie_processes,
        reason = "wait4(2) does, which also tells of its memory"
    )]
    let mut child = command.spawn().expect("the program under test");
    let mut output = String::new();
    let mut stdout = child.stdout.take().expect("piped");
    std::io::Read::read_to_string(&mut stdout, &mut output).expect("text");
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    // SAFETY: plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers are to variables that outlive the call.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid);
    assert!(ExitStatus::from_raw(status).code().is_some(), "{output}");
    (
        output,
        u64::try_from(usage.ru_maxrss).expect("positive") * 1024,
    )
}

#[test]
fn an_executable_of_1_gib_takes_less_than_8_mib() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("giant");
    giant(&path).expect("room for a file with holes");
    let (output, giant) = inspect(&path);
    assert!(output.contains("giant: covered by openssl_ssl"), "{output}");
    println!(
        "{} KiB: {}",
        giant / 1024,
        output.lines().next().unwrap_or_default()
    );
    // What of that is the program itself.
    let (_, nothing) = inspect(Path::new("/dev/null"));
    let more = giant.saturating_sub(nothing);
    assert!(
        more < 8 * MIB,
        "{} KiB more than for an empty file",
        more / 1024
    );
}
