//! A tracer that is told to end does so at once.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tls_trace_tests::{
    KernelObjects, Tracer, is_slow,
    program::{Program, mapped},
    say_skipped, scratch, seconds, truth,
};

/// As on a node with many images. By perf events it would take the kernel a tenth of a second for each place.
#[test]
fn leaves_at_once_with_two_hundred_files() {
    const FILES: usize = 200;
    let name = "leaves_at_once_with_two_hundred_files";
    if is_slow() {
        return say_skipped(
            name,
            "two hundred files are inspected for it, which takes too long here",
        );
    }
    truth(&["python3"], |_| {
        let tracer = Tracer::start(&scratch()?.join("leaves.sock"), &[])?;
        if !has_multi_links(&tracer) {
            say_skipped(name, "this kernel has no uprobe_multi links (Linux 6.6)");
            return tracer.stop();
        }
        let folder = scratch()?.join("many");
        fs::create_dir_all(&folder)?;
        let system = mapped("libssl")?;
        for number in 0..FILES {
            fs::copy(&system, folder.join(number.to_string()))?;
        }
        let script = "import mmap, os, sys; folder = sys.argv[1]; \
                      maps = [mmap.mmap(os.open(file.path, os.O_RDONLY), 0, mmap.MAP_PRIVATE, \
                      mmap.PROT_READ | mmap.PROT_EXEC) for file in os.scandir(folder)]; \
                      sys.stdin.read()";
        let user = Program::new("python3").arg("-c").arg(script).arg(&folder);
        let user = user.start()?;
        let deadline = Instant::now() + seconds(120.0);
        while tracer.hooked()? < FILES {
            ensure!(Instant::now() < deadline, "not hooked: {}", tracer.stderr());
            // Between two looks at what only looking shows.
            thread::sleep(Duration::from_millis(50));
        }
        let held = KernelObjects::of(tracer.pid())?;
        ensure!(held.links.len() > 3 * FILES, "{} links", held.links.len());
        let begin = Instant::now();
        tracer.stop()?;
        let ended = begin.elapsed();
        held.wait_until_gone()?;
        let gone = begin.elapsed();
        fs::remove_dir_all(&folder)?;
        drop(user);
        println!(
            "ended in {ended:?}, {} links gone in {gone:?}",
            held.links.len()
        );
        ensure!(gone < seconds(1.0), "ended in {ended:?}, gone in {gone:?}");
        Ok(())
    });
}

/// Whether probes in libraries are where they are by the best way there is.
fn has_multi_links(tracer: &Tracer) -> bool {
    let hooks = tracer.ready()["hooks"].as_array();
    let mut hooks = hooks.into_iter().flatten();
    hooks.any(|hook| hook["name"] == "ssl_free" && hook["state"] == "attached")
}
