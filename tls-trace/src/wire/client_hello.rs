//! ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

use bytes::Bytes;

use super::{
    extension::{self, read_extensions},
    message::ClientHello,
    reader::{Reader, u16_list},
};

impl ClientHello {
    /// Reads the body of a ClientHello, the four bytes of the handshake header left out. `None` when
    /// a field before the extensions does not fit; an extension that breaks its own format counts as
    /// present and is otherwise ignored.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut hello = Self {
            length: u32::try_from(body.len()).ok()?.checked_add(4)?,
            legacy_version: reader.u16()?,
            random: reader.array()?,
            session_id: Bytes::copy_from_slice(reader.vector8()?),
            cipher_suites: u16_list(reader.vector16()?),
            ..Self::default()
        };
        let _compression_methods = reader.vector8()?;
        hello.extensions = read_extensions(&mut reader, |kind, data| hello.extension(kind, data))?;
        Some(hello)
    }

    fn extension(&mut self, kind: u16, data: &[u8]) -> Option<()> {
        let mut reader = Reader::new(data);
        match kind {
            extension::SERVER_NAME => self.server_name = Some(host_name(&mut reader)?),
            extension::SUPPORTED_GROUPS => self.supported_groups = u16_list(reader.vector16()?),
            extension::SIGNATURE_ALGORITHMS => {
                self.signature_algorithms = u16_list(reader.vector16()?);
            }
            extension::ALPN => self.alpn = Some(protocols(reader.vector16()?)?),
            extension::SESSION_TICKET => self.session_ticket = !data.is_empty(),
            extension::PRE_SHARED_KEY => self.psk_identities = identities(reader.vector16()?)?,
            extension::EARLY_DATA => self.early_data = true,
            extension::SUPPORTED_VERSIONS => self.supported_versions = u16_list(reader.vector8()?),
            extension::KEY_SHARE => self.key_shares = groups(reader.vector16()?)?,
            extension::ENCRYPTED_CLIENT_HELLO => self.encrypted_client_hello = true,
            _ => {}
        }
        Some(())
    }
}

/// The first `host_name` of a `ServerNameList` (RFC 6066 §3).
fn host_name(reader: &mut Reader) -> Option<Bytes> {
    const HOST_NAME: u8 = 0;
    let mut list = Reader::new(reader.vector16()?);
    loop {
        let kind = list.u8()?;
        let name = list.vector16()?;
        if kind == HOST_NAME {
            return Some(Bytes::copy_from_slice(name));
        }
    }
}

/// The names of a `ProtocolNameList` (RFC 7301 §3.1).
fn protocols(list: &[u8]) -> Option<Vec<Bytes>> {
    let mut reader = Reader::new(list);
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(Bytes::copy_from_slice(reader.vector8()?));
    }
    Some(names)
}

/// The groups of `KeyShareClientHello` (RFC 8446 §4.2.8).
fn groups(shares: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader::new(shares);
    let mut groups = Vec::new();
    while !reader.is_empty() {
        groups.push(reader.u16()?);
        let _key_exchange = reader.vector16()?;
    }
    Some(groups)
}

/// The number of `PskIdentity` entries of `OfferedPsks` (RFC 8446 §4.2.11).
fn identities(list: &[u8]) -> Option<u16> {
    let mut reader = Reader::new(list);
    let mut count = 0;
    while !reader.is_empty() {
        let _identity = reader.vector16()?;
        let _obfuscated_ticket_age = reader.array::<4>()?;
        count += 1;
    }
    Some(count)
}
