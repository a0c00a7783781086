//! Writes recordings.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

use super::{
    Context, Header, Item, MAGIC,
    frame::{Encoder, write_frame},
};
use crate::{
    event::{Event, Timestamp},
    report::Report,
    sink::{Sink, Status},
};

/// Frames that may wait to be compressed and written, before the tracer waits for them: a recording is
/// of no use when it has holes.
const WAITING: usize = 64;

/// Writes everything the engine hears, a frame at a time, on a thread of its own.
#[derive(Debug)]
pub struct Recorder<W> {
    encoder: Encoder,
    frames: SyncSender<Vec<u8>>,
    /// The first error ends the recording.
    thread: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> Recorder<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut writer: W, header: &Header) -> io::Result<Self> {
        let mut encoder = Encoder::default();
        encoder.push(&Item::Header(Cow::Borrowed(header)));
        writer.write_all(&MAGIC)?;
        write_frame(&encoder.take(Vec::new()).unwrap_or_default(), &mut writer)?;
        writer.flush()?;
        let (frames, waiting) = sync_channel(WAITING);
        Ok(Self {
            encoder,
            frames,
            thread: std::thread::Builder::new()
                .name("recorder".to_owned())
                .spawn(move || write(writer, &waiting))?,
        })
    }

    /// Adds an item.
    pub fn push(&mut self, item: &Item) {
        if self.encoder.push(item) {
            self.flush();
        }
    }

    /// Has written what was gathered.
    pub fn flush(&mut self) {
        if let Some(items) = self.encoder.take(Vec::new()) {
            // Nobody receives after an error, which is told by `close`.
            let _ = self.frames.send(items);
        }
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// Some of it could not be written; what precedes it is good.
    pub fn close(mut self) -> io::Result<W> {
        self.flush();
        drop(self.frames);
        let gone = |_| io::Error::other("the thread that writes is gone");
        self.thread.join().map_err(gone)?
    }
}

fn write<W: Write>(mut writer: W, waiting: &Receiver<Vec<u8>>) -> io::Result<W> {
    for items in waiting {
        if let Err(error) = write_frame(&items, &mut writer).and_then(|()| writer.flush()) {
            tracing::error!(%error, "the recording ends here");
            return Err(error);
        }
    }
    Ok(writer)
}

impl<W: Write + Send + 'static> Sink for Recorder<W> {
    fn events(&mut self, events: &[Event]) {
        for event in events {
            self.push(&Item::Event(Cow::Borrowed(event)));
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.push(&Item::Tick(now));
    }

    fn report(&mut self, report: &Report) {
        self.push(&Item::Context(Cow::Owned(Context::of(report))));
    }

    fn status(&mut self, _: &Status) {
        self.flush();
    }

    fn finish(&mut self, now: Timestamp) {
        self.push(&Item::Finish(now));
    }
}
