//! `--write-failures`: the packets of failed connections, found by reading the captures once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, BufWriter},
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

use super::files::Files;
use crate::{
    event::{ConnectionId, Timestamp},
    report::Report,
    sink::{
        comment::{self, Comment},
        escaped,
        pcapng::PcapngWriter,
    },
    source::capture::Connections,
};

/// Connections whose packets are written.
const CONNECTIONS: usize = 65_536;

/// What is to be written, and where.
#[derive(Debug)]
pub(super) struct Failures {
    path: PathBuf,
    /// Written next to `path`, which it becomes at the end.
    file: NamedTempFile,
    list: BTreeMap<ConnectionId, Comment>,
    /// What clients called the servers.
    names: BTreeSet<(IpAddr, String)>,
    /// Failures beyond [`CONNECTIONS`].
    left_out: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) connections: usize,
    pub(super) packets: u64,
    pub(super) left_out: u64,
}

impl Failures {
    /// Makes sure that the file can be written, before any work is done.
    ///
    /// # Errors
    /// It cannot, or it is one of the captures.
    pub(super) fn new(path: &Path, captures: &[PathBuf]) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let shown = escaped(&shown);
        let same = |capture: &PathBuf| {
            let names = (capture.canonicalize().ok(), path.canonicalize().ok());
            matches!(names, (Some(a), Some(b)) if a == b)
        };
        if captures.iter().any(same) {
            bail!("'{shown}' is one of the captures to read");
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let file =
            NamedTempFile::new_in(folder).with_context(|| format!("cannot write '{shown}'"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            list: BTreeMap::new(),
            names: BTreeSet::new(),
            left_out: 0,
        })
    }

    /// Notes a failure; its last packet was seen at `last` at the latest.
    pub(super) fn add(&mut self, report: &Report, last: Timestamp) {
        if self.list.len() >= CONNECTIONS {
            self.left_out += 1;
            return;
        }
        if let Some(name) = comment::host_name(report) {
            // The client opened the connection, as far as a capture can tell.
            self.names.insert((report.remote.ip(), name.to_owned()));
        }
        let comment = Comment::of(report, last);
        self.list.insert(report.id, comment);
    }

    /// Reads the captures again and writes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(mut self, files: &mut Files) -> anyhow::Result<Written> {
        let shown = self.path.display().to_string();
        let packets = self
            .copy(files)
            .with_context(|| format!("cannot write '{}'", escaped(&shown)))?;
        let connections = self.list.len();
        self.file
            .persist(&self.path)
            .with_context(|| format!("cannot write '{}'", escaped(&shown)))?;
        Ok(Written {
            connections,
            packets,
            left_out: self.left_out,
        })
    }

    fn copy(&mut self, files: &mut Files) -> io::Result<u64> {
        let comment = self.comment();
        let Self {
            file, list, names, ..
        } = self;
        let mut writer = PcapngWriter::new(BufWriter::new(file.as_file_mut()), &comment)?;
        writer.names(names.iter().map(|(address, name)| (*address, &name[..])))?;
        let mut connections = Connections::default();
        let mut events = Vec::new();
        let mut packets = 0;
        for index in 0..files.len() {
            // What cannot be read was told the first time.
            let Ok(mut capture) = files.open_again(index) else {
                continue;
            };
            let mut begun = false;
            while let Ok(Some(packet)) = capture.next_packet() {
                if !begun && !connections.continues_with(&packet) {
                    connections.end(&mut events);
                }
                begun = true;
                let connection = connections.packet(&packet, &mut events);
                events.clear();
                if let Some(comment) = connection.and_then(|id| list.get_mut(&id)) {
                    writer.packet(&packet, comment.at(packet.time))?;
                    packets += 1;
                }
            }
        }
        writer.finish()?;
        Ok(packets)
    }

    /// The comment of the file as a whole.
    fn comment(&self) -> String {
        let mut comment =
            "Packets of failed TLS connections, with the verdict at the decisive packet."
                .to_owned();
        for failure in self.list.values() {
            // Writing to a String cannot fail.
            let _ = write!(comment, "\n{}", failure.text());
        }
        comment
    }
}
