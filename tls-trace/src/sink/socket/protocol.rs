//! What daemon and reader say to each other, one JSON object a line. The daemon: [`Ready`], then
//! reports, then [`Ended`]. A reader may send a [`super::Filter`] at any time, and needs not; or [`Ask`],
//! which is answered with [`Recorded`] and the bytes it counts.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{probe::HookReport, report::SCHEMA};

/// First line: from now on every connection is traced.
#[derive(Clone, Debug, Serialize)]
pub struct Ready<'a> {
    #[serde(rename = "ready")]
    traces: bool,
    schema: u32,
    version: &'static str,
    /// Address of the HTTP server; null when it is off.
    pub metrics: Option<SocketAddr>,
    /// Path of the socket; null when it is off.
    pub socket: Option<PathBuf>,
    /// How each hook ended.
    pub hooks: &'a [HookReport],
}

impl<'a> Ready<'a> {
    /// A ready tracer without outputs.
    #[must_use]
    pub fn new(hooks: &'a [HookReport]) -> Self {
        Self {
            traces: true,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            metrics: None,
            socket: None,
            hooks,
        }
    }
}

/// What a reader needs of [`Ready`].
#[derive(Clone, Debug, Deserialize)]
pub struct Greeting {
    /// Version of the reports' schema.
    pub schema: u32,
    /// Version of the daemon.
    pub version: String,
}

/// A request for what the flight recorder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Always true.
    pub flight_recorder: bool,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Bytes of the recording, which follow this line; null when the flight recorder is off.
    pub recording: Option<usize>,
}

/// Last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why no more reports come.
    pub end: Reason,
}

/// Why the daemon ends a reader's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The daemon stops.
    Stopped,
    /// The reader does not keep up.
    TooSlow,
    /// The reader sent something that is not a filter.
    BadFilter,
    /// As many readers as the daemon serves are connected.
    TooManyReaders,
}
