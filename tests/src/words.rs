//! Conditions on what a report says of the words of TLS libraries and of HTTP/2.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tls_trace::{
    event::LibraryName,
    report::{
        Confidence, EarlyData, EarlyDataOutcome, EarlyDataReason, Notice, Report, Role, Sender,
    },
};

use crate::{Case, describe};

/// That library was asked.
pub fn of_library(name: LibraryName) -> impl Fn(&Report) -> bool {
    move |report| {
        let library = report.library.as_ref();
        library.is_some_and(|library| library.name == name)
    }
}

/// The report tells of a GOAWAY of the server with that code, so surely, and with debug data like that.
pub fn goaway(
    report: &Report,
    code: u32,
    confidence: Confidence,
    text: impl Fn(Option<&str>) -> bool,
) -> bool {
    let mut goaways = report.http2.iter().flat_map(|http2| &http2.goaways);
    goaways.any(|goaway| {
        (goaway.from, goaway.code, goaway.confidence) == (Sender::Server, code, confidence)
            && text(goaway.debug.as_deref())
    })
}

/// The library failed for that reason.
pub fn said(number: u32, name: &'static str) -> impl Fn(&Report) -> bool {
    move |report| {
        let library = report.library.as_ref();
        library.is_some_and(|library| {
            library.reason == Some(number) && library.reason_name.as_deref() == Some(name)
        })
    }
}

/// The library found that of the peer's certificate.
pub fn verified(result: u32, name: &'static str) -> impl Fn(&Report) -> bool {
    move |report| {
        let library = report.library.as_ref();
        library.is_some_and(|library| {
            library.verify_result == Some(result) && library.verify_name.as_deref() == Some(name)
        })
    }
}

/// Asserts what both ends say of the one connection of the case that early data was offered on: the outcome,
/// and the reason of client and server. That is the second of two connections, the first gave the ticket.
///
/// # Errors
/// One of them says something else, or there is no such connection.
pub fn early_data(
    case: &Case,
    outcome: EarlyDataOutcome,
    reasons: [Option<EarlyDataReason>; 2],
) -> Result<[Arc<Report>; 2]> {
    let mut ends = case.all(4)?;
    ends.retain(|report| {
        let data = report.early_data.as_ref();
        data.is_some_and(|data| data.outcome != EarlyDataOutcome::NotOffered)
    });
    ends.sort_by_key(|report| report.role != Role::Client);
    let ends = <[_; 2]>::try_from(ends);
    let ends = ends.map_err(|ends| anyhow::anyhow!("{} ends with early data", ends.len()))?;
    ensure!(ends[1].role == Role::Server, "{}", describe(&ends[1]));
    for (end, reason) in ends.iter().zip(reasons) {
        let rejected = outcome == EarlyDataOutcome::Rejected;
        ensure!(
            end.early_data == Some(EarlyData { outcome, reason })
                && end.notices.contains(&Notice::EarlyDataRejected) == rejected
                && !end.notices.contains(&Notice::Contradiction),
            "not {outcome:?}, {reason:?}, but {:?}: {}",
            end.notices,
            describe(end)
        );
    }
    Ok(ends)
}
