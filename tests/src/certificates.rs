//! Certificates for every way to be wrong. Made once per process.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::environment::scratch;

/// Files, in PEM. A certificate's key is in the same file behind it.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// The certificates of this process.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Certificates, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::make().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    /// The authority clients trust.
    #[must_use]
    pub fn ca(&self) -> String {
        self.file("ca")
    }

    /// For localhost, 127.0.0.1, `::1` and the servers of [`crate::netns::Pair`]; valid.
    #[must_use]
    pub fn good(&self) -> String {
        self.file("good")
    }

    /// As [`Self::good`], but its time is over.
    #[must_use]
    pub fn expired(&self) -> String {
        self.file("expired")
    }

    /// For `elsewhere.test` only.
    #[must_use]
    pub fn wrong_name(&self) -> String {
        self.file("wrong-name")
    }

    /// As [`Self::good`], but from an authority nobody trusts.
    #[must_use]
    pub fn untrusted(&self) -> String {
        self.file("untrusted")
    }

    /// For every name one level below these: `ok.test`, `ca.test`, `version.test` and `alpn.test`.
    #[must_use]
    pub fn many_names(&self) -> String {
        self.file("many-names")
    }

    /// A client's.
    #[must_use]
    pub fn client(&self) -> String {
        self.file("client")
    }

    fn file(&self, name: &str) -> String {
        self.folder
            .join(name)
            .with_extension("pem")
            .display()
            .to_string()
    }

    fn make() -> Result<Self> {
        const HERE: &[&str] = &["localhost", "127.0.0.1", "::1", "10.77.0.2", "fd77::2"];
        let folder = scratch()?.join("certificates");
        fs::create_dir_all(&folder)?;
        let ca = authority("tls-trace test CA")?;
        let stranger = authority("stranger CA")?;
        fs::write(folder.join("ca.pem"), ca.pem())?;
        issue(&folder, "good", HERE, &ca, |_| {})?;
        issue(&folder, "untrusted", HERE, &stranger, |_| {})?;
        issue(&folder, "wrong-name", &["elsewhere.test"], &ca, |_| {})?;
        let many = ["*.ok.test", "*.ca.test", "*.version.test", "*.alpn.test"];
        issue(&folder, "many-names", &many, &ca, |_| {})?;
        issue(&folder, "client", &["client.test"], &ca, |_| {})?;
        issue(&folder, "expired", HERE, &ca, |parameters| {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2021, 1, 1);
        })?;
        Ok(Self { folder })
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(
        parameters,
        KeyPair::generate()?,
    )?)
}

fn issue(
    folder: &Path,
    file: &str,
    names: &[&str],
    issuer: &CertifiedIssuer<'static, KeyPair>,
    adjust: impl FnOnce(&mut CertificateParams),
) -> Result<()> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, file);
    adjust(&mut parameters);
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, issuer)?;
    let pem = certificate.pem() + &key.serialize_pem();
    fs::write(folder.join(file).with_extension("pem"), pem)?;
    Ok(())
}
