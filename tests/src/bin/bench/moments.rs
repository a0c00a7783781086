//! What is looked at while it lives for a moment only.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    Effort, Subject,
    alternate::{Pair, alternate},
    bpftrace::libssl,
    figure::{Figure, Section, median},
    load::Server,
    programs::count,
    usage,
};

/// Of so many runs.
#[derive(Clone, Copy, Debug)]
struct Runs {
    /// Milliseconds, median.
    wall: f64,
    /// Milliseconds of a run, mean.
    cpu: f64,
}

/// A program, and where it finds its library if not where it always is.
struct Moment<'a> {
    name: &'static str,
    arguments: &'a str,
    fresh: Option<&'a Fresh>,
}

/// A libssl that nobody ever saw, again and again.
struct Fresh {
    folder: PathBuf,
    original: PathBuf,
}

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let pairs = effort.pick(8, 4);
    let runs = effort.pick(50, 25);
    let server = Server::nginx()?;
    let fresh = Fresh::new(&libssl(server.pid())?)?;
    let talk = format!("s_client -connect 127.0.0.1:{}", server.port());
    let moments = [
        Moment {
            name: "openssl version",
            arguments: "version",
            fresh: None,
        },
        Moment {
            name: "openssl s_client",
            arguments: &talk,
            fresh: None,
        },
        Moment {
            name: "openssl s_client with a libssl that nobody saw before",
            arguments: &talk,
            fresh: Some(&fresh),
        },
    ];
    let mut figures = Vec::new();
    for moment in &moments {
        let taken = alternate(subject, pairs, |_| moment.repeat(runs))?;
        let ratio = |value: fn(&Runs) -> f64| {
            let ratio = |pair: &Pair<Runs>| value(&pair.with) / value(&pair.without);
            median(taken.iter().map(ratio).collect())
        };
        let without = median(taken.iter().map(|pair| pair.without.wall).collect());
        let name = moment.name;
        figures.extend([
            Figure::new(format!("{name}, without the tracer"), without, "ms"),
            Figure::new(
                format!("{name}, with it, ratio"),
                ratio(|runs| runs.wall),
                "",
            )
            .at_most(1.05),
            Figure::new(
                format!("{name}, its CPU time with it, ratio"),
                ratio(|runs| runs.cpu),
                "",
            ),
        ]);
    }
    Ok(Section {
        title: "Short lives",
        method: format!(
            "Programs that end within milliseconds, from fork to wait, {pairs} pairs of {runs} \
             runs with and without the tracer in turns; medians of the ratios of the pairs, of \
             which each is of medians (CPU time: of means). `s_client` shakes hands with nginx. \
             In the last case libssl is copied before each run, so that the tracer meets a new \
             file, inspects it and hooks it while the program runs."
        ),
        figures,
    })
}

impl Moment<'_> {
    fn repeat(&self, runs: u32) -> Result<Runs> {
        let mut walls = Vec::new();
        let mut cpu = 0.0;
        for _ in 0..runs {
            let mut command = Command::new("openssl");
            command.args(self.arguments.split(' '));
            if let Some(fresh) = self.fresh {
                fresh.renew()?;
                command.env("LD_LIBRARY_PATH", &fresh.folder);
            }
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let (before, started) = (usage::children_cpu()?, Instant::now());
            let status = command.status()?;
            walls.push(started.elapsed().as_secs_f64() * 1e3);
            cpu += usage::children_cpu()?.saturating_sub(before).as_secs_f64() * 1e3;
            ensure!(
                status.success(),
                "openssl {} ended with {status}",
                self.arguments
            );
        }
        Ok(Runs {
            wall: median(walls),
            cpu: cpu / count(runs.into()),
        })
    }
}

impl Fresh {
    fn new(original: &Path) -> Result<Self> {
        let folder = env::temp_dir().join(format!("tls-trace-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            original: original.to_owned(),
        })
    }

    /// A new file under the same name.
    fn renew(&self) -> Result<()> {
        let name = self.original.file_name().context("a library is a file")?;
        let new = self.folder.join("new");
        fs::copy(&self.original, &new)?;
        fs::rename(&new, self.folder.join(name))?;
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // What stays is in a folder for such.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
