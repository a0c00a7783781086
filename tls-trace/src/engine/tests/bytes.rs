//! TLS records, just enough of them.

pub(super) const TLS12: u16 = 0x0303;
pub(super) const TLS13: u16 = 0x0304;

/// SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

pub(super) fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![content_type, 3, 3];
    record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

pub(super) fn handshake(message_type: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![message_type];
    message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    message.extend(body);
    record(22, &message)
}

fn extension(number: u16, body: &[u8]) -> Vec<u8> {
    let mut extension = number.to_be_bytes().to_vec();
    extension.extend(vector16(body));
    extension
}

fn vector16(body: &[u8]) -> Vec<u8> {
    let mut vector = u16::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    vector.extend(body);
    vector
}

/// What a ClientHello asks for.
#[derive(Clone, Copy, Default)]
pub(super) struct Offer {
    pub(super) alpn: Option<&'static str>,
    pub(super) psk: bool,
    pub(super) early_data: bool,
}

pub(super) fn client_hello(offer: Offer) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(vector16(&[0x13, 0x02, 0xc0, 0x2f]));
    body.extend([1, 0]);
    let mut name = vec![0];
    name.extend(vector16(b"example.org"));
    let mut extensions = extension(0, &vector16(&name));
    extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    if let Some(protocol) = offer.alpn {
        let mut list = vec![u8::try_from(protocol.len()).unwrap()];
        list.extend(protocol.as_bytes());
        extensions.extend(extension(16, &vector16(&list)));
    }
    if offer.early_data {
        extensions.extend(extension(42, &[]));
    }
    if offer.psk {
        let mut identity = vector16(b"ticket");
        identity.extend([0; 4]);
        let mut psk = vector16(&identity);
        psk.extend(vector16(&[32; 33]));
        extensions.extend(extension(41, &psk));
    }
    body.extend(vector16(&extensions));
    handshake(1, &body)
}

/// What a ServerHello selects.
#[derive(Clone, Copy)]
pub(super) struct Selection {
    pub(super) version: u16,
    pub(super) psk: bool,
    pub(super) alpn: Option<&'static str>,
    pub(super) retry: bool,
}

pub(super) const SELECT_13: Selection = Selection {
    version: TLS13,
    psk: false,
    alpn: None,
    retry: false,
};
pub(super) const SELECT_12: Selection = Selection {
    version: TLS12,
    ..SELECT_13
};

pub(super) fn server_hello(selection: Selection) -> Vec<u8> {
    let suite = if selection.version == TLS13 {
        0x1302
    } else {
        0xc02f
    };
    server_hello_with(suite, selection)
}

pub(super) fn server_hello_with(suite: u16, selection: Selection) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(if selection.retry {
        RETRY_RANDOM
    } else {
        [9; 32]
    });
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    let mut extensions = Vec::new();
    if selection.version == TLS13 {
        extensions.extend(extension(43, &TLS13.to_be_bytes()));
        let mut share = 0x001d_u16.to_be_bytes().to_vec();
        if !selection.retry {
            share.extend(vector16(&[1; 32]));
        }
        extensions.extend(extension(51, &share));
    }
    if selection.psk {
        extensions.extend(extension(41, &[0, 0]));
    }
    if let Some(protocol) = selection.alpn {
        let mut list = vec![u8::try_from(protocol.len()).unwrap()];
        list.extend(protocol.as_bytes());
        extensions.extend(extension(16, &vector16(&list)));
    }
    body.extend(vector16(&extensions));
    handshake(2, &body)
}

pub(super) fn alert(level: u8, description: u8) -> Vec<u8> {
    record(21, &[level, description])
}

pub(super) fn change_cipher_spec() -> Vec<u8> {
    record(20, &[1])
}

/// An encrypted record with a body of so many bytes.
pub(super) fn encrypted(content_type: u8, length: usize) -> Vec<u8> {
    record(content_type, &vec![0xee; length])
}

/// TLS 1.3 with AES-256-GCM-SHA384: Finished 4 + 48, content type 1, tag 16.
pub(super) const FINISHED: usize = 69;
/// An alert of 2 bytes.
pub(super) const ALERT: usize = 19;
/// A Certificate message without certificates, 8 bytes.
pub(super) const NO_CERTIFICATE: usize = 25;
/// EndOfEarlyData, 4 bytes.
pub(super) const END_OF_EARLY_DATA: usize = 21;

pub(super) fn data(length: usize) -> Vec<u8> {
    encrypted(23, length)
}

/// ServerHello to Finished of TLS 1.3.
pub(super) fn flight_13() -> Vec<u8> {
    [
        server_hello(SELECT_13),
        change_cipher_spec(),
        data(32),
        data(900),
        data(281),
        data(FINISHED),
    ]
    .concat()
}

/// ServerHello to ServerHelloDone of TLS 1.2.
pub(super) fn flight_12(selection: Selection) -> Vec<u8> {
    [
        server_hello(selection),
        handshake(11, &[0; 700]),
        handshake(12, &[&[3, 0, 29, 32][..], &[0; 296]].concat()),
        handshake(14, &[]),
    ]
    .concat()
}

/// ClientKeyExchange, ChangeCipherSpec, Finished.
pub(super) fn client_flight_12() -> Vec<u8> {
    [
        handshake(16, &[0; 33]),
        change_cipher_spec(),
        encrypted(22, 40),
    ]
    .concat()
}

/// ChangeCipherSpec, Finished.
pub(super) fn server_end_12() -> Vec<u8> {
    [change_cipher_spec(), encrypted(22, 40)].concat()
}
