//! The flight recorder: the latest events, in memory, for when somebody asks what just happened.

use std::{
    borrow::Cow,
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Context, Header, Item, MAGIC,
    frame::{Encoder, write_frame},
};
use crate::{
    event::{Event, Timestamp},
    report::Report,
    sink::Sink,
};

/// Keeps the latest items. Clones share them.
#[derive(Clone, Debug)]
pub struct FlightRecorder {
    shared: Arc<Mutex<Latest>>,
}

#[derive(Debug)]
struct Latest {
    encoder: Encoder,
    header: Arc<Vec<u8>>,
    /// Encoded items, enough for a frame each.
    chunks: VecDeque<Arc<Vec<u8>>>,
    bytes: usize,
    /// Bytes kept at most.
    most: usize,
}

/// What a flight recorder held at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    chunks: Vec<Arc<Vec<u8>>>,
}

impl FlightRecorder {
    /// A recorder that keeps so many bytes, not compressed.
    #[must_use]
    pub fn new(header: &Header, most: usize) -> Self {
        let mut encoder = Encoder::default();
        encoder.push(&Item::Header(Cow::Borrowed(header)));
        let header = encoder.take(Vec::new()).unwrap_or_default();
        let latest = Latest {
            encoder,
            header: Arc::new(header),
            chunks: VecDeque::new(),
            bytes: 0,
            most,
        };
        Self {
            shared: Arc::new(Mutex::new(latest)),
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut latest = self.latest();
        latest.close_chunk();
        let header = Arc::clone(&latest.header);
        Snapshot {
            chunks: [header]
                .into_iter()
                .chain(latest.chunks.iter().cloned())
                .collect(),
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    fn push(&mut self, item: &Item) {
        if self.encoder.push(item) {
            self.close_chunk();
        }
    }

    fn close_chunk(&mut self) {
        let mut memory = Vec::new();
        while self.bytes + self.encoder.len() > self.most
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.len();
            // Used again, unless a snapshot still has it.
            memory = Arc::into_inner(oldest).unwrap_or_default();
        }
        if let Some(chunk) = self.encoder.take(memory) {
            self.bytes += chunk.len();
            self.chunks.push_back(Arc::new(chunk));
        }
    }
}

impl Snapshot {
    /// The recording. Compressing takes some 3 ms for each MiB.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, mut writer: impl Write) -> io::Result<()> {
        writer.write_all(&MAGIC)?;
        for chunk in &self.chunks {
            write_frame(chunk, &mut writer)?;
        }
        writer.flush()
    }
}

impl Sink for FlightRecorder {
    fn events(&mut self, events: &[Event]) {
        let mut latest = self.latest();
        for event in events {
            latest.push(&Item::Event(Cow::Borrowed(event)));
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.latest().push(&Item::Tick(now));
    }

    fn report(&mut self, report: &Report) {
        let context = Context::of(report);
        self.latest().push(&Item::Context(Cow::Owned(context)));
    }
}
