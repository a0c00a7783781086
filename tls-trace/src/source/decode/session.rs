//! What probes in GnuTLS and BoringSSL tell.

use tls_trace_common::{self as abi, SessionRecord};

use super::{task, text};
use crate::event::{LibraryEvent, LibraryMoment, LibraryName, Statement};

/// Decodes a record; `None` for a moment or a library that is none.
pub(super) fn library(record: &SessionRecord) -> Option<LibraryEvent> {
    let library = match record.library {
        abi::SessionLibrary::GNUTLS => LibraryName::Gnutls,
        abi::SessionLibrary::BORINGSSL => LibraryName::Boringssl,
        _ => return None,
    };
    let gnutls = library == LibraryName::Gnutls;
    let moment = abi::LibraryMoment(record.header.detail);
    if !matches!(
        moment,
        abi::LibraryMoment::HANDSHAKE_RETURNED
            | abi::LibraryMoment::ERROR
            | abi::LibraryMoment::ALERT_SENT
            | abi::LibraryMoment::VERIFIED
    ) {
        return None;
    }
    let completed = moment == abi::LibraryMoment::HANDSHAKE_RETURNED;
    let loose = record.flags & abi::LOOSE != 0;
    let read = |field, value: u32| (record.fields & field != 0).then_some(value);
    let early_data = read(abi::FIELD_EARLY_DATA, record.early_data);
    let early_data_reason = early_data.filter(|_| !gnutls);
    // A client that sends early data goes on before it knows what the server selected.
    let decided = completed && (gnutls || early_data_reason.is_some_and(|reason| reason != 0));
    let alpn = read(abi::FIELD_ALPN, record.alpn_length).filter(|_| decided);
    let sample = usize::try_from(record.sample_length).unwrap_or(usize::MAX);
    Some(LibraryEvent {
        library,
        moment: LibraryMoment::Stated(Box::new(Statement {
            completed,
            reason: (record.reason != 0).then_some(record.reason),
            alert_received: u8::try_from(record.alert_received).ok(),
            alert_sent: u8::try_from(record.alert_sent).ok(),
            early_data_reason,
            sample: record.sample[..sample.min(record.sample.len())].to_vec(),
        })),
        task: task(&record.task),
        random: record.random,
        server: read(abi::FIELD_SERVER, record.server).map(|server| server != 0),
        done: (!loose).then_some(completed),
        version: read(abi::FIELD_VERSION, record.version).and_then(version),
        early_data_accepted: early_data
            .filter(|_| gnutls && completed)
            .map(|accepted| accepted != 0),
        early_data_consistent: None,
        session_alpn: None,
        resumed: read(abi::FIELD_RESUMED, record.resumed).map(|resumed| resumed != 0),
        verify_result: (record.verify_status != 0).then_some(record.verify_status),
        alpn: alpn.map(|length| text(&record.alpn, length)),
        loose,
    })
}

/// From `gnutls_protocol_t` to the version's own number.
fn version(version: u32) -> Option<u16> {
    match version {
        1..=5 => Some(0x2ff + u16::try_from(version).ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn record(library: abi::SessionLibrary, moment: abi::LibraryMoment) -> SessionRecord {
        let mut record = SessionRecord::new_zeroed();
        record.header.kind = abi::Kind::SESSION;
        record.header.detail = moment.0;
        record.library = library;
        record.alert_sent = abi::NO_DETAIL;
        record.alert_received = abi::NO_DETAIL;
        record
    }

    fn statement(event: LibraryEvent) -> Statement {
        match event.moment {
            LibraryMoment::Stated(statement) => *statement,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_handshake_of_gnutls_that_succeeded() {
        let mut record = record(
            abi::SessionLibrary::GNUTLS,
            abi::LibraryMoment::HANDSHAKE_RETURNED,
        );
        record.fields = abi::FIELD_ALPN | abi::FIELD_VERSION | abi::FIELD_EARLY_DATA;
        record.version = 5;
        let event = library(&record).expect("a moment");
        assert_eq!((event.done, event.version), (Some(true), Some(0x0304)));
        assert_eq!(event.alpn.as_deref(), Some(""));
        assert_eq!(event.early_data_accepted, Some(false));
        let said = statement(event);
        assert_eq!((said.completed, said.alert_received), (true, None));
        assert_eq!(said.early_data_reason, None);
    }

    #[test]
    fn before_early_data_is_decided_the_protocol_is_not_known() {
        let mut record = record(
            abi::SessionLibrary::BORINGSSL,
            abi::LibraryMoment::HANDSHAKE_RETURNED,
        );
        record.fields = abi::FIELD_ALPN | abi::FIELD_EARLY_DATA;
        assert_eq!(library(&record).expect("a moment").alpn, None);
        record.early_data = 5;
        let event = library(&record).expect("a moment");
        assert_eq!(event.alpn.as_deref(), Some(""));
        assert_eq!(statement(event).early_data_reason, Some(5));
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut record = record(abi::SessionLibrary::BORINGSSL, abi::LibraryMoment::ERROR);
        record.sample_length = u32::MAX;
        record.reason = 1040;
        let said = statement(library(&record).expect("a moment"));
        assert_eq!((said.sample.len(), said.reason), (abi::SAMPLE, Some(1040)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let freed = abi::LibraryMoment::FREED;
        assert!(library(&record(abi::SessionLibrary::GNUTLS, freed)).is_none());
        let error = abi::LibraryMoment::ERROR;
        assert!(library(&record(abi::SessionLibrary(7), error)).is_none());
    }
}
