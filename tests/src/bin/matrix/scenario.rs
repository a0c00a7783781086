//! What client and server are told, so that they agree or do not.

/// How one handshake is set up.
#[derive(Debug)]
pub struct Scenario {
    pub title: &'static str,
    /// Application protocols of the client.
    pub offer: &'static [&'static str],
    /// Those of the server.
    pub take: &'static [&'static str],
    /// The client's highest version, `1.2` or `1.3`.
    pub most: &'static str,
    /// The server's lowest version.
    pub least: &'static str,
    /// The server's certificate is from an authority that the client does not know.
    pub untrusted: bool,
    /// The server demands a certificate, and the client has none.
    pub demand: bool,
}

const BOTH: &[&str] = &["h2", "http/1.1"];

const GOOD: Scenario = Scenario {
    title: "Both agree",
    offer: BOTH,
    take: BOTH,
    most: "1.3",
    least: "1.2",
    untrusted: false,
    demand: false,
};

pub const ALL: [Scenario; 7] = [
    GOOD,
    Scenario {
        title: "ALPN: client h2, server http/1.1",
        offer: &["h2"],
        take: &["http/1.1"],
        ..GOOD
    },
    Scenario {
        title: "ALPN: client http/1.1, server h2",
        offer: &["http/1.1"],
        take: &["h2"],
        ..GOOD
    },
    Scenario {
        title: "ALPN: client h2, server without",
        offer: &["h2"],
        take: &[],
        ..GOOD
    },
    Scenario {
        title: "Client up to TLS 1.2, server from TLS 1.3",
        most: "1.2",
        least: "1.3",
        ..GOOD
    },
    Scenario {
        title: "Certificate of an unknown authority",
        untrusted: true,
        ..GOOD
    },
    Scenario {
        title: "Client certificate missing",
        demand: true,
        ..GOOD
    },
];

impl Scenario {
    /// Whether HTTP/2 is what both choose.
    pub fn selects_h2(&self) -> bool {
        self.offer.contains(&"h2") && self.take.contains(&"h2")
    }

    /// Names with commas between, `-` for none.
    pub fn list(names: &[&str]) -> String {
        if names.is_empty() {
            "-".to_owned()
        } else {
            names.join(",")
        }
    }
}
