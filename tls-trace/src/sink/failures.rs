//! The first packets of failed connections, as far as the tracer saw them, in a folder of pcapng files
//! that does not grow for ever.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

use etherparse::{Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader, ip_number};
use hashlink::LruCache;

use super::{
    Sink,
    comment::{self, Comment},
    pcapng::PcapngWriter,
};
use crate::{
    event::{ConnectionId, Direction, Event, EventKind, Segment, TcpFlags, Timestamp},
    report::Report,
    source::capture::{LinkType, Packet},
};

/// Bytes of segments that are kept until their connections are judged; the least recently active
/// connection goes first.
const KEPT: usize = 64 << 20;
/// What a segment takes besides its payload.
const OVERHEAD: usize = 256;
/// Failures that may wait to be written.
const WAITING: usize = 256;
/// Bytes of payload in a file before the next one is begun.
const FILE: usize = 16 << 20;
/// Files kept.
const FILES: usize = 8;
const PREFIX: &str = "failures-";
const SUFFIX: &str = ".pcapng";
const COMMENT: &str = "The first packets of failed TLS connections, as far as the tracer saw them, with the \
                       verdict at the decisive packet. Headers were made again: options are missing.";

/// Keeps the segments of each connection until it is judged.
#[derive(Debug)]
pub struct Failures {
    segments: LruCache<ConnectionId, Vec<(Timestamp, Segment)>>,
    bytes: usize,
    /// Written with the connection's other end, which is on this host, too.
    peers: LruCache<ConnectionId, ()>,
    to: SyncSender<Failure>,
    thread: JoinHandle<()>,
    left_out: u64,
}

/// What is written of one connection.
#[derive(Debug)]
struct Failure {
    comment: Comment,
    name: Option<(IpAddr, String)>,
    segments: Vec<(Timestamp, Segment)>,
}

impl Failures {
    /// Begins to write to a folder. `wall_clock_offset`: nanoseconds from the clock of the events to the
    /// time since 1970; `now` makes the name of a new file.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn new(
        folder: &Path,
        wall_clock_offset: i64,
        now: impl Fn() -> String + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(Files {
            folder: folder.to_owned(),
            wall_clock_offset,
            name: Box::new(now),
            file: FILE,
            current: None,
        })
    }

    fn start(mut files: Files) -> io::Result<Self> {
        fs::create_dir_all(&files.folder)?;
        files.begin()?;
        let (to, waiting) = sync_channel(WAITING);
        Ok(Self {
            segments: LruCache::new_unbounded(),
            bytes: 0,
            peers: LruCache::new(WAITING),
            to,
            thread: std::thread::Builder::new()
                .name("failures".to_owned())
                .spawn(move || files.write_all(&waiting))?,
            left_out: 0,
        })
    }

    /// Waits until everything is written.
    pub fn close(self) {
        let Self {
            to,
            thread,
            left_out,
            ..
        } = self;
        drop(to);
        if thread.join().is_err() {
            tracing::error!("the thread that writes failed connections is gone");
        }
        if left_out > 0 {
            tracing::warn!(left_out, "failed connections that were not written");
        }
    }

    fn keep(&mut self, event: &Event, segment: &Segment) {
        let entry = self.segments.entry(event.connection);
        entry
            .or_insert_with(Vec::new)
            .push((event.time, segment.clone()));
        self.bytes += size(segment);
        while self.bytes > KEPT
            && let Some((_, segments)) = self.segments.remove_lru()
        {
            self.forget(&segments);
        }
    }

    fn forget(&mut self, segments: &[(Timestamp, Segment)]) {
        self.bytes -= segments
            .iter()
            .map(|(_, segment)| size(segment))
            .sum::<usize>();
    }
}

fn size(segment: &Segment) -> usize {
    OVERHEAD + segment.payload.len()
}

impl Sink for Failures {
    fn events(&mut self, events: &[Event]) {
        for event in events {
            if let EventKind::Segment(segment) = &event.kind
                && !segment.listener
            {
                self.keep(event, segment);
            }
        }
    }

