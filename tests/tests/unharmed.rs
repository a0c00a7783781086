//! Programs do not notice that they are traced: under load while the tracer comes and goes, while their library is
//! replaced.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tls_trace::event::LibraryName;
use tls_trace_tests::{
    KernelObjects, Tracer,
    certificates::Certificates,
    clients, free_port,
    go::Peer,
    is_slow,
    program::{Running, mapped},
    say_skipped, scratch, seconds, servers, truth,
};

/// How often the tracer comes and goes, if not as often as fits into [`LONGEST`].
const ROUNDS: &str = "TLS_TRACE_TEST_ROUNDS";
const LONGEST: Duration = Duration::from_secs(15);

/// OpenSSL, Go and GnuTLS shake hands all the time. Every third tracer is killed; each leaves nothing behind.
#[test]
fn under_load_while_the_tracer_comes_and_goes() {
    if is_slow() {
        return say_skipped(
            "under_load_while_the_tracer_comes_and_goes",
            "a Go program is built for it, which takes too long here",
        );
    }
    let programs = ["go", "gnutls-serv", "nginx", "python3"];
    truth(&programs, |_| {
        let rounds = env::var(ROUNDS).ok().map(|rounds| rounds.parse::<usize>());
        let rounds = rounds.transpose()?;
        let load = Load::start()?;
        let begin = Instant::now();
        let mut done = 0;
        while rounds.map_or(begin.elapsed() < LONGEST, |rounds| done < rounds) {
            let tracer = Tracer::start(&scratch()?.join("unharmed.sock"), &[])?;
            // Every other one leaves while it is still looking for Go programs.
            load.is_explained(&tracer, done % 2 == 0)?;
            let held = KernelObjects::of(tracer.pid())?;
            ensure!(
                !held.programs.is_empty() && !held.links.is_empty(),
                "{held:?}"
            );
            if done % 3 == 2 {
                tracer.kill()?;
            } else {
                tracer.stop()?;
            }
            held.wait_until_gone()?;
            done += 1;
        }
        println!("{done} tracers came and went");
        load.goes_on()?;
        load.end()
    });
}

/// Programs that shake hands all the time.
struct Load {
    go: u16,
    gnutls: u16,
    openssl: u16,
    servers: Vec<Running>,
    clients: Vec<Running>,
}

impl Load {
    fn start() -> Result<Self> {
        let certificates = Certificates::shared()?;
        let (ca, good) = (certificates.ca(), certificates.good());
        let [go, gnutls, openssl, nginx] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let peer = Peer::build("unharmed", "", None)?;
        let servers = vec![
            peer.serve(go, &good, "")?,
            servers::gnutls(gnutls, &good).listening(gnutls)?,
            servers::python(openssl, &good, "").listening(openssl)?,
            servers::nginx_tls(nginx, 2, &good)?,
        ];
        let at = |port: u16| (Ipv4Addr::LOCALHOST, port).into();
        let python = |port, options: &str| {
            clients::python(at(port), &format!("ca={ca} endless=1 {options}")).start()
        };
        let load = Self {
            go,
            gnutls,
            openssl,
            servers,
            clients: vec![
                python(go, "pause=0.005")?,
                python(gnutls, "end=leave pause=0.005")?,
                python(nginx, "end=leave pause=0.002")?,
                peer.client(at(openssl), &format!("ca={ca} endless=1"))
                    .start()?,
            ],
        };
        load.goes_on()?;
        Ok(load)
    }

    /// Waits until each client has shaken hands once more.
    fn goes_on(&self) -> Result<()> {
        for client in &self.clients {
            let before = client.output().len();
            let deadline = Instant::now() + seconds(20.0);
            while client.output().len() == before {
                ensure!(Instant::now() < deadline, "{client:?} stopped");
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Waits until a tracer says what each library said of a handshake; Go's if wanted.
    fn is_explained(&self, tracer: &Tracer, go: bool) -> Result<()> {
        let libraries = [
            (self.openssl, LibraryName::Openssl),
            (self.gnutls, LibraryName::Gnutls),
            (self.go, LibraryName::Go),
        ];
        for (port, name) in libraries.into_iter().take(if go { 3 } else { 2 }) {
            let said = tracer.says_of(port, |report| {
                let said = report.library.as_ref();
                report.local.port() == port && said.is_some_and(|said| said.name == name)
            })?;
            ensure!(said, "nothing of {name:?}: {}", tracer.stderr());
        }
        Ok(())
    }

    /// No handshake failed, nobody crashed.
    fn end(self) -> Result<()> {
        self.clients.into_iter().try_for_each(all_good)?;
        for server in &self.servers {
            let crashed = !PathBuf::from(format!("/proc/{}/exe", server.pid())).exists();
            ensure!(!crashed, "a server ended: {}", server.output());
        }
        Ok(())
    }
}

/// As an upgrade does it: a new file under the old name. Both are in use, and both are hooked.
#[test]
fn library_is_replaced_while_in_use() {
    truth(&["python3", "openssl"], |_| {
        let tracer = Tracer::start(&scratch()?.join("upgrade.sock"), &[])?;
        let folder = scratch()?.join("upgrade");
        fs::create_dir_all(&folder)?;
        let system = mapped("libssl")?;
        let library = folder.join(system.file_name().context("a file")?);
        fs::copy(&system, &library)?;
        let certificates = Certificates::shared()?;
        let port = free_port()?;
        let server = servers::python(port, &certificates.good(), "")
            .env("LD_LIBRARY_PATH", &folder.display().to_string())
            .listening(port)?;
        let client = || {
            let options = format!("ca={} endless=1", certificates.ca());
            let folder = folder.display().to_string();
            clients::python(([127, 0, 0, 1], port).into(), &options)
                .env("LD_LIBRARY_PATH", &folder)
                .start()
        };
        let old = client()?;
        explained(&tracer, port, &old)?;
        let new_file = folder.join("new");
        fs::copy(&system, &new_file)?;
        fs::rename(&new_file, &library)?;
        let new = client()?;
        explained(&tracer, port, &new)?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", old.pid()))?;
        ensure!(maps.contains("(deleted)"), "{maps}");
        // It goes on, and what it says from now on is heard.
        explained(&tracer, port, &old)?;
        for client in [old, new] {
            all_good(client)?;
        }
        drop(server);
        tracer.stop()
    });
}

/// Waits until a tracer says what the library said of a connection that ends from now on.
fn explained(tracer: &Tracer, port: u16, client: &Running) -> Result<()> {
    let said = tracer.says_of(port, |report| {
        report.pid == Some(client.pid()) && report.library.is_some()
    })?;
    let (output, stderr) = (client.output(), tracer.stderr());
    ensure!(said, "not hooked: {stderr}; the client says: {output}");
    Ok(())
}

/// Ends a client that shook hands all the time: no handshake failed, nothing else was said.
fn all_good(client: Running) -> Result<()> {
    let finished = client.finish()?.success()?;
    let mut lines = finished.output.lines();
    if let Some(line) = lines.find(|line| !line.starts_with("ok")) {
        bail!("a client says: {line}");
    }
    ensure!(!finished.output.is_empty(), "a client did nothing");
    Ok(())
}
