//! What a GOAWAY says (RFC 9113 §6.8).

use crate::report::{Cause, GoAwayDebug, H2Error};

/// The cause that a GOAWAY with this code and text states.
pub(in crate::engine) fn cause(code: u32, text: Option<&str>) -> Cause {
    match (H2Error::of(code), GoAwayDebug::of(text)) {
        (Some(H2Error::EnhanceYourCalm), GoAwayDebug::TooManyPings) => Cause::H2GoawayTooManyPings,
        (Some(H2Error::NoError), GoAwayDebug::MaxAge) => Cause::H2GoawayMaxAge,
        // C-core gives it the code of an internal error.
        (Some(H2Error::NoError | H2Error::InternalError), GoAwayDebug::MaxIdle) => {
            Cause::H2GoawayMaxIdle
        }
        (Some(H2Error::NoError), _) => Cause::H2GoawayGraceful,
        _ => Cause::H2GoawayError,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(11, Some("too_many_pings"), Cause::H2GoawayTooManyPings)]
    #[case(11, None, Cause::H2GoawayError)]
    #[case(0, Some("max_age"), Cause::H2GoawayMaxAge)]
    #[case(0, Some("max_idle"), Cause::H2GoawayMaxIdle)]
    #[case(2, Some("connection idle"), Cause::H2GoawayMaxIdle)]
    #[case(2, None, Cause::H2GoawayError)]
    #[case(0, Some("graceful_stop"), Cause::H2GoawayGraceful)]
    #[case(0, None, Cause::H2GoawayGraceful)]
    #[case(4, Some("settings_timeout"), Cause::H2GoawayError)]
    #[case(u32::MAX, Some("max_age"), Cause::H2GoawayError)]
    fn causes(#[case] code: u32, #[case] text: Option<&str>, #[case] expected: Cause) {
        assert_eq!(cause(code, text), expected);
    }
}
