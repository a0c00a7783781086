//! What probes in Go's crypto/tls tell.

use tls_trace_common::{self as abi, GoRecord};

use super::{task, text};
use crate::event::{GoError, GoErrorKind, LibraryEvent, LibraryMoment, LibraryName};

/// Decodes a record; `None` for a moment that is none.
pub(super) fn library(record: &GoRecord) -> Option<LibraryEvent> {
    let done = match abi::LibraryMoment(record.header.detail) {
        abi::LibraryMoment::HANDSHAKE_RETURNED => true,
        abi::LibraryMoment::ERROR => false,
        _ => return None,
    };
    let read = |field, value: u32| (record.fields & field != 0).then_some(value);
    let alpn = read(abi::FIELD_ALPN, record.alpn_length);
    Some(LibraryEvent {
        library: LibraryName::Go,
        moment: if done {
            LibraryMoment::HandshakeReturned
        } else {
            LibraryMoment::Returned(error(record))
        },
        task: task(&record.task),
        random: record.random,
        server: read(abi::FIELD_SERVER, record.server).map(|server| server != 0),
        done: Some(done),
        version: read(abi::FIELD_VERSION, record.version)
            .and_then(|version| u16::try_from(version).ok()),
        // Go has early data for QUIC only.
        early_data_accepted: None,
        early_data_consistent: None,
        session_alpn: None,
        resumed: read(abi::FIELD_RESUMED, record.resumed).map(|resumed| resumed != 0),
        verify_result: None,
        alpn: alpn.map(|length| text(&record.alpn, length)),
        loose: false,
    })
}

fn error(record: &GoRecord) -> GoError {
    let kind = match abi::GoError(record.error) {
        abi::GoError::MESSAGE => GoErrorKind::Message,
        abi::GoError::ALERT_RECEIVED => match u8::try_from(record.reason) {
            Ok(description) => GoErrorKind::Alert(description),
            Err(_) => GoErrorKind::Other,
        },
        abi::GoError::IO => GoErrorKind::Io,
        abi::GoError::UNKNOWN_AUTHORITY => GoErrorKind::UnknownAuthority,
        abi::GoError::CERTIFICATE_INVALID => GoErrorKind::CertificateInvalid(record.reason),
        abi::GoError::HOSTNAME => GoErrorKind::Hostname,
        _ => GoErrorKind::Other,
    };
    GoError {
        kind,
        text: (record.text_length != 0).then(|| text(&record.text, record.text_length)),
        alert_sent: u8::try_from(record.alert_sent).ok(),
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn record(moment: abi::LibraryMoment) -> GoRecord {
        let mut record = GoRecord::new_zeroed();
        record.header.kind = abi::Kind::GO;
        record.header.detail = moment.0;
        record.alert_sent = abi::NO_DETAIL;
        record
    }

    #[test]
    fn a_handshake_that_succeeded() {
        let mut record = record(abi::LibraryMoment::HANDSHAKE_RETURNED);
        record.fields = abi::FIELD_ALPN | abi::FIELD_SERVER;
        record.server = 1;
        record.alpn[..2].copy_from_slice(b"h2");
        record.alpn_length = 2;
        let event = library(&record).expect("a moment");
        assert_eq!(event.moment, LibraryMoment::HandshakeReturned);
        assert_eq!(event.done, Some(true));
        assert_eq!(event.server, Some(true));
        assert_eq!(event.alpn.as_deref(), Some("h2"));
        assert_eq!(event.version, None);
    }

    #[test]
    fn a_text_that_is_longer_than_its_room_is_cut() {
        let mut record = record(abi::LibraryMoment::ERROR);
        record.error = abi::GoError::MESSAGE.0;
        record.text = [b'x'; abi::GO_TEXT];
        record.text_length = u32::MAX;
        record.alert_sent = 120;
        let event = library(&record).expect("a moment");
        let LibraryMoment::Returned(error) = event.moment else {
            panic!("{event:?}");
        };
        assert_eq!(error.text.map(|text| text.len()), Some(abi::GO_TEXT));
        assert_eq!(error.alert_sent, Some(120));
    }

    #[test]
    fn other_moments_are_refused() {
        assert!(library(&record(abi::LibraryMoment::FREED)).is_none());
    }
}
