//! Standard output behind a thread of its own, so that a reader that stalls (a pager, a full pipe)
//! delays nothing but itself.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use prometheus::IntCounter;
use tokio::sync::watch;

/// Lines waiting for the reader at most; about 64 MiB of JSON at worst.
const WAITING: usize = 65_536;
/// How long the reader may take for what is left at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The sending side of the output thread.
#[derive(Debug)]
pub struct Output {
    lines: SyncSender<String>,
    state: watch::Receiver<State>,
    dropped: IntCounter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Written,
    ReaderGone,
}

impl Output {
    /// Starts the thread; `dropped` counts the lines a stalled reader did not take. It writes through [`anstream`], which strips colours unless standard
    /// output is a terminal that wants them.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn stdout(dropped: IntCounter) -> io::Result<Self> {
        Self::to(anstream::stdout(), dropped)
    }

    fn to(writer: impl io::Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        let (end, state) = watch::channel(State::Writing);
        std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                end.send_replace(match write_all(&waiting, writer) {
                    Ok(()) => State::Written,
                    Err(_) => State::ReaderGone,
                });
            })?;
        Ok(Self {
            lines,
            state,
            dropped,
        })
    }

    /// Queues a line (its break included), or drops and counts it when the reader is too far behind.
    pub fn line(&mut self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) => {}
            // A closed output ends the command; what comes meanwhile has no reader.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped.inc(),
        }
    }

    /// Resolves when the reader is gone.
    pub fn reader_gone(&self) -> impl Future<Output = ()> + use<> {
        let mut state = self.state.clone();
        async move {
            // An error means that the thread is gone, and with it the reader.
            let _ = state.wait_for(|state| *state != State::Writing).await;
        }
    }

    /// Gives the reader a moment to take what is queued. Returns whether it took everything.
    pub async fn finish(self) -> bool {
        let Self {
            lines, mut state, ..
        } = self;
        drop(lines);
        let written = state.wait_for(|state| *state != State::Writing);
        let written = tokio::time::timeout(LAST_LINES, written).await;
        matches!(written, Ok(Ok(state)) if *state == State::Written)
    }
}

fn write_all(waiting: &Receiver<String>, mut writer: impl io::Write) -> io::Result<()> {
    while let Ok(line) = waiting.recv() {
        writer.write_all(line.as_bytes())?;
        for line in waiting.try_iter() {
            writer.write_all(line.as_bytes())?;
        }
        writer.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::{fd::OwnedFd, unix::net::UnixStream},
    };

    use super::*;

    fn output() -> (Output, UnixStream, IntCounter) {
        let (reader, writer) = UnixStream::pair().unwrap();
        let dropped = IntCounter::new("dropped_total", "Dropped.").unwrap();
        let writer = std::fs::File::from(OwnedFd::from(writer));
        let output = Output::to(writer, dropped.clone()).unwrap();
        (output, reader, dropped)
    }

    #[tokio::test]
    async fn everything_queued_is_written_at_the_end() {
        let (mut output, mut reader, dropped) = output();
        for number in 0..1000 {
            output.line(format!("{number}\n"));
        }
        let finished = tokio::spawn(output.finish());
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        let text = read.await.unwrap().unwrap();
        assert!(text.starts_with("0\n1\n") && text.ends_with("\n999\n"));
        assert!(finished.await.unwrap());
        assert_eq!(dropped.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_costs_lines_not_time() {
        let (mut output, _reader, dropped) = output();
        let line = format!("{}\n", "x".repeat(100));
        for _ in 0..WAITING + 10_000 {
            output.line(line.clone());
        }
        assert!(dropped.get() > 0);
        assert!(!output.finish().await);
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_noticed() {
        let (mut output, reader, _) = output();
        let gone = output.reader_gone();
        drop(reader);
        output.line("anybody?\n".to_owned());
        gone.await;
        assert!(!output.finish().await);
    }
}