    fn report(&mut self, report: &Report) {
        let segments = self.segments.remove(&report.id).unwrap_or_default();
        self.forget(&segments);
        let written = self.peers.remove(&report.id).is_some();
        let Some((last, _)) = segments.last() else {
            return;
        };
        if written || !report.verdict.outcome.is_failure() {
            return;
        }
        if let Some(peer) = report.peer_report {
            self.peers.insert(peer, ());
        }
        let server = if segments.iter().any(|(_, segment)| opens(segment)) {
            report.remote
        } else {
            report.local
        };
        let failure = Failure {
            comment: Comment::of(report, *last),
            name: comment::host_name(report).map(|name| (server.ip(), name.to_owned())),
            segments,
        };
        self.left_out += u64::from(self.to.try_send(failure).is_err());
    }
}

/// Whether this end opened the connection with it.
fn opens(segment: &Segment) -> bool {
    segment.direction == Direction::Egress
        && segment.flags.has(TcpFlags::SYN)
        && !segment.flags.has(TcpFlags::ACK)
}

/// The files, on a thread of their own.
struct Files {
    folder: PathBuf,
    wall_clock_offset: i64,
    name: Box<dyn Fn() -> String + Send>,
    /// Bytes after which a file is full.
    file: usize,
    current: Option<(PcapngWriter<BufWriter<File>>, usize)>,
}

impl Files {
    fn write_all(mut self, waiting: &Receiver<Failure>) {
        for failure in waiting {
            if let Err(error) = self.write(failure) {
                tracing::error!(%error, "a failed connection is not written");
                self.current = None;
            }
        }
    }

    fn write(&mut self, mut failure: Failure) -> io::Result<()> {
        if self
            .current
            .as_ref()
            .is_none_or(|(_, bytes)| *bytes > self.file)
        {
            self.begin()?;
        }
        let Some((writer, bytes)) = &mut self.current else {
            return Ok(());
        };
        if let Some((address, name)) = &failure.name {
            writer.names([(*address, &name[..])])?;
        }
        for (time, segment) in &failure.segments {
            let comment = failure.comment.at(*time);
            let time = Timestamp(time.0.saturating_add_signed(self.wall_clock_offset));
            if let Some(packet) = packet(time, segment) {
                writer.packet(&packet, comment)?;
                *bytes += size(segment);
            }
        }
        writer.flush()
    }

    /// Begins a file, and removes the oldest.
    fn begin(&mut self) -> io::Result<()> {
        let name = format!("{PREFIX}{}{SUFFIX}", (self.name)());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(self.folder.join(name))?;
        self.current = Some((PcapngWriter::new(BufWriter::new(file), COMMENT)?, 0));
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let is_ours = |name: &&str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
            names.extend(name.to_str().filter(is_ours).map(str::to_owned));
        }
        // The names are times.
        for name in names.iter().rev().skip(FILES) {
            fs::remove_file(self.folder.join(name))?;
        }
        Ok(())
    }
}

