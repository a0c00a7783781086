//! Why a connection ended by the word of this end's HTTP/2 library: `certain`, and worth more than sizes.
//! Who closes TCP first may only do what the other asked for; at a GOAWAY that is often the client.

use super::goaway;
use crate::{
    engine::{
        close::Layer,
        handshake::{Handshake, other},
        library::{Http2Said, SaidGoaway},
        moment::ms_between,
        verdict::{Case, SILENCE_MS},
    },
    event::End,
    report::{Cause, Confidence, GoAway, H2Error, Initiator, Outcome, Sender},
};

/// What a library says of the end.
pub(in crate::engine) type Told = (Outcome, Initiator, Cause);

/// What ended the connection; `None` where no library says that it was HTTP/2.
pub(in crate::engine) fn told(case: &Case) -> Option<Told> {
    let tls = case.connection.tls.as_deref()?;
    let said = case.connection.http2_said()?;
    case.close.by?;
    lost_ping(case, said)
        .or_else(|| by_goaway(case, said))
        .or_else(|| without_settings(case, tls, said))
}

/// The GOAWAY frames that a library tells of.
pub(super) fn goaways(case: &Case, said: &Http2Said) -> Vec<GoAway> {
    let of = |goaway: &SaidGoaway| GoAway {
        at_ms: goaway.at.ms(),
        from: if by(goaway) == case.client() {
            Sender::Client
        } else {
            Sender::Server
        },
        code: goaway.code,
        name: H2Error::of(goaway.code),
        debug: (!goaway.debug.is_empty()).then(|| goaway.debug.to_string()),
        confidence: Confidence::Certain,
    };
    said.goaways.iter().map(of).collect()
}

/// This end waited in vain for the answer to a PING, and closed.
fn lost_ping(case: &Case, said: &Http2Said) -> Option<Told> {
    let gave_up = said.ping_lost.happened() && !case.left_before(End::Remote, said.ping_lost);
    let by = case.initiator(End::Local, Layer::App);
    gave_up.then_some((Outcome::Broken, by, Cause::H2PingTimeout))
}

/// The first GOAWAY that names an error, else the first by which a server asked to move on. One that was
/// written when the other had left already is no more than an echo.
fn by_goaway(case: &Case, said: &Http2Said) -> Option<Told> {
    let effective = |goaway: &&SaidGoaway| !case.left_before(other(by(goaway)), goaway.at);
    let goaways = || said.goaways.iter().filter(effective);
    let is_graceful = |goaway: &&SaidGoaway| goaway.code == H2Error::NoError.code();
    let of = |outcome, goaway: &SaidGoaway| {
        let why = goaway::cause(goaway.code, Some(&goaway.debug));
        (outcome, case.initiator(by(goaway), Layer::App), why)
    };
    if let Some(error) = goaways().find(|goaway| !is_graceful(goaway)) {
        return Some(of(Outcome::Broken, error));
    }
    let server = other(case.client());
    let graceful = goaways().find(|goaway| by(goaway) == server)?;
    let in_peace = !is_killed(case) && case.close.layer == Layer::App;
    in_peace.then(|| of(Outcome::Established, graceful))
}

/// One end began to speak HTTP/2, and the other never did.
fn without_settings(case: &Case, tls: &Handshake, said: &Http2Said) -> Option<Told> {
    let waits = said.settings_sent.happened() && !said.settings_received.happened();
    let is_client = case.client() == End::Local;
    // A program that takes frames apart itself may have read SETTINGS unseen.
    let answered = if is_client {
        tls.from_server.answered
    } else {
        tls.from_client.application_data > 0
    };
    if !waits || answered || is_killed(case) || case.close.layer != Layer::App {
        return None;
    }
    let began = said.settings_sent.timestamp(case.connection.first);
    let waited = ms_between(began, case.close.at?);
    let closer = case.close.by?;
    let why = match closer {
        End::Local if waited >= SILENCE_MS => Cause::H2SettingsTimeout,
        End::Remote if is_client => Cause::H2ClosedBeforeSettings,
        _ => return None,
    };
    Some((Outcome::Broken, case.initiator(closer, Layer::App), why))
}

fn by(goaway: &SaidGoaway) -> End {
    if goaway.sent { End::Local } else { End::Remote }
}

fn is_killed(case: &Case) -> bool {
    case.close.cause == Cause::ProcessKilled || case.peer_killed()
}
