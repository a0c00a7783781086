//! What a file with symbols really has.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::Result;
use serde_json::Value;

use crate::process;

/// What there is to be told of a library.
#[derive(Debug)]
pub struct Known {
    /// As `tls-trace inspect` calls it.
    family: &'static str,
    /// What the finder calls functions, and which symbols may be there: by itself, and as parts of mangled
    /// names. Compilers copy `SSL_do_handshake` into the other two; older releases have other names.
    pub functions: &'static [(&'static str, &'static [&'static str])],
    /// What the finder calls members, what they are called with symbols, and which part of the way to them
    /// it is, of how many.
    pub members: &'static [(&'static str, &'static str, usize, usize)],
}

const HANDSHAKE: (&str, &[&str]) = (
    "SSL_do_handshake",
    &["SSL_do_handshake", "SSL_connect", "SSL_accept"],
);

/// Of BoringSSL.
pub static BORINGSSL: Known = Known {
    family: "boringssl",
    functions: &[
        ("ERR_put_error", &["ERR_put_error"]),
        HANDSHAKE,
        (
            "ssl_send_alert",
            &[
                "_ZN4bssl14ssl_send_alertE",
                "_ZN4bssl19ssl_send_alert_implE",
                "_ZN4bssl15ssl3_send_alertE",
            ],
        ),
        ("tls_free", &["_ZN4bssl8tls_freeE", "_ZN4bssl9ssl3_freeE"]),
    ],
    members: &[
        ("ssl.s3", "ssl.early_data_reason", 0, 2),
        ("s3.early_data_reason", "ssl.early_data_reason", 1, 2),
        ("s3.alpn_selected", "ssl.alpn_selected", 1, 2),
    ],
};

/// Of OpenSSL 3. `ERR_set_error` has the first arguments of `ERR_vset_error`, and compilers copy that into it.
pub static OPENSSL: Known = Known {
    family: "openssl_ssl",
    functions: &[
        ("ERR_set_debug", &["ERR_set_debug"]),
        ("ERR_vset_error", &["ERR_vset_error", "ERR_set_error"]),
        HANDSHAKE,
        ("ossl_statem_fatal", &["ossl_statem_fatal"]),
        ("SSL_clear", &["SSL_clear"]),
        ("ssl_free", &["ossl_ssl_connection_free", "tls1_free"]),
    ],
    members: &[
        ("ssl.client_random", "ssl.client_random", 0, 1),
        ("ssl.type", "ssl.type", 0, 1),
    ],
};

/// Names by address, and the members that accessors with symbols tell.
#[derive(Debug)]
pub struct Truth {
    /// What there is to be told.
    pub known: &'static Known,
    symbols: BTreeMap<u64, Vec<String>>,
    members: BTreeMap<&'static str, u64>,
}

impl Truth {
    /// Asks `nm`.
    pub fn of(file: &Path, known: &'static Known) -> Result<Self> {
        let symbols = process::output(Command::new("nm").arg("--defined-only").arg(file))?;
        let mut truth = Self::nothing(known);
        truth.parse(&symbols);
        Ok(truth)
    }

    /// Of a file of which nothing is known.
    pub fn nothing(known: &'static Known) -> Self {
        Self {
            known,
            symbols: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    fn parse(&mut self, symbols: &str) {
        for line in symbols.lines() {
            let mut words = line.split_whitespace();
            if let (Some(address), Some("t" | "T" | "w" | "W" | "i"), Some(name)) =
                (words.next(), words.next(), words.next())
                && let Ok(address) = u64::from_str_radix(address, 16)
            {
                self.symbols
                    .entry(address)
                    .or_default()
                    .push(name.to_owned());
            }
        }
    }

    /// Adds the members that `tls-trace inspect` reads from the code of accessors.
    pub fn members(&mut self, inspected: &Value) {
        let libraries = inspected["libraries"].as_array().into_iter().flatten();
        let own = libraries.filter(|library| library["family"] == self.known.family);
        for member in own.flat_map(|each| each["members"].as_array().into_iter().flatten()) {
            for (name, with_symbols, part, length) in self.known.members {
                let path = member["path"].as_array();
                let path = path.filter(|path| path.len() == *length);
                if let (true, Some(path)) = (member["name"] == *with_symbols, path) {
                    self.members
                        .extend(path[*part].as_u64().map(|at| (*name, at)));
                }
            }
        }
    }

    /// Whether a function is there.
    pub fn has(&self, function: &str, address: u64) -> bool {
        let symbols = self.symbols.get(&address);
        let mut functions = self.known.functions.iter();
        let names = functions.find(|(name, _)| *name == function);
        names.is_some_and(|(_, names)| {
            let is_one = |symbol: &String| names.iter().any(|name| is_called(symbol, name));
            symbols.is_some_and(|symbols| symbols.iter().any(is_one))
        })
    }

    /// Where a member is; None: symbols do not tell.
    pub fn member(&self, name: &str) -> Option<u64> {
        self.members.get(name).copied()
    }
}

/// C++ names go on with their arguments; those of C are whole.
fn is_called(symbol: &str, name: &str) -> bool {
    if name.starts_with("_Z") {
        symbol.starts_with(name)
    } else {
        symbol == name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_symbols_and_members() {
        let mut truth = Truth::nothing(&BORINGSSL);
        truth.parse(
            "00000000003d4000 t ERR_put_error\n\
             00000000002c6530 t _ZN4bssl14ssl_send_alertEPNS_7SSLImplEii\n\
             00000000002c6530 d SSL_do_handshake\n\
             0000000000000010 t not_ERR_put_error\n",
        );
        assert!(truth.has("ERR_put_error", 0x3d_4000));
        assert!(truth.has("ssl_send_alert", 0x2c_6530));
        assert!(!truth.has("SSL_do_handshake", 0x2c_6530));
        assert!(!truth.has("ERR_put_error", 0x10) && !truth.has("tls_free", 0x3d_4000));

        let member = json!({"name": "ssl.early_data_reason", "path": [48, 256]});
        truth.members(&json!({"libraries": [{"family": "boringssl", "members": [member]}]}));
        assert_eq!(truth.member("ssl.s3"), Some(48));
        assert_eq!(truth.member("s3.early_data_reason"), Some(256));
        assert_eq!(truth.member("s3.alpn_selected"), None);
    }
}
