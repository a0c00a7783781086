//! Sizes of frames (RFC 9113 §4.1, §6) and of what gRPC's implementations send together. Measured:
//! grpc-go 1.81, C-core 1.85, Node 20 and grpc-js 1.14.

use crate::report::H2Error;

/// An alert (RFC 8446 §6), which is no frame.
pub(super) const ALERT: u16 = 2;
/// What a client says first (RFC 9113 §3.4), before its SETTINGS.
pub(super) const PREFACE: u16 = 24;
/// PING, or a GOAWAY without text: the sizes are the same.
pub(super) const PING: u16 = 17;
/// SETTINGS without any, and their acknowledgement.
pub(super) const SETTINGS: u16 = 9;
const SETTING: u16 = 6;
const WINDOW_UPDATE: u16 = 13;
/// The longest list of settings that is taken for one; session tickets begin at about 100 bytes.
const MOST_SETTINGS: u16 = 9;

/// GOAWAY with so many bytes of text.
const fn goaway(text: u16) -> u16 {
    17 + text
}

/// grpc-go's client says "client transport shutdown" when it closes.
const CLIENT_SHUTDOWN: u16 = goaway(25);

/// Node's client begins with its preface and its SETTINGS in one record: none, or what grpc-js sets.
pub(super) fn is_of_node(preface: u16) -> bool {
    preface == PREFACE + SETTINGS || preface == PREFACE + SETTINGS + SETTING
}

/// SETTINGS, alone or with WINDOW_UPDATE, with an acknowledgement, or with both.
pub(super) fn is_settings(bytes: u16) -> bool {
    let with = [0, WINDOW_UPDATE, SETTINGS, WINDOW_UPDATE + SETTINGS];
    with.into_iter().any(|more| {
        let settings = bytes.checked_sub(SETTINGS + more);
        settings.is_some_and(|bytes| bytes % SETTING == 0 && bytes / SETTING <= MOST_SETTINGS)
    })
}

/// What a server says when it ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) error: H2Error,
    pub(super) text: &'static str,
    /// The frames that are sent together.
    pub(super) frames: &'static str,
}

/// That of proxies, by itself no more than a PING.
pub(super) const BARE_GOAWAY: Farewell = Farewell {
    error: H2Error::NoError,
    text: "",
    frames: "GOAWAY",
};

/// The farewell that has so many bytes.
pub(super) fn farewell(bytes: u16) -> Option<Farewell> {
    const TOO_MANY_PINGS: u16 = PING + goaway(14);
    const MAX_AGE: u16 = goaway(7) + PING;
    const MAX_IDLE: u16 = goaway(8) + PING;
    // C-core's "connection idle".
    const CONNECTION_IDLE: u16 = goaway(15);
    const GRACEFUL_STOP: u16 = goaway(13) + PING;
    let (error, text, frames) = match bytes {
        TOO_MANY_PINGS => (
            H2Error::EnhanceYourCalm,
            "too_many_pings",
            "PING ACK and GOAWAY",
        ),
        MAX_AGE => (H2Error::NoError, "max_age", "GOAWAY and PING"),
        MAX_IDLE => (H2Error::NoError, "max_idle", "GOAWAY and PING"),
        CONNECTION_IDLE => (H2Error::InternalError, "connection idle", "GOAWAY"),
        GRACEFUL_STOP => (H2Error::NoError, "graceful_stop", "GOAWAY and PING"),
        _ => return None,
    };
    Some(Farewell {
        error,
        text,
        frames,
    })
}

/// What may follow a farewell from the client: an alert, acknowledgements, WINDOW_UPDATE, GOAWAY.
pub(super) fn answers_farewell(bytes: u16) -> bool {
    [
        ALERT,
        SETTINGS,
        WINDOW_UPDATE,
        PING,
        PING + WINDOW_UPDATE,
        PING + goaway(0),
        CLIENT_SHUTDOWN,
    ]
    .contains(&bytes)
}

/// What may follow a farewell from the server: PING, an alert, and the second GOAWAY of a graceful end,
/// which has the text of the first.
pub(super) fn follows_farewell(bytes: u16) -> bool {
    bytes == ALERT || bytes == PING || is_second_goaway(bytes)
}

/// The second GOAWAY of a graceful end.
pub(super) fn is_second_goaway(bytes: u16) -> bool {
    [7, 8, 13].map(goaway).contains(&bytes)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What TLS 1.3 adds.
    const OVERHEAD: u16 = 17;

    #[rstest]
    #[case::grpc_go(32)]
    #[case::c_core(63)]
    #[case::x_net(72)]
    #[case::empty(26)]
    fn servers_begin_with_settings(#[case] record: u16) {
        assert!(is_settings(record - OVERHEAD));
    }

    /// Those of grpc-go, x/net, C-core and curl are others.
    #[test]
    fn node_is_known_by_its_first_record() {
        let known = |record: &u16| is_of_node(record - OVERHEAD);
        assert!([50, 56].iter().all(known));
        assert!(![41, 81, 99].iter().any(known));
    }

    #[rstest]
    #[case::ping(34)]
    #[case::ticket(250)]
    #[case::alert(19)]
    fn other_records_are_no_settings(#[case] record: u16) {
        assert!(!is_settings(record - OVERHEAD));
    }

    #[rstest]
    #[case(65, "too_many_pings")]
    #[case(58, "max_age")]
    #[case(59, "max_idle")]
    #[case(49, "connection idle")]
    #[case(64, "graceful_stop")]
    fn farewells(#[case] record: u16, #[case] text: &str) {
        assert_eq!(farewell(record - OVERHEAD).unwrap().text, text);
    }

    #[test]
    fn a_bare_goaway_proves_nothing() {
        assert_eq!(farewell(34 - OVERHEAD), None);
        assert!(is_second_goaway(41 - OVERHEAD));
    }
}
