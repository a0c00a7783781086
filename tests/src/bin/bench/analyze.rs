//! `tls-trace analyze` beside tshark and tcpdump, on the same files.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    Effort, Subject,
    figure::{Figure, Section, median},
    handshake::{CLIENT, SERVER},
    programs::count,
    usage,
};

/// Payload of the segments of a stream, as Ethernet carries it with timestamps.
const SEGMENT: usize = 1448;
/// Ethernet, IPv4 and TCP headers without options.
const HEADERS: usize = 14 + 20 + 20;
/// Bytes of a record of the stream, header included.
const RECORD: usize = 5 + 16_401;
/// Streams that are under way at the same time.
const STREAMS: usize = 8;
/// Microseconds between two packets.
const APART: u64 = 5;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let folder = Folder::new()?;
    let bulk = folder.0.join("bulk.pcap");
    let handshakes = folder.0.join("handshakes.pcap");
    let megabytes = effort.pick(1_000, 250);
    let connections = effort.pick(200_000, 40_000);
    write_bulk(&bulk, megabytes * 1_000_000)?;
    write_handshakes(&handshakes, connections)?;
    let runs = effort.pick(3, 1);

    let analyze = |path: &Path| {
        let mut command = Command::new(&subject.daemon);
        command.arg("analyze").arg(path);
        command
    };
    let tcpdump = |path: &Path| {
        let mut command = Command::new("tcpdump");
        command.args(["-nn", "-q", "-r"]).arg(path);
        command
    };
    let tshark = |path: &Path| {
        let mut command = Command::new("tshark");
        command
            .args(["-n", "-Y", "tls.alert_message", "-r"])
            .arg(path);
        command
    };
    let mut figures = Vec::new();
    let size = fs::metadata(&bulk)?.len();
    let [ours, dump, shark] = [
        repeat(runs, || analyze(&bulk))?,
        repeat(1, || tcpdump(&bulk))?,
        repeat(1, || tshark(&bulk))?,
    ];
    let gigabytes = count(size) / 1e9;
    figures.push(Figure::new("bulk: analyze", gigabytes / ours.cpu, "GB/s").at_least(1.0));
    figures.push(Figure::new("bulk: tcpdump", gigabytes / dump.cpu, "GB/s"));
    figures.push(Figure::new("bulk: tshark", gigabytes / shark.cpu, "GB/s"));
    figures.push(Figure::new("bulk: tcpdump : analyze", dump.cpu / ours.cpu, "").at_least(2.0));
    figures.push(Figure::new("bulk: tshark : analyze", shark.cpu / ours.cpu, "").at_least(10.0));
    figures.push(Figure::new("bulk: memory of analyze", ours.memory_mb, "MB").at_most(64.0));
    figures.push(Figure::new("bulk: memory of tshark", shark.memory_mb, "MB"));
    let [ours, dump, shark] = [
        repeat(runs, || analyze(&handshakes))?,
        repeat(1, || tcpdump(&handshakes))?,
        repeat(1, || tshark(&handshakes))?,
    ];
    let rate = count(connections) / ours.cpu;
    figures.push(Figure::new("handshakes/s: analyze", rate, "").at_least(1e5));
    figures.push(Figure::new(
        "handshakes/s: tcpdump",
        count(connections) / dump.cpu,
        "",
    ));
    figures.push(Figure::new(
        "handshakes/s: tshark",
        count(connections) / shark.cpu,
        "",
    ));
    figures
        .push(Figure::new("handshakes: tcpdump : analyze", dump.cpu / ours.cpu, "").at_least(2.0));
    figures
        .push(Figure::new("handshakes: tshark : analyze", shark.cpu / ours.cpu, "").at_least(10.0));
    figures.push(Figure::new("handshakes: memory of analyze", ours.memory_mb, "MB").at_most(256.0));
    figures.push(Figure::new(
        "handshakes: memory of tshark",
        shark.memory_mb,
        "MB",
    ));
    Ok(Section {
        title: "Analyze",
        method: format!(
            "Two captures made for this, in the page cache: {STREAMS} TLS 1.3 streams of {SEGMENT}-byte \
             segments at once ({gigabytes:.2} GB), and {connections} connections with a TLS 1.3 handshake and \
             nothing after it, a hundred under way at a time. `analyze` says what failed, `tcpdump -nn -q` prints a line a packet, \
             `tshark -Y tls.alert_message` looks for alerts, output to /dev/null. CPU time, user and system, \
             of all threads; median of {runs} for analyze, one run for the others.",
        ),
        figures,
    })
}

/// What a program took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Seconds.
    cpu: f64,
    /// At its highest.
    memory_mb: f64,
}

fn repeat(runs: usize, command: impl Fn() -> Command) -> Result<Taken> {
    let mut taken = Vec::new();
    for _ in 0..runs {
        taken.push(run(command())?);
    }
    Ok(Taken {
        cpu: median(taken.iter().map(|taken| taken.cpu).collect()),
        memory_mb: taken
            .iter()
            .map(|taken| taken.memory_mb)
            .fold(0.0, f64::max),
    })
}

fn run(mut command: Command) -> Result<Taken> {
    let before = usage::children_cpu()?;
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let mut memory_mb: f64 = 0.0;
    let deadline = Instant::now() + Duration::from_secs(300);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
        }
        // It may end while it is looked at.
        memory_mb = memory_mb.max(usage::resident_mb(child.id()).unwrap_or_default());
        thread::sleep(Duration::from_millis(5));
    };
    ensure!(status.success(), "{command:?}: {status}");
    Ok(Taken {
        cpu: usage::children_cpu()?.saturating_sub(before).as_secs_f64(),
        memory_mb,
    })
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tls-trace-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A pcap file being written (draft-ietf-opsawg-pcap).
struct Capture {
    file: BufWriter<File>,
    microseconds: u64,
    bytes: usize,
}

