//! What the tracer costs a connection whose handshake is done.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{
    Effort, Subject,
    alternate::{Pair, alternate},
    daemon::Daemon,
    figure::{Figure, Section, median},
    handshake::{Offer, Server, Then},
    programs::{Statistics, Work, count},
    usage,
};

/// Enough for the capture bound, should user space not have said before that it has seen enough.
const WARM_UP: u32 = 1_000;

/// A TLS record of the size of a small call, which is also long enough for a preface.
const RECORD: [u8; 100] = {
    const HEADER: [u8; 5] = [23, 3, 3, 0, 95];
    let mut record = [0x17; 100];
    let mut index = 0;
    while index < HEADER.len() {
        record[index] = HEADER[index];
        index += 1;
    }
    record
};

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let pairs = effort.pick(10, 3);
    let time = effort.pick(Duration::from_secs(2), Duration::from_secs(1));
    let rounds = effort.pick(100_000, 30_000);
    let server = Server::start(1, Then::Hold)?;
    let streams = alternate(subject, pairs, |_| stream(&server, time))?;
    let small = alternate(subject, pairs, |_| ping_pong(&server, rounds))?;
    let of_streams = |value: fn(&Pair<Stream>) -> f64| median(streams.iter().map(value).collect());
    let of_small = |value: fn(&Pair<f64>) -> f64| median(small.iter().map(value).collect());
    let others = packet_programs(subject, &server, rounds, Offer::Both)?;
    let remembered = packet_programs(subject, &server, rounds, Offer::Http2)?;
    let mut figures = vec![
        Figure::new(
            "one stream of 128 KiB writes without the tracer",
            of_streams(|pair| pair.without.rate),
            "GB/s",
        ),
        Figure::new(
            "its rate with the tracer, ratio",
            of_streams(|pair| pair.with.rate / pair.without.rate),
            "",
        )
        .at_least(0.99),
        Figure::new(
            "its CPU time per byte with the tracer, ratio",
            of_streams(|pair| pair.with.cpu / pair.without.cpu),
            "",
        )
        .at_most(1.01),
        Figure::new(
            "CPU per packet of a ping-pong of 100 bytes without the tracer",
            of_small(|pair| pair.without),
            "ns",
        ),
        Figure::new(
            "CPU added to it with the tracer",
            of_small(|pair| pair.with - pair.without),
            "ns",
        ),
    ];
    let kinds = [
        ("a packet", others),
        ("a packet of a gRPC connection", remembered),
    ];
    for (kind, work) in &kinds {
        for program in &work.programs {
            let what = format!("{}, {kind}", program.name);
            figures.push(Figure::new(what, work.net(program), "ns").at_most(30.0));
        }
    }
    Ok(Section {
        title: "Established connections",
        method: format!(
            "One loopback connection after a handshake, both ends traced. Streams of {time:?} and \
             ping-pongs of {rounds} rounds (CPU time of both ends, loopback's softirq included), \
             {pairs} pairs of runs with and without the tracer in turns, medians. The programs' \
             part by the kernel's statistics as above: each packet runs both, once where it is \
             sent and once where it is received; the packet filter's own entry is in the CPU time \
             only. Of a connection whose client offers nothing but HTTP/2, the last packets are \
             remembered."
        ),
        figures,
    })
}

/// A stream from one end to the other.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// GB/s (10^9).
    rate: f64,
    /// CPU time of both ends, seconds per GB.
    cpu: f64,
}

fn stream(server: &Server, time: Duration) -> Result<Stream> {
    let [mut client, mut other] = server.pair(Offer::Both)?;
    let (started, cpu) = (Instant::now(), usage::own_cpu()?);
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        let mut sum = 0;
        while let Ok(length @ 1..) = other.read(&mut buffer) {
            sum += length as u64;
        }
        sum
    });
    let data = vec![0x17; 128 << 10];
    while started.elapsed() < time {
        client.write_all(&data)?;
    }
    drop(client);
    let bytes = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    let gigabytes = count(bytes) / 1e9;
    Ok(Stream {
        rate: gigabytes / started.elapsed().as_secs_f64(),
        cpu: usage::own_cpu()?.saturating_sub(cpu).as_secs_f64() / gigabytes,
    })
}

/// Nanoseconds of CPU time per packet, both ends together.
fn ping_pong(server: &Server, rounds: u32) -> Result<f64> {
    let [client, other] = server.pair(Offer::Both)?;
    let echo = thread::spawn(move || echo(other));
    play(&client, WARM_UP)?;
    let before = usage::own_cpu()?;
    play(&client, rounds)?;
    let time = usage::own_cpu()?.saturating_sub(before);
    drop(client);
    let _ = echo.join();
    Ok(time.as_secs_f64() * 1e9 / f64::from(rounds * 2))
}

fn play(mut client: &TcpStream, rounds: u32) -> Result<()> {
    let mut message = RECORD;
    for _ in 0..rounds {
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
    }
    Ok(())
}

fn echo(mut stream: TcpStream) {
    let mut message = RECORD;
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

/// What the programs do with packets of a finished handshake.
fn packet_programs(subject: &Subject, server: &Server, rounds: u32, offer: Offer) -> Result<Work> {
    let daemon = Daemon::start(subject)?;
    let statistics = Statistics::enable(&subject.empty)?;
    let [client, other] = server.pair(offer)?;
    let echo = thread::spawn(move || echo(other));
    // Long enough for user space to say whether it wants the last packets.
    play(&client, 20 * WARM_UP)?;
    let before = statistics.now(daemon.pid())?;
    play(&client, rounds)?;
    let after = statistics.now(daemon.pid())?;
    drop(client);
    let _ = echo.join();
    daemon.stop()?;
    let mut work = Work::between(&before, &after);
    // Others may be at work on the machine.
    work.programs
        .retain(|program| program.name.starts_with("wire"));
    Ok(work)
}
