//! The one fact a line shows.

use super::{
    bytes::{Offer, alert, client_hello, flight_13},
    story::Story,
};

fn hello() -> Vec<u8> {
    client_hello(Offer::default())
}

fn decisive(story: &Story) -> Vec<&str> {
    let evidence = story.report().verdict.evidence.iter();
    let decisive = evidence.filter(|evidence| evidence.decisive);
    decisive.map(|evidence| &*evidence.fact).collect()
}

#[test]
fn an_alert_rather_than_what_came_of_it() {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(flight_13())
        .sends(alert(2, 48))
        .gets_fin()
        .closes()
        .ends();
    assert_eq!(
        decisive(&story),
        ["fatal alert 48 unknown_ca from the client"]
    );
}

#[test]
fn the_words_that_are_not_tls() {
    let mut story = Story::server();
    story
        .gets(b"GET / HTTP/1.1\r\n\r\n")
        .sends(alert(2, 10))
        .closes()
        .gets_fin()
        .ends();
    assert_eq!(
        decisive(&story),
        ["client spoke in the clear: GET / HTTP/1.1"]
    );
}

#[test]
fn the_reset_where_the_reset_is_the_cause() {
    let mut story = Story::server();
    story.gets(hello()).gets_reset().error(104).destroyed();
    assert_eq!(decisive(&story), ["peer sent RST"]);
}