impl Capture {
    fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1] {
            file.write_all(&u32::to_le_bytes(word))?;
        }
        Ok(Self {
            file,
            microseconds: 1_700_000_000_000_000,
            bytes: 0,
        })
    }

    fn packet(&mut self, packet: &[u8]) -> Result<()> {
        self.microseconds += APART;
        let length = u32::try_from(packet.len())?;
        let seconds = u32::try_from(self.microseconds / 1_000_000)?;
        let rest = u32::try_from(self.microseconds % 1_000_000)?;
        for word in [seconds, rest, length, length] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(packet)?;
        self.bytes += packet.len();
        Ok(())
    }
}

/// A connection being made up.
struct Flow {
    addresses: [Ipv4Addr; 2],
    ports: [u16; 2],
    next: [u32; 2],
    number: u64,
}

impl Flow {
    fn new(number: u64) -> Self {
        let [.., a, b, c] = number.to_be_bytes();
        Self {
            addresses: [Ipv4Addr::new(10, a, b, c), Ipv4Addr::new(192, 0, 2, 7)],
            ports: [40_000 + u16::from(c), 443],
            next: [1000, 2000],
            number,
        }
    }

    /// A packet of the client (0) or the server (1).
    fn packet(
        &mut self,
        capture: &mut Capture,
        from: usize,
        flags: u8,
        payload: &[u8],
    ) -> Result<()> {
        let to = 1 - from;
        let mut packet = Vec::with_capacity(HEADERS + payload.len());
        packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        let length = u16::try_from(HEADERS - 14 + payload.len())?;
        packet.extend([0x45, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet.extend(self.addresses[from].octets());
        packet.extend(self.addresses[to].octets());
        packet.extend(self.ports[from].to_be_bytes());
        packet.extend(self.ports[to].to_be_bytes());
        packet.extend(self.next[from].to_be_bytes());
        packet.extend(self.next[to].to_be_bytes());
        packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(payload);
        let one = u32::from(flags & (SYN | FIN) != 0);
        let sent = u32::try_from(payload.len())? + one;
        self.next[from] = self.next[from].wrapping_add(sent);
        capture.packet(&packet)
    }

    /// The packets of a handshake, one at a time.
    fn handshake(&mut self, capture: &mut Capture, step: usize) -> Result<()> {
        let mut hello = CLIENT[0].to_vec();
        hello[11..19].copy_from_slice(&self.number.to_be_bytes());
        match step {
            0 => self.packet(capture, 0, SYN, b""),
            1 => self.packet(capture, 1, SYN | ACK, b""),
            3 => self.packet(capture, 0, ACK, &hello),
            4 => self.packet(capture, 1, ACK, SERVER[0]),
            5 => self.packet(capture, 0, ACK, CLIENT[1]),
            6 => self.packet(capture, 1, ACK, SERVER[1]),
            7 => self.packet(capture, 0, ACK, CLIENT[2]),
            8 => self.packet(capture, 0, FIN | ACK, b""),
            9 => self.packet(capture, 1, FIN | ACK, b""),
            _ => self.packet(capture, 0, ACK, b""),
        }
    }
}

/// Packets of [`Flow::handshake`]; those before the close are fewer.
const STEPS: usize = 11;
const BEFORE_CLOSE: usize = 7;

fn write_handshakes(path: &Path, connections: u64) -> Result<()> {
    let mut capture = Capture::create(path)?;
    let mut number = 0;
    while number < connections {
        let mut flows: Vec<_> = (number..(number + 100).min(connections))
            .map(Flow::new)
            .collect();
        number += 100;
        for step in 0..STEPS {
            for flow in &mut flows {
                flow.handshake(&mut capture, step)?;
            }
        }
    }
    capture.file.flush()?;
    Ok(())
}

fn write_bulk(path: &Path, bytes: usize) -> Result<()> {
    let mut capture = Capture::create(path)?;
    let mut flows: Vec<_> = (0..STREAMS as u64).map(Flow::new).collect();
    for flow in &mut flows {
        for step in 0..BEFORE_CLOSE {
            flow.handshake(&mut capture, step)?;
        }
    }
    // Records follow each other without a gap; their content is as random as ciphertext.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut record: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(RECORD)
    .collect();
    let [high, low] = u16::try_from(RECORD - 5)?.to_be_bytes();
    record[..5].copy_from_slice(&[23, 3, 3, high, low]);
    let stream = record.repeat(SEGMENT);
    let mut at = 0;
    while capture.bytes < bytes {
        for flow in &mut flows {
            let payload = &stream[at..at + SEGMENT];
            flow.packet(&mut capture, 1, ACK, payload)?;
        }
        at = (at + SEGMENT) % stream.len();
        // Every other segment is acknowledged.
        if (at / SEGMENT).is_multiple_of(2) {
            for flow in &mut flows {
                flow.packet(&mut capture, 0, ACK, b"")?;
            }
        }
    }
    for flow in &mut flows {
        for step in BEFORE_CLOSE..STEPS {
            flow.handshake(&mut capture, step)?;
        }
    }
    capture.file.flush()?;
    Ok(())
}
