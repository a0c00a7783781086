//! The reader's side of the socket.

use std::{io, path::Path};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    Filter,
    protocol::{Ask, Ended, Greeting, Reason, Recorded},
};
use crate::{
    flap::Flap,
    report::{Report, SCHEMA},
    sink::json,
};

/// Why a daemon cannot be read from.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket there, or nobody listens on it.
    #[error("no daemon answers")]
    NoDaemon,
    /// The socket is not for this user.
    #[error("its socket is for its owner and group only; try sudo")]
    NoPermission,
    /// The daemon's reports look different.
    #[error(
        "it is version {version} with schema {schema}, this is schema {SCHEMA}; use the daemon's version"
    )]
    OtherSchema {
        /// Version of the daemon.
        version: String,
        /// Its schema.
        schema: u32,
    },
    /// What came is not what a daemon says.
    #[error("it does not speak as tls-trace does: {0}")]
    NotADaemon(serde_json::Error),
    /// The daemon ended without a word.
    #[error("it ended without a word: it was killed")]
    Died,
    /// It keeps no recording.
    #[error("its flight recorder is off: start it with --flight-recorder")]
    NoFlightRecorder,
    /// The daemon gave a reason.
    #[error("{}", told(*.0))]
    Ended(Reason),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn told(reason: Reason) -> &'static str {
    match reason {
        Reason::Stopped => "it stopped",
        Reason::TooSlow => "it disconnected this reader, which did not keep up with the reports",
        Reason::BadFilter => "it does not understand this filter; use the daemon's version",
        Reason::TooManyReaders => "it serves as many readers as it can",
    }
}

/// Asks the daemon for what its flight recorder holds.
///
/// # Errors
/// Nobody answers, or the flight recorder is off.
pub async fn flight_recording(path: &Path) -> Result<Vec<u8>, ClientError> {
    let ask = Ask {
        flight_recorder: true,
    };
    Client::request(path, &ask).await?.recording().await
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    from: BufReader<OwnedReadHalf>,
    line: String,
    /// Closing it means goodbye.
    _to: OwnedWriteHalf,
}

/// What the daemon tells.
#[derive(Debug, PartialEq)]
pub enum Record {
    /// A connection.
    Report(Box<Report>),
    /// Flapping begins or ends.
    Flap(Box<Flap>),
}

/// A record that passed the filter, and how the daemon wrote it.
#[derive(Debug)]
pub struct Line<'a> {
    /// Parsed.
    pub record: Record,
    /// As it came, with its line break.
    pub text: &'a str,
}

impl Client {
    /// Connects and asks for what `filter` passes.
    ///
    /// # Errors
    /// Nobody answers, or not as expected.
    pub async fn connect(path: &Path, filter: &Filter) -> Result<Self, ClientError> {
        Self::request(path, filter).await
    }

    async fn request(path: &Path, request: &impl Serialize) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon,
            io::ErrorKind::PermissionDenied => ClientError::NoPermission,
            _ => ClientError::Io(error),
        })?;
        let (from, mut to) = stream.into_split();
        let request = json::line(request).map_err(io::Error::from)?;
        to.write_all(request.as_bytes()).await?;
        let mut client = Self {
            from: BufReader::new(from),
            line: String::new(),
            _to: to,
        };
        client.read().await?;
        let Greeting { schema, version } = client.parse()?;
        if schema != SCHEMA {
            return Err(ClientError::OtherSchema { version, schema });
        }
        Ok(client)
    }

    /// The recording that was asked for; reports may come before it.
    async fn recording(&mut self) -> Result<Vec<u8>, ClientError> {
        let length = loop {
            self.read().await?;
            if let Ok(Recorded { recording }) = serde_json::from_str(&self.line) {
                break recording.ok_or(ClientError::NoFlightRecorder)?;
            }
            if let Ok(Ended { end }) = serde_json::from_str(&self.line) {
                return Err(ClientError::Ended(end));
            }
        };
        let mut recording = Vec::new();
        let read = (&mut self.from)
            .take(length as u64)
            .read_to_end(&mut recording)
            .await?;
        if read < length {
            return Err(ClientError::Died);
        }
        Ok(recording)
    }

    /// The next record. The daemon filters too, but may have sent some before it knew the filter.
    ///
    /// # Errors
    /// The connection ended; [`ClientError::Ended`] with the daemon's reason.
    pub async fn next(&mut self, filter: &Filter) -> Result<Line<'_>, ClientError> {
        loop {
            self.read().await?;
            let record = match self.parse() {
                Ok(report) => Record::Report(report),
                Err(error) => match serde_json::from_str(&self.line) {
                    Ok(flap) => Record::Flap(flap),
                    Err(_) => return Err(error),
                },
            };
            let wanted = match &record {
                Record::Flap(flap) => filter.matches_flap(flap),
                Record::Report(report) => filter.matches(report),
            };
            if wanted {
                let text = &self.line;
                return Ok(Line { record, text });
            }
        }
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        self.line.clear();
        if self.from.read_line(&mut self.line).await? == 0 {
            return Err(ClientError::Died);
        }
        Ok(())
    }

    fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, ClientError> {
        serde_json::from_str(&self.line).map_err(|error| {
            let ended = serde_json::from_str(&self.line);
            ended.map_or(ClientError::NotADaemon(error), |Ended { end }| {
                ClientError::Ended(end)
            })
        })
    }
}
