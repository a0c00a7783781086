//! NSS, by the programs of its own test suite.

use std::{fs, net::SocketAddr, path::PathBuf, sync::OnceLock};

use anyhow::{Result, anyhow};

use crate::{certificates::Certificates, environment::scratch, program::Program};

/// What a [`Database`] needs.
pub const PROGRAMS: [&str; 5] = ["certutil", "openssl", "pk12util", "selfserv", "tstclnt"];

/// A certificate database: the good certificate with its key, and the authority that clients trust.
#[derive(Debug)]
pub struct Database(PathBuf);

impl Database {
    /// The database of this process.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Database, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::make().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    fn make() -> Result<Self> {
        let certificates = Certificates::shared()?;
        let database = Self(scratch()?.join("nss"));
        fs::create_dir_all(&database.0)?;
        let good = certificates.good();
        let archive = database.0.join("good.p12");
        Program::new("openssl")
            .args(&format!(
                "pkcs12 -export -in {good} -inkey {good} -name good -passout pass: -out"
            ))
            .arg(&archive)
            .run()?
            .success()?;
        let create = Program::new("certutil").args("-N --empty-password");
        database.of(create).run()?.success()?;
        let import = Program::new("pk12util").arg("-i").arg(archive);
        database.of(import.arg("-W").arg("")).run()?.success()?;
        let trust = Program::new("certutil").args("-A -n ca -t C,, -i");
        let trust = trust.arg(certificates.ca());
        database.of(trust).run()?.success()?;
        Ok(database)
    }

    /// `selfserv`, which answers HTTP.
    #[must_use]
    pub fn server(&self, port: u16) -> Program {
        let server = Program::new("selfserv").args("-n good -e good -u -Q -V tls1.2:tls1.3");
        self.of(server.args(&format!("-p {port}")))
    }

    /// `tstclnt`, which leaves when the handshake is done.
    #[must_use]
    pub fn client(&self, server: SocketAddr, options: &str) -> Program {
        let client = Program::new("tstclnt").args("-Q").args(options);
        let (ip, port) = (server.ip(), server.port());
        self.of(client.args(&format!("-h {ip} -p {port}")))
    }

    fn of(&self, program: Program) -> Program {
        program.arg("-d").arg(format!("sql:{}", self.0.display()))
    }
}
