//! What is told of flaps. Field names are the JSON schema (docs/json.md).

use serde::{Deserialize, Serialize};

use super::{Class, Disconnect};
use crate::{
    event::Timestamp,
    report::{Cause, Role},
};

/// What happens to a flap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It begins.
    On,
    /// It has been quiet for long enough.
    Off,
}

/// One connection that was cut and opened anew, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapEvent {
    /// Role of the local end.
    pub role: Role,
    /// Why it ended.
    pub cause: Cause,
    /// Whether that was to be expected.
    pub class: Class,
    /// The same in gRPC's words.
    pub disconnect: Disconnect,
}

/// A program begins to lose its connection to a server again and again, or ceases to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flap {
    /// [`crate::report::SCHEMA`].
    pub schema: u32,
    /// Which of the two; the field that tells this record from a report.
    pub flap: Change,
    /// Wall-clock time, RFC 3339 in UTC; set by whoever knows the wall clock.
    pub time: Option<String>,
    /// When, by the clock of events.
    #[serde(skip)]
    pub at: Timestamp,
    /// Role of the local end.
    pub role: Role,
    /// Process that holds the local end.
    pub pid: Option<u32>,
    /// Its name, unescaped: any bytes.
    pub comm: Option<String>,
    /// Its cgroup v2 path, or the cgroup's id where the path is not known.
    pub cgroup: Option<String>,
    /// The server by the name its client asked for, else by address; for a server, its client's
    /// address. Unescaped.
    pub peer: String,
    /// Port of the server.
    pub port: u16,
    /// Flap events since the first, planned ones too.
    pub events: u32,
    /// Of these, planned.
    pub planned: u32,
    /// Seconds from the first event to the last.
    pub span_s: f64,
    /// Median lifetime after the handshake of the last 16 connections at most, seconds.
    pub life_s: f64,
    /// Coefficient of variation of these lifetimes.
    pub variation: Option<f64>,
    /// Their mean where they vary by less than a tenth: the work of a timer.
    pub period_s: Option<f64>,
    /// The most frequent cause of the last 16 when the flap began.
    pub cause: Cause,
    /// Its share of them, 0 to 1.
    pub cause_share: f64,
    /// gRFC A94's name for the last end.
    pub grpc_disconnect_error: Disconnect,
    /// What to look at or change, where cause and period tell.
    pub hint: Option<String>,
}
