//! What the HTTP/2 library of one end said: how far the connection came, and what ended it.

use crate::{
    engine::moment::Moment,
    event::{ChannelState, Goaway, Http2Moment},
    report::{H2Error, Phase},
    wire::escape,
};

/// GOAWAY frames kept: a graceful end takes two, and both ends may send.
const GOAWAYS: usize = 4;
/// States of gRPC's subchannel kept: a connection sees two of them.
const STATES: usize = 4;

/// Characters shown of debug data, which strangers choose.
const SHOWN: usize = 64;

/// Texts of GOAWAY frames and errors that strangers do not choose: of grpc-go, C-core and grpc-java.
const TEXTS: [&str; 11] = [
    "too_many_pings",
    "max_age",
    "max_idle",
    "graceful_stop",
    "settings_timeout",
    "connection idle",
    "app_requested",
    "client transport shutdown",
    PING_OF_CLIENT,
    PING_OF_SERVER,
    "transport is closing",
];
/// Why grpc-go's client closes when its PING is not answered (internal/transport/http2_client.go).
const PING_OF_CLIENT: &str = "keepalive ping failed to receive ACK within timeout";
/// The same of its server (internal/transport/http2_server.go); the time follows.
const PING_OF_SERVER: &str = "keepalive ping not acked within timeout";

/// Facts from the HTTP/2 library of one end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Http2Said {
    pub(in crate::engine) settings_sent: Moment,
    pub(in crate::engine) settings_received: Moment,
    /// The peer acknowledged this end's SETTINGS.
    acknowledged: Moment,
    pub(in crate::engine) goaways: Vec<SaidGoaway>,
    closed: Option<(Moment, Option<Box<str>>)>,
    pub(in crate::engine) ping_lost: Moment,
    states: Vec<(Moment, ChannelState)>,
}

/// A GOAWAY frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct SaidGoaway {
    pub(in crate::engine) at: Moment,
    /// By this end.
    pub(in crate::engine) sent: bool,
    pub(in crate::engine) code: u32,
    pub(in crate::engine) debug: Box<str>,
}

impl Http2Said {
    /// Takes one event.
    pub(super) fn take(&mut self, moment: &Http2Moment, at: Moment) {
        match moment {
            Http2Moment::GoawaySent(goaway) => self.goaway(at, true, goaway),
            Http2Moment::GoawayReceived(goaway) => self.goaway(at, false, goaway),
            Http2Moment::SettingsSent => self.settings_sent.set_once(at),
            Http2Moment::SettingsReceived | Http2Moment::SettingsAckSent => {
                self.settings_received.set_once(at);
            }
            Http2Moment::SettingsAckReceived => self.acknowledged.set_once(at),
            Http2Moment::Closed { text } => {
                if text.as_deref().is_some_and(is_lost_ping) {
                    self.ping_lost.set_once(at);
                }
                // A transport that is closing is closed again by others.
                let text = || text.as_deref().map(Into::into);
                self.closed.get_or_insert_with(|| (at, text()));
            }
            Http2Moment::PingLost => self.ping_lost.set_once(at),
            Http2Moment::Channel(state) => {
                if *state == ChannelState::Ready {
                    self.settings_received.set_once(at);
                }
                if self.states.len() < STATES {
                    self.states.push((at, *state));
                }
            }
        }
    }

    fn goaway(&mut self, at: Moment, sent: bool, goaway: &Goaway) {
        if self.goaways.len() < GOAWAYS {
            self.goaways.push(SaidGoaway {
                at,
                sent,
                code: goaway.code,
                debug: goaway.debug.as_str().into(),
            });
        }
    }

    /// How far it came, where that is further than TLS.
    pub(in crate::engine) fn phase(&self, is_client: bool) -> Option<Phase> {
        let (client, server) = if is_client {
            (self.settings_sent, self.settings_received)
        } else {
            (self.settings_received, self.settings_sent)
        };
        match (client.happened(), server.happened()) {
            (true, true) => Some(Phase::H2Ready),
            (true, false) => Some(Phase::H2PrefaceSent),
            (false, _) => None,
        }
    }

    /// Milliseconds between this end's SETTINGS and their acknowledgement.
    pub(in crate::engine) fn acknowledged_after(&self) -> Option<f64> {
        self.acknowledged.ms_since(self.settings_sent)
    }

