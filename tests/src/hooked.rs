//! Programs that bring a TLS library of their own are hooked when they run, which may be too late for their
//! first handshake.

use std::{
    sync::{OnceLock, mpsc},
    thread,
};

use anyhow::{Result, anyhow, ensure};

use crate::{Tracer, case::free_port, environment::seconds, program::Running};

/// Handshakes until the tracer has to have hooked a program.
const PATIENCE: usize = 120;

/// Shakes hands with a server on a free port until the tracer speaks of its library. As long as the returned
/// process runs, it stays hooked.
///
/// # Errors
/// It never does; a program fails.
pub fn wait_until_hooked(
    serve: impl FnOnce(u16) -> Result<Running>,
    shake_hands: impl Fn(u16) -> Result<()>,
) -> Result<Running> {
    let tracer = Tracer::shared()?;
    let (mark, port) = (tracer.mark(), free_port()?);
    let server = serve(port)?;
    for _ in 0..PATIENCE {
        shake_hands(port)?;
        let hooked = tracer.wait(seconds(0.5), mark, |reports| {
            let mut own = reports.iter().filter(|report| report.local.port() == port);
            own.any(|report| report.library.is_some())
        })?;
        if hooked {
            return Ok(server);
        }
    }
    let said = tracer.stderr();
    ensure!(said.is_empty(), "not hooked: {said}");
    Err(anyhow!("not hooked"))
}

/// [`keep`] for the first one who asks; the others hear how that went.
///
/// # Errors
/// Those of `start`.
pub fn keep_once(
    kept: &OnceLock<Result<(), String>>,
    start: impl FnOnce() -> Result<Running> + Send + 'static,
) -> Result<()> {
    let kept = kept.get_or_init(|| keep(start).map_err(|error| format!("{error:#}")));
    kept.clone().map_err(|error| anyhow!("{error}"))
}

/// Runs a program, once `start` says that it is hooked, as long as this process runs.
///
/// # Errors
/// Those of `start`.
pub fn keep(start: impl FnOnce() -> Result<Running> + Send + 'static) -> Result<()> {
    let (hooked, wait) = mpsc::channel();
    // A program ends with the thread that started it, a test's thread with the test.
    thread::Builder::new()
        .name("hooked".into())
        .spawn(move || match start() {
            Ok(_running) => {
                let _ = hooked.send(Ok(()));
                loop {
                    thread::park();
                }
            }
            Err(error) => {
                let _ = hooked.send(Err(error));
            }
        })?;
    wait.recv()?
}
