//! Time in the kernel.

use anyhow::Result;

use crate::{
    Effort, Subject,
    daemon::Daemon,
    figure::{Figure, Section},
    load::Server,
    programs::{Statistics, Work, count},
};

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let seconds = effort.pick(6, 2);
    let server = Server::nginx()?;
    let daemon = Daemon::without_libraries(subject)?;
    let statistics = Statistics::enable(&subject.empty)?;
    server.load(1, Some(daemon.pid()))?;
    let before = statistics.now(daemon.pid())?;
    let run = server.load(seconds, Some(daemon.pid()))?;
    let after = statistics.now(daemon.pid())?;
    daemon.stop()?;
    let work = Work::between(&before, &after);
    let ends = run.handshakes * 2.0;
    let [tracing, cgroup] = work.empty;
    let mut figures = vec![
        Figure::new("empty tp_btf program, a run", tracing, "ns"),
        Figure::new("empty cgroup_skb program, a run", cgroup, "ns"),
    ];
    for program in &work.programs {
        let runs = count(program.runs) / ends;
        let what = format!("{}, a run ({runs:.2} a connection)", program.name);
        figures.push(Figure::new(what, work.net(program), "ns"));
    }
    figures.push(
        Figure::new("all programs, a connection", work.sum() / ends / 1e3, "µs").at_most(1.0),
    );
    Ok(Section {
        title: "Kernel",
        method: format!(
            "`run_time_ns` and `run_cnt` of each program (BPF_ENABLE_STATS) over {} new handshakes \
             with nginx in {seconds} s, less what an empty program of the same kind takes, which \
             runs on the same events. The statistics themselves cost two readings of the clock a \
             run; nowhere else are they on. A connection is one end of it: here both ends are on \
             the machine, and each handshake counts as two.",
            run.handshakes
        ),
        figures,
    })
}
