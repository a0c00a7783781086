//! Two network namespaces joined by a cable: what happens to packets between them is ours.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

use crate::{
    capture,
    environment::{alive, find, owner},
    program::{Finished, Program},
};

/// Where iproute2 keeps namespaces.
const FOLDER: &str = "/run/netns";

/// A network namespace. Removed when dropped; its sockets live on until their processes end.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    fn create(name: String) -> Result<Self> {
        ip(&format!("netns add {name}\n"))?;
        let netns = Self { name };
        netns.ip("link set lo up\n")?;
        Ok(netns)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(FOLDER).join(&self.name)
    }

    /// Runs `ip` commands, one a line, inside.
    ///
    /// # Errors
    /// One of them failed.
    pub fn ip(&self, commands: &str) -> Result<()> {
        batch(ip_command().args(["-n", &self.name]), commands)
    }

    /// Runs a program inside and waits for it.
    ///
    /// # Errors
    /// It failed.
    pub fn run(&self, program: Program) -> Result<Finished> {
        program.within(self).run()?.success()
    }

    /// Runs a function on a thread inside; sockets it makes stay inside.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the function's own error.
    pub fn within<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let netns = File::open(self.path())?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&netns, CloneFlags::CLONE_NEWNET)?;
                body()
            });
            thread.join().map_err(|_| anyhow!("panicked"))?
        })
    }

    /// Delays and loses what is sent from here over the cable; `settings` in netem's words.
    ///
    /// # Errors
    /// The kernel has no netem, or does not understand.
    pub fn netem(&self, settings: &str) -> Result<()> {
        let tc = Program::new("tc").args("qdisc replace dev wire root netem");
        self.run(tc.args(settings)).map(drop)
    }

    /// Sets a `net.…` sysctl inside.
    ///
    /// # Errors
    /// There is none of that name, or the value is refused.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.within(|| fs::write(&path, value).with_context(|| path.clone()))
    }

    /// Lets a command start inside.
    pub(crate) fn enter_at_start(&self, command: &mut Command) {
        let netns = File::open(self.path());
        // SAFETY: setns is async-signal-safe; the file was opened before the fork.
        unsafe {
            command.pre_exec(move || {
                let netns = netns
                    .as_ref()
                    .map_err(|error| std::io::Error::from(error.kind()))?;
                setns(netns, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}\n", self.name));
    }
}

/// A client's and a server's namespace and the cable between them, MTU 1500.
#[derive(Debug)]
pub struct Pair {
    /// Where the client runs: 10.77.0.1 and `fd77::1`.
    pub client: Netns,
    /// Where the server runs: 10.77.0.2 and `fd77::2`.
    pub server: Netns,
}

impl Pair {
    /// Two new namespaces.
    ///
    /// # Errors
    /// No root, or no iproute2.
    pub fn create() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tt-{}-{number}", std::process::id());
        let client = Netns::create(format!("{name}c"))?;
        let server = Netns::create(format!("{name}s"))?;
        client.ip(&format!(
            "link add wire type veth peer name wire netns {}\n\
             link set wire up\n\
             address add 10.77.0.1/24 dev wire\n\
             address add fd77::1/64 dev wire nodad\n\
             route add default via 10.77.0.2\n",
            server.name
        ))?;
        server.ip("link set wire up\n\
             address add 10.77.0.2/24 dev wire\n\
             address add fd77::2/64 dev wire nodad\n")?;
        capture::also_in(&client)?;
        Ok(Self { client, server })
    }

    /// A server's IPv4 address with that port.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), port)
    }

    /// A server's IPv6 address with that port.
    #[must_use]
    pub fn address_v6(&self, port: u16) -> SocketAddr {
        let ip = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
        SocketAddr::new(IpAddr::V6(ip), port)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        capture::end_in_namespaces();
    }
}

/// Removes namespaces of processes that are gone: they were killed before they could.
fn sweep() -> Result<()> {
    let Ok(folder) = fs::read_dir(FOLDER) else {
        return Ok(());
    };
    for entry in folder {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|pid| !alive(pid)) {
            // Another process may be clearing up the same namespace.
            let _ = ip(&format!("netns del {name}\n"));
        }
    }
    Ok(())
}

fn ip(commands: &str) -> Result<()> {
    batch(&mut ip_command(), commands)
}

fn ip_command() -> Command {
    Command::new(find("ip").unwrap_or_else(|| "ip".into()))
}

fn batch(ip: &mut Command, commands: &str) -> Result<()> {
    let mut child = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ip")?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(commands.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "ip: {}: {commands}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