    /// How far it came, in words.
    pub(in crate::engine) fn progress(&self) -> Vec<(Moment, String)> {
        let mut facts = vec![
            (self.settings_sent, "HTTP/2 SETTINGS sent".to_owned()),
            (
                self.settings_received,
                "HTTP/2 SETTINGS received".to_owned(),
            ),
        ];
        let states = self.states.iter();
        facts.extend(states.map(|(at, state)| (*at, format!("gRPC: {}", state.name()))));
        facts
    }

    /// What ended it, in words.
    pub(in crate::engine) fn ends(&self) -> Vec<(Moment, String)> {
        let goaways = self.goaways.iter();
        let mut facts: Vec<_> = goaways.map(|said| (said.at, said.words())).collect();
        match &self.closed {
            Some((at, Some(text))) => {
                let text = escape(text.as_bytes());
                facts.push((*at, format!("grpc-go closes: {text}")));
            }
            _ => facts.push((self.ping_lost, "HTTP/2 PING not answered".to_owned())),
        }
        facts
    }
}

impl SaidGoaway {
    fn words(&self) -> String {
        let code = self.code;
        let name = H2Error::of(code).map_or("of no known code", H2Error::label);
        let shown: String = self.debug.chars().take(SHOWN).collect();
        let debug = match shown.as_bytes() {
            [] => String::new(),
            bytes => format!(" \"{}\"", escape(bytes)),
        };
        let direction = if self.sent { "sent" } else { "received" };
        format!("HTTP/2 GOAWAY {code} {name}{debug} {direction}")
    }
}

impl ChannelState {
    /// gRPC's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::TransientFailure => "TRANSIENT_FAILURE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

fn is_lost_ping(text: &str) -> bool {
    text.starts_with(PING_OF_CLIENT) || text.starts_with(PING_OF_SERVER)
}

/// As much of a text as strangers did not choose.
#[must_use]
pub fn known(text: &str) -> Option<&'static str> {
    TEXTS.into_iter().find(|known| text.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    fn at(micros: u64) -> Moment {
        Moment::new(Timestamp(0), Timestamp(micros * 1000))
    }

    fn goaway(code: u32, debug: &str) -> Goaway {
        Goaway {
            code,
            debug: debug.to_owned(),
        }
    }

    #[test]
    fn debug_data_is_cut_and_escaped() {
        let mut said = Http2Said::default();
        let terminal = "\u{1b}[2J".repeat(32);
        said.take(&Http2Moment::GoawayReceived(goaway(12, &terminal)), at(5));
        let [(when, fact), _] = &said.ends()[..] else {
            panic!("{said:?}");
        };
        assert_eq!(*when, at(5));
        assert!(
            fact.starts_with(r#"HTTP/2 GOAWAY 12 INADEQUATE_SECURITY "\u{1b}[2J"#),
            "{fact}"
        );
        assert!(fact.chars().all(|each| !each.is_control()) && fact.len() < 256);
    }

    #[test]
    fn what_comes_again_and_again_stays_bounded() {
        let mut said = Http2Said::default();
        for micros in 0..1000 {
            said.take(&Http2Moment::GoawaySent(goaway(0, "max_age")), at(micros));
            said.take(&Http2Moment::Channel(ChannelState::Idle), at(micros));
        }
        assert_eq!(said.ends().len(), GOAWAYS + 1);
        assert_eq!(said.progress().len(), STATES + 2);
    }

    #[test]
    fn a_ping_that_was_not_answered_is_known_by_the_text() {
        for (text, lost) in [
            (PING_OF_CLIENT, true),
            ("keepalive ping not acked within timeout 20s", true),
            ("EOF", false),
        ] {
            let mut said = Http2Said::default();
            let text = Some(text.to_owned());
            said.take(&Http2Moment::Closed { text }, at(7));
            assert_eq!(said.ping_lost.happened(), lost);
        }
    }

    #[test]
    fn strangers_do_not_choose_what_is_known() {
        assert_eq!(known("max_age"), Some("max_age"));
        assert_eq!(
            known("keepalive ping not acked within timeout 20s"),
            Some(PING_OF_SERVER)
        );
        assert_eq!(known("password=max_age"), None);
        assert_eq!(known(""), None);
    }
}