/// The segment as a packet, with headers made anew.
fn packet(time: Timestamp, segment: &Segment) -> Option<Packet> {
    let (from, to) = match segment.direction {
        Direction::Egress => (segment.local, segment.remote),
        Direction::Ingress => (segment.remote, segment.local),
    };
    let has = |flag| segment.flags.has(flag);
    let mut tcp = TcpHeader::new(from.port(), to.port(), segment.seq, u16::MAX);
    tcp.acknowledgment_number = segment.ack;
    tcp.fin = has(TcpFlags::FIN);
    tcp.syn = has(TcpFlags::SYN);
    tcp.rst = has(TcpFlags::RST);
    tcp.ack = has(TcpFlags::ACK);
    let tcp = tcp.to_bytes();
    // A segment that the network card cuts in pieces is longer than a packet can say.
    let length = usize::try_from(segment.length).ok()?;
    let stated = u16::try_from(tcp.len() + length).unwrap_or(u16::MAX - 40);
    let mut data = match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let (from, to) = (from.ip().octets(), to.ip().octets());
            let mut ip = Ipv4Header::new(stated, segment.ttl, ip_number::TCP, from, to).ok()?;
            ip.header_checksum = ip.calc_header_checksum();
            ip.to_bytes().to_vec()
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: stated,
            next_header: ip_number::TCP,
            hop_limit: segment.ttl,
            source: from.ip().octets(),
            destination: to.ip().octets(),
        }
        .to_bytes()
        .to_vec(),
        _ => return None,
    };
    data.extend(&tcp[..]);
    let length = u32::try_from(data.len())
        .ok()?
        .checked_add(segment.length)?;
    data.extend(&segment.payload[..]);
    Some(Packet {
        time,
        link_type: LinkType::RAW,
        data: data.into(),
        length,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::{
        event::Task,
        sink::sample,
        source::capture::{CaptureFile, Connections},
    };

    const OFFSET: i64 = 1_700_000_000_000_000_000;

    fn segment(report: &Report, direction: Direction, payload: &'static [u8]) -> Segment {
        Segment {
            direction,
            local: report.local,
            remote: report.remote,
            seq: 7,
            ack: 9,
            flags: TcpFlags(TcpFlags::ACK),
            ttl: 63,
            length: u32::try_from(payload.len()).unwrap(),
            payload: Bytes::from_static(payload),
            task: Task::default(),
            last: false,
            listener: false,
        }
    }

    fn event(time: u64, report: &Report, segment: Segment) -> Event {
        Event {
            time: Timestamp(time),
            connection: report.id,
            kind: EventKind::Segment(segment),
        }
    }

    fn names() -> impl Fn() -> String + Send + 'static {
        let number = AtomicU32::new(0);
        move || format!("{:04}", number.fetch_add(1, Ordering::Relaxed))
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn what_is_written_is_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut failures = Failures::new(folder.path(), OFFSET, names()).unwrap();
        let report = sample::failed();
        let mut established = sample::failed();
        established.id = ConnectionId(report.id.0 + 1);
        established.verdict.outcome = crate::report::Outcome::Established;
        let sent = segment(&report, Direction::Egress, b"hello");
        let received = segment(&report, Direction::Ingress, b"no");
        failures.events(&[
            event(1_000, &report, sent.clone()),
            event(1_500, &established, sent.clone()),
            event(2_000, &report, received.clone()),
        ]);
        failures.report(&established);
        failures.report(&report);
        assert_eq!(failures.bytes, 0);
        failures.close();

        let files = files(folder.path());
        assert_eq!(files.len(), 1);
        let bytes = fs::read(&files[0]).unwrap();
        let verdict = report.verdict.cause.label().as_bytes();
        assert!(bytes.windows(verdict.len()).any(|part| part == verdict));
        let mut file = CaptureFile::open(&files[0]).unwrap();
        let mut connections = Connections::default();
        let mut events = Vec::new();
        while let Some(packet) = file.next_packet().unwrap() {
            connections.packet(&packet, &mut events);
        }
        let expected = [sent, received].map(EventKind::Segment);
        let found: Vec<_> = events.iter().map(|event| event.kind.clone()).collect();
        assert_eq!(found, expected);
        assert_eq!(events[0].time, Timestamp(OFFSET.cast_unsigned() + 1_000));
    }

    #[test]
    fn the_folder_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("failures.txt");
        fs::write(&other, "not ours").unwrap();
        let mut failures = Failures::start(Files {
            folder: folder.path().to_owned(),
            wall_clock_offset: OFFSET,
            name: Box::new(names()),
            file: 1000,
            current: None,
        })
        .unwrap();
        for id in 0..100 {
            let mut report = sample::failed();
            report.id = ConnectionId(id);
            let segment = segment(&report, Direction::Egress, b"hello");
            failures.events(&[event(id, &report, segment)]);
            failures.report(&report);
        }
        assert_eq!(failures.left_out, 0);
        failures.close();
        assert!(other.exists());
        let files = files(folder.path());
        assert_eq!(files.len(), FILES + 1);
        for file in files {
            assert!(
                fs::metadata(&file).unwrap().len() < 3000,
                "{}",
                file.display()
            );
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        static PAYLOAD: [u8; 60_000] = [7; 60_000];
        let folder = tempfile::tempdir().unwrap();
        let mut failures = Failures::new(folder.path(), OFFSET, names()).unwrap();
        for id in 0..3000 {
            let mut report = sample::failed();
            report.id = ConnectionId(id);
            let segment = segment(&report, Direction::Egress, &PAYLOAD);
            failures.events(&[event(id, &report, segment)]);
            assert!(failures.bytes <= KEPT + PAYLOAD.len() + OVERHEAD);
        }
        assert!(failures.segments.len() < 1200);
        failures.close();
    }
}
