//! GOAWAY without text, which has the size of a PING and of the answer to one: what tells them apart is who broke the
//! silence with it, and how soon all was over.
//!
//! Where a Node client leaves right after a call, there is no silence; but Node does not ping of itself, as others do to
//! measure bandwidth.

use super::{
    Frames,
    find::{Finding, PING_WAIT_MS, View},
    sizes,
};
use crate::{
    engine::{close::Layer, handshake::other, verdict::SILENCE_MS},
    report::{Cause, Initiator, Outcome},
};

/// Who leaves this soon after what may be the answer to a PING, in milliseconds, answers a goodbye by it: Node says
/// GOAWAY to GOAWAY, and closes within ten.
const AT_ONCE_MS: f64 = 200.0;

impl View<'_> {
    /// Unasked, one end breaks a silence with what has the size of a GOAWAY without text, and it all ends sooner than a
    /// PING of that size is given up: proxies say it, and Node, whose other end says the same in answer. Which end is
    /// the first to close is chance then.
    pub(super) fn bare_goaway(&self) -> Option<Finding> {
        let said = self.last_words()?;
        let (first, last) = (said.words[0], said.words.last()?);
        let by_app = self.client_closed() || self.server_closed();
        if !by_app || self.ms_to_end(last.at) >= PING_WAIT_MS {
            return None;
        }
        let client = self.case.client();
        let speaker = if first.from_client {
            client
        } else {
            other(client)
        };
        let speaker = self.case.initiator(speaker, Layer::App);
        let mut answers = said.words.iter();
        let answer = answers.find(|frames| frames.from_client != first.from_client);
        let leaves = self.case.first_to_leave() == speaker;
        let initiator = match answer {
            // It is known without sizes then.
            _ if first.from_client && leaves => return None,
            // A client that nobody answers may as well have sent a PING.
            None if first.from_client => return None,
            Some(answer) if !leaves && self.ms_to_end(answer.at) >= AT_ONCE_MS => return None,
            // Perhaps its next PING, and then the other left.
            Some(_) if !leaves && said.pings => Initiator::Unknown,
            _ => speaker,
        };
        let record = self.record(sizes::PING);
        let who = if first.from_client {
            "client"
        } else {
            "server"
        };
        let mut fact = format!("{record} bytes from the {who}, the size of GOAWAY without text");
        if said.silence >= SILENCE_MS {
            let silence = said.silence / 1e3;
            fact = format!("nobody had said anything for {silence:.1} s, then {fact}");
        }
        let asked = initiator == self.case.initiator(other(client), Layer::App);
        let cause = if asked {
            Cause::H2GoawayGraceful
        } else {
            Cause::None
        };
        Some(Finding {
            outcome: Outcome::Established,
            initiator,
            goaway: asked.then_some(sizes::BARE_GOAWAY),
            ..self.finding(cause, first.at, fact)
        })
    }

    /// What was said after the last silence, or by a Node client after all else, if it was nothing but what has that
    /// size.
    fn last_words(&self) -> Option<LastWords<'_>> {
        let mut frames = self.frames();
        let is_word = |frames: &Frames| frames.bytes == sizes::PING;
        let is_goodbye = |frames: &Frames| frames.bytes == sizes::ALERT;
        let ends = |frames: &&&Frames| is_word(frames) || is_goodbye(frames);
        let start = frames.len() - frames.iter().rev().take_while(ends).count();
        // What is said to one who left answers nothing.
        let left = frames[start..].iter().position(|frames| is_goodbye(frames));
        frames.truncate(left.map_or(frames.len(), |left| start + left));
        let silence = |at: usize| self.silence_before(&frames[..at], frames[at].at);
        let breaks = |at: &usize| silence(*at).is_some_and(|silence| silence >= SILENCE_MS);
        let after_all = |at: &usize| silence(*at).is_some_and(|silence| silence >= 0.0);
        let of_node = |at: &usize| frames[*at].from_client && sizes::is_of_node(self.http2.preface);
        let after_all = || (start..frames.len()).find(after_all).filter(of_node);
        let mut first = (start..frames.len()).rfind(breaks).or_else(after_all)?;
        // One may say it twice: first that it will leave, then which call is the last.
        let again = |first: usize| {
            let earlier = first.checked_sub(1).filter(|at| *at >= start)?;
            let same = frames[earlier].from_client == frames[first].from_client;
            (same && breaks(&earlier)).then_some(earlier)
        };
        while let Some(earlier) = again(first) {
            first = earlier;
        }
        let mut pairs = frames[..first].windows(2);
        let speaker = frames[first].from_client;
        Some(LastWords {
            silence: silence(first)?,
            pings: pairs.any(|pair| {
                let from = [pair[0].from_client, pair[1].from_client];
                from == [speaker, !speaker] && is_word(pair[0]) && is_word(pair[1])
            }),
            words: frames.split_off(first),
        })
    }
}

/// What was said after a silence.
struct LastWords<'a> {
    /// Of each the size of a GOAWAY without text; one at least.
    words: Vec<&'a Frames>,
    /// Milliseconds that it lasted; for a Node client perhaps none.
    silence: f64,
    /// The end that broke it had sent PINGs before, which were answered.
    pings: bool,
}
