//! Programs do not notice that they are traced: while their library is replaced.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tls_trace_tests::{
    Tracer,
    certificates::Certificates,
    clients, free_port,
    program::{Program, Running},
    scratch, servers, truth,
};

/// As an upgrade does it: a new file under the old name. Both are in use, and both are hooked.
#[test]
fn library_is_replaced_while_in_use() {
    truth(&["python3", "openssl"], |_| {
        let tracer = Tracer::start(&scratch()?.join("upgrade.sock"), &[])?;
        let folder = scratch()?.join("upgrade");
        fs::create_dir_all(&folder)?;
        let system = mapped("python3", "libssl")?;
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

/// The library that a program has mapped.
fn mapped(program: &str, name: &str) -> Result<PathBuf> {
    let script = "import _ssl; print(open('/proc/self/maps').read())";
    let maps = Program::new(program).arg("-c").arg(script).run()?;
    let line = maps.output.lines().find(|line| line.contains(name));
    let path = line.and_then(|line| line.split_whitespace().last());
    Ok(path.context(name.to_owned())?.into())
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
