//! ServerHello and HelloRetryRequest (RFC 8446 §4.1.3, §4.1.4; RFC 5246 §7.4.1.3).

use bytes::Bytes;

use super::{
    extension::{self, read_extensions},
    message::ServerHello,
    reader::Reader,
};

/// Random of a HelloRetryRequest: the SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ServerHello {
    /// Reads the body of a ServerHello, the four bytes of the handshake header left out. `None` when
    /// a field before the extensions does not fit; an extension that breaks its own format counts as
    /// present and is otherwise ignored.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let version = reader.u16()?;
        let random = reader.array()?;
        let mut hello = Self {
            random,
            hello_retry_request: random == HELLO_RETRY_REQUEST,
            version,
            session_id: Bytes::copy_from_slice(reader.vector8()?),
            cipher_suite: reader.u16()?,
            length: u32::try_from(body.len()).ok()?.checked_add(4)?,
            ..Self::default()
        };
        let _compression_method = reader.u8()?;
        hello.extensions = read_extensions(&mut reader, |kind, data| hello.extension(kind, data))?;
        Some(hello)
    }

    fn extension(&mut self, kind: u16, data: &[u8]) -> Option<()> {
        let mut reader = Reader::new(data);
        match kind {
            extension::SUPPORTED_VERSIONS => self.version = reader.u16()?,
            // Both KeyShareServerHello and KeyShareHelloRetryRequest begin with the group.
            extension::KEY_SHARE => self.group = Some(reader.u16()?),
            extension::PRE_SHARED_KEY => self.selected_psk = Some(reader.u16()?),
            extension::ALPN => {
                let name = Reader::new(reader.vector16()?).vector8()?;
                self.alpn = Some(Bytes::copy_from_slice(name));
            }
            _ => {}
        }
        Some(())
    }
}
