//! A recording with other names and addresses, to be shown to others: the same name becomes the same other
//! name wherever it is. Ports, times, sizes, numbers of processes and names of protocols stay.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Read, Seek, SeekFrom, Write},
    net::SocketAddr,
};

use bytes::Bytes;

use super::{Context, Item, Recorder, Recording, RecordingError, others::Others, scrub::scrub};
use crate::{
    engine,
    event::{
        ConnectionId, Direction, Event, EventKind, GoError, GoErrorKind, Http2Moment, LibraryEvent,
        LibraryMoment, Segment, Socket, StateChange, TcpFlags,
    },
};

/// Bytes of each direction that are looked at; the tracer records fewer.
const STREAM: usize = 128 * 1024;

/// Why a recording was not redacted, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// It cannot be read, or not any further: what precedes it was written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The other one cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

/// Writes a recording with other names and addresses. It is read twice.
///
/// # Errors
/// It cannot be read to its end, or the other one cannot be written.
pub fn redact<W: Write + Send + 'static>(
    mut recording: impl Read + Seek,
    writer: W,
) -> Result<W, RedactError> {
    let begin = recording.stream_position().map_err(RecordingError::from)?;
    let mut survey = Survey::default();
    let mut items = Recording::open(&mut recording)?;
    // Where it cannot be read any further is found again below.
    while let Ok(Some(item)) = items.next_item() {
        survey.item(&item);
    }
    let mut redactor = survey.redactor();
    recording
        .seek(SeekFrom::Start(begin))
        .map_err(RecordingError::from)?;
    let mut items = Recording::open(recording)?;
    let mut recorder = Recorder::new(writer, items.header()).map_err(RedactError::Write)?;
    let result = loop {
        match items.next_item() {
            Ok(Some(item)) => recorder.push(&redactor.item(item)),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let mut writer = recorder.close().map_err(RedactError::Write)?;
    writer.flush().map_err(RedactError::Write)?;
    result?;
    Ok(writer)
}

/// One direction of one connection; those to a listener have its id.
type StreamId = (ConnectionId, Direction, SocketAddr, SocketAddr);

/// What a recording has of each stream: names may be cut by segments, so all of them are read first.
#[derive(Debug, Default)]
struct Survey {
    streams: HashMap<StreamId, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Sequence number of the first byte.
    base: u32,
    bytes: Vec<u8>,
}

impl Survey {
    /// Takes an item of the recording, in order.
    fn item(&mut self, item: &Item) {
        if let Item::Event(event) = item
            && let EventKind::Segment(segment) = &event.kind
            && !segment.payload.is_empty()
        {
            let id = stream_id(event.connection, segment);
            self.streams.entry(id).or_default().add(segment);
        }
    }

    /// All items were taken: makes what changes them.
    fn redactor(self) -> Redactor {
        let mut redactor = Redactor {
            others: Others::default(),
            streams: self.streams,
        };
        for stream in redactor.streams.values_mut() {
            scrub(&mut stream.bytes, &mut redactor.others);
        }
        redactor
    }
}

fn stream_id(connection: ConnectionId, segment: &Segment) -> StreamId {
    let Segment {
        direction,
        local,
        remote,
        ..
    } = *segment;
    (connection, direction, local, remote)
}

/// Sequence number of the first byte of payload.
fn first_byte(segment: &Segment) -> u32 {
    let syn = segment.flags.has(TcpFlags::SYN);
    segment.seq.wrapping_add(u32::from(syn))
}

impl Stream {
    fn add(&mut self, segment: &Segment) {
        let first = first_byte(segment);
        if self.bytes.is_empty() {
            self.base = first;
        }
        // The first to come need not be the first sent.
        let before = self.base.wrapping_sub(first) as usize;
        if before < STREAM.saturating_sub(self.bytes.len()) {
            self.base = first;
            self.bytes.splice(..0, std::iter::repeat_n(0, before));
        }
        let Some(range) = self.range(segment) else {
            return;
        };
        if self.bytes.len() < range.end {
            self.bytes.resize(range.end, 0);
        }
        self.bytes[range].copy_from_slice(&segment.payload);
    }

    fn range(&self, segment: &Segment) -> Option<std::ops::Range<usize>> {
        let begin = first_byte(segment).wrapping_sub(self.base) as usize;
        let end = begin.checked_add(segment.payload.len())?;
        (end <= STREAM).then_some(begin..end)
    }
}

/// Changes items; made by [`Survey::redactor`].
#[derive(Debug)]
struct Redactor {
    others: Others,
    streams: HashMap<StreamId, Stream>,
}

impl Redactor {
    /// Changes an item.
    fn item(&mut self, item: Item<'static>) -> Item<'static> {
        match item {
            Item::Event(event) => {
                let mut event = event.into_owned();
                self.event(&mut event);
                Item::Event(Cow::Owned(event))
            }
            Item::Context(context) => {
                let mut context: Context = context.into_owned();
                for name in [&mut context.comm, &mut context.cgroup] {
                    *name = name.take().map(|name| self.others.text(&name));
                }
                Item::Context(Cow::Owned(context))
            }
            Item::Header(_) | Item::Tick(_) | Item::Finish(_) => item,
        }
    }

    fn event(&mut self, event: &mut Event) {
        if let Some(task) = event.kind.task_mut() {
            task.comm = self.others.text(&task.comm);
        }
        match &mut event.kind {
            EventKind::State(StateChange { socket, .. })
            | EventKind::Destroyed(socket)
            | EventKind::Existing { socket, .. } => self.socket(socket),
            EventKind::ListenOverflow { server, client, .. } => {
                self.address(server);
                self.address(client);
            }
            EventKind::Segment(segment) => self.segment(event.connection, segment),
            EventKind::Library(LibraryEvent {
                moment: LibraryMoment::Returned(error),
                ..
            }) => self.go_error(error),
            EventKind::Http2(said) => Self::http2(&mut said.moment),
            // Names of application protocols at most.
            EventKind::ResetSent { .. }
            | EventKind::ResetReceived
            | EventKind::SocketError { .. }
            | EventKind::Retransmit { .. }
            | EventKind::Function { .. }
            | EventKind::Library(_)
            | EventKind::Held(_)
            | EventKind::Tail(_)
            | EventKind::Ended => {}
        }
    }

    fn segment(&mut self, connection: ConnectionId, segment: &mut Segment) {
        let stream = self.streams.get(&stream_id(connection, segment));
        let bytes = stream.and_then(|stream| stream.bytes.get(stream.range(segment)?));
        segment.payload = match bytes {
            Some(bytes) => Bytes::copy_from_slice(bytes),
            // Too far into the stream to have been read.
            None => vec![0; segment.payload.len()].into(),
        };
        self.address(&mut segment.local);
        self.address(&mut segment.remote);
    }

    /// Of texts, only what says the cause stays.
    fn http2(moment: &mut Http2Moment) {
        let known = |text: &str| engine::known_http2_text(text).map(str::to_owned);
        match moment {
            Http2Moment::GoawaySent(goaway) | Http2Moment::GoawayReceived(goaway) => {
                goaway.debug = known(&goaway.debug).unwrap_or_default();
            }
            Http2Moment::Closed { text } => *text = text.take().and_then(|text| known(&text)),
            _ => {}
        }
    }

    /// The same of Go's errors.
    fn go_error(&self, error: &mut GoError) {
        let text = error.text.take();
        error.text = match error.kind {
            GoErrorKind::Hostname => text.map(|name| self.others.text(&name)),
            _ => text.and_then(|text| engine::known_go_error(&text).map(str::to_owned)),
        };
    }

    fn socket(&mut self, socket: &mut Socket) {
        self.address(&mut socket.local);
        self.address(&mut socket.remote);
    }

    fn address(&mut self, address: &mut SocketAddr) {
        address.set_ip(self.others.address(address.ip()));
    }
}
