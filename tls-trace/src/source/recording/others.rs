//! The names and addresses that a redacted recording has instead of those that were.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What parts names into words; `*` is that of certificates.
const BETWEEN_WORDS: &[u8] = b".-_/:*@ ";

/// The same other name for the same name, by a key that is gone afterwards.
#[derive(Debug, Default)]
pub(super) struct Others {
    key: RandomState,
    addresses: HashMap<IpAddr, IpAddr>,
    /// The values of `addresses`: no two addresses become one.
    given: HashSet<IpAddr>,
}

impl Others {
    /// Overwrites a name: each of its words, in whichever case, becomes another of the same length.
    pub(super) fn name(&self, name: &mut [u8]) {
        for word in name.split_mut(|byte| BETWEEN_WORDS.contains(byte)) {
            let mut hash = self.key.hash_one(word.to_ascii_lowercase());
            for (index, byte) in word.iter_mut().enumerate() {
                // 26 to the 13th are about 2 to the 64th.
                if index % 12 == 11 {
                    hash = self.key.hash_one(hash);
                }
                let [.., digit] = (hash % 26).to_be_bytes();
                *byte = b'a' + digit;
                hash /= 26;
            }
        }
    }

    /// Another name for a text.
    pub(super) fn text(&self, text: &str) -> String {
        let mut other = text.as_bytes().to_vec();
        self.name(&mut other);
        String::from_utf8_lossy(&other).into_owned()
    }

    /// Another address of the same family. Loopback and unspecified ones stay.
    pub(super) fn address(&mut self, address: IpAddr) -> IpAddr {
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            return match self.address(v4.into()) {
                IpAddr::V4(other) => other.to_ipv6_mapped().into(),
                other @ IpAddr::V6(_) => other,
            };
        }
        if address.is_loopback() || address.is_unspecified() {
            return address;
        }
        if let Some(known) = self.addresses.get(&address) {
            return *known;
        }
        let mut hash = self.key.hash_one(address);
        let mut other = private(address, hash);
        while !self.given.insert(other) {
            hash = self.key.hash_one(hash);
            other = private(address, hash);
        }
        self.addresses.insert(address, other);
        other
    }

    /// Overwrites an address; anything else of another length becomes zero.
    pub(super) fn address_bytes(&mut self, bytes: &mut [u8]) {
        if let Ok(v4) = <[u8; 4]>::try_from(&*bytes)
            && let IpAddr::V4(other) = self.address(v4.into())
        {
            bytes.copy_from_slice(&other.octets());
        } else if let Ok(v6) = <[u8; 16]>::try_from(&*bytes)
            && let IpAddr::V6(other) = self.address(v6.into())
        {
            bytes.copy_from_slice(&other.octets());
        } else {
            bytes.fill(0);
        }
    }
}

/// An address of the same family in 10.0.0.0/8 or fd00::/8.
fn private(family: IpAddr, hash: u64) -> IpAddr {
    let [a, b, c, ..] = hash.to_be_bytes();
    match family {
        IpAddr::V4(_) => Ipv4Addr::new(10, a, b, c).into(),
        IpAddr::V6(_) => Ipv6Addr::from((0xfd << 120) | u128::from(hash)).into(),
    }
}
