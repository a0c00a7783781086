//! What probes in Go's HTTP/2 and in grpc-go tell.

use tls_trace_common::{self as abi, Http2Record};

use super::{task, text};
use crate::event::{ChannelState, Goaway, Http2Event, Http2Moment};

/// Decodes a record; `None` for a moment that is none.
pub(super) fn said(record: &Http2Record) -> Option<Http2Event> {
    let server = (record.fields & abi::FIELD_SERVER != 0).then_some(record.server != 0);
    Some(Http2Event {
        moment: moment(record)?,
        task: task(&record.task),
        random: record.random,
        server,
    })
}

fn moment(record: &Http2Record) -> Option<Http2Moment> {
    let words = || text(&record.text, record.text_length);
    let goaway = || Goaway {
        code: record.code,
        debug: words(),
    };
    Some(match abi::Http2Moment(record.header.detail) {
        abi::Http2Moment::GOAWAY_SENT => Http2Moment::GoawaySent(goaway()),
        abi::Http2Moment::GOAWAY_RECEIVED => Http2Moment::GoawayReceived(goaway()),
        abi::Http2Moment::SETTINGS_SENT => Http2Moment::SettingsSent,
        abi::Http2Moment::SETTINGS_RECEIVED => Http2Moment::SettingsReceived,
        abi::Http2Moment::SETTINGS_ACK_SENT => Http2Moment::SettingsAckSent,
        abi::Http2Moment::SETTINGS_ACK_RECEIVED => Http2Moment::SettingsAckReceived,
        abi::Http2Moment::CLOSED => Http2Moment::Closed {
            text: (record.text_length != 0).then(words),
        },
        abi::Http2Moment::PING_LOST => Http2Moment::PingLost,
        abi::Http2Moment::CHANNEL => Http2Moment::Channel(match record.code {
            0 => ChannelState::Idle,
            1 => ChannelState::Connecting,
            2 => ChannelState::Ready,
            3 => ChannelState::TransientFailure,
            4 => ChannelState::Shutdown,
            _ => return None,
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn record(moment: abi::Http2Moment) -> Http2Record {
        let mut record = Http2Record::new_zeroed();
        record.header.kind = abi::Kind::HTTP2;
        record.header.detail = moment.0;
        record
    }

    #[test]
    fn debug_data_that_is_longer_than_its_room_is_cut() {
        let mut record = record(abi::Http2Moment::GOAWAY_SENT);
        record.code = 11;
        record.text = [0x1b; abi::GO_TEXT];
        record.text_length = 16 << 10;
        let Some(Http2Moment::GoawaySent(goaway)) = moment(&record) else {
            panic!("a GOAWAY");
        };
        assert_eq!((goaway.code, goaway.debug.len()), (11, abi::GO_TEXT));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(moment(&record(abi::Http2Moment(99))), None);
        let mut channel = record(abi::Http2Moment::CHANNEL);
        channel.code = 5;
        assert_eq!(moment(&channel), None);
        channel.code = 2;
        let ready = Http2Moment::Channel(ChannelState::Ready);
        assert_eq!(moment(&channel), Some(ready));
    }

    #[test]
    fn the_end_is_the_servers_only_if_it_was_read() {
        let mut record = record(abi::Http2Moment::SETTINGS_SENT);
        record.server = 1;
        assert_eq!(said(&record).and_then(|said| said.server), None);
        record.fields = abi::FIELD_SERVER;
        assert_eq!(said(&record).and_then(|said| said.server), Some(true));
    }
}
