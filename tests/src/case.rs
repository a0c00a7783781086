//! One case: a port of its own, and what the tracer says about it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn6, bind, setsockopt, socket, sockopt,
};
use tls_trace::report::Report;

use crate::{
    actor, capture, environment,
    expect::{Expected, compare},
    program::Running,
    seconds,
    tracer::{Mark, Tracer},
    vantage,
};

/// As [`truth`], but the tracer hooks no TLS library. For all cases of a test binary, or for none.
///
/// # Panics
/// The case failed.
pub fn truth_on_wire(programs: &[&str], body: impl FnOnce(&Case) -> Result<()>) {
    Tracer::without_libraries();
    truth(programs, body);
}

/// Runs a case, unless root or a program is missing: then says so.
///
/// # Panics
/// The case failed.
pub fn truth(programs: &[&str], body: impl FnOnce(&Case) -> Result<()>) {
    let current = thread::current();
    let name = current.name().unwrap_or("case");
    if environment::skip_without_root(name) {
        return;
    }
    let result = environment::have_programs(name, programs)
        .and_then(|all| if all { run(name, body) } else { Ok(()) });
    if let Err(error) = result {
        panic!("{name}: {error:#}");
    }
}

fn run(name: &str, body: impl FnOnce(&Case) -> Result<()>) -> Result<()> {
    let case = Case::start()?;
    capture::begin_case(name, case.port)?;
    body(&case)?;
    match capture::end_case()? {
        Some(captured) => vantage::compare(&case.reports(), &captured),
        None => Ok(()),
    }
}

/// One case.
#[derive(Debug)]
pub struct Case {
    tracer: &'static Tracer,
    mark: Mark,
    port: u16,
}

impl Case {
    fn start() -> Result<Self> {
        let tracer = Tracer::shared()?;
        Ok(Self {
            tracer,
            mark: tracer.mark(),
            port: free_port()?,
        })
    }

    /// The server's port; nothing listens there yet.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// The tracer.
    #[must_use]
    pub fn tracer(&self) -> &'static Tracer {
        self.tracer
    }

    /// Waits until the tracer has reported these ends of this case's connections, and checks that
    /// it reported nothing else for them.
    ///
    /// # Errors
    /// The tracer said something else; the error shows each field of the nearest report.
    pub fn expect(&self, expected: impl IntoIterator<Item = Expected>) -> Result<()> {
        let expected: Vec<_> = expected.into_iter().collect();
        self.wait_for(expected.len())?;
        self.fence()?;
        compare(&expected, &self.reports())
    }

    /// As [`Self::expect`]; where something else was said, the error shows what the programs say themselves.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub fn expect_of(
        &self,
        programs: &[&Running],
        expected: impl IntoIterator<Item = Expected>,
    ) -> Result<()> {
        self.expect(expected).with_context(|| {
            let said: Vec<_> = programs.iter().map(|program| program.output()).collect();
            said.join("\n")
        })
    }

    /// All reports once there are this many of them and no more to come.
    ///
    /// # Errors
    /// The tracer ended or could not be asked. Too few reports are not an error here.
    pub fn all(&self, count: usize) -> Result<Vec<Arc<Report>>> {
        self.wait_for(count)?;
        self.fence()?;
        Ok(self.reports())
    }

    /// Waits until one more report than now is there, when a case goes on after it.
    ///
    /// # Errors
    /// The tracer ended.
    pub fn wait_for(&self, count: usize) -> Result<()> {
        self.tracer.wait(seconds(10.0), self.mark, |reports| {
            reports.iter().filter(|report| self.mine(report)).count() >= count
        })?;
        Ok(())
    }

    /// Everything reported for this case so far.
    #[must_use]
    pub fn reports(&self) -> Vec<Arc<Report>> {
        let mut reports = self.tracer.reports(self.mark);
        reports.retain(|report| self.mine(report));
        reports
    }

    fn mine(&self, report: &Report) -> bool {
        report.local.port() == self.port || report.remote.port() == self.port
    }

    /// Makes a connection that is refused and waits for its report: what happened before has been
    /// judged by then.
    fn fence(&self) -> Result<()> {
        let port = free_port()?;
        let mark = self.tracer.mark();
        if actor::connect((Ipv4Addr::LOCALHOST, port).into()).is_ok() {
            bail!("port {port} was free a moment ago");
        }
        let reported = self.tracer.wait(seconds(10.0), mark, |reports| {
            reports.iter().any(|report| report.remote.port() == port)
        })?;
        if !reported {
            bail!("the tracer did not report a refused connection to port {port}");
        }
        Ok(())
    }
}

/// A port that nothing uses, below the ephemeral ports so that no client gets it by chance.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 10_000;
    const LAST: u16 = 31_999;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes side by side start at different ports.
    let start = std::process::id().wrapping_mul(97) % u32::from(LAST - FIRST);
    for _ in FIRST..LAST {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + u16::try_from((start + u32::from(step)) % u32::from(LAST - FIRST))?;
        if is_free(port) {
            return Ok(port);
        }
    }
    None.context("no free port")
}

/// Binds without listening: a child that is just being forked keeps the socket for a moment, and it
/// must neither accept nor be in the way.
fn is_free(port: u16) -> bool {
    let try_bind = || {
        let fd = socket(
            AddressFamily::Inet6,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(
            fd.as_raw_fd(),
            &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)),
        )
    };
    try_bind().is_ok()
}
