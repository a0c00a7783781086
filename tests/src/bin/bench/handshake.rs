//! Connections with the bytes of a real TLS 1.3 handshake, without its cryptography: to the tracer
//! they are as good as others, and a hundred times cheaper to make.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike as _},
};

/// ClientHello; ChangeCipherSpec and Finished; close_notify.
pub const CLIENT: [&[u8]; 3] = records(
    include_bytes!("../../../../tls-trace/testdata/wire/tls13.client.bin"),
    [1, 3, 5],
);
/// ServerHello to Finished; two NewSessionTickets; close_notify.
pub const SERVER: [&[u8]; 3] = records(
    include_bytes!("../../../../tls-trace/testdata/wire/tls13.server.bin"),
    [6, 8, 9],
);

/// Ephemeral ports of one destination address are fewer than the connections that are wanted.
const DESTINATIONS: u64 = 200;

/// Cuts a stream after the given numbers of records, the last of which is its end.
const fn records(stream: &'static [u8], after: [usize; 3]) -> [&'static [u8]; 3] {
    let mut parts: [&[u8]; 3] = [&[]; 3];
    let (mut part, mut record, mut rest, mut end) = (0, 0, stream, 0);
    while part < 3 {
        end += 5 + ((rest[end + 3] as usize) << 8) + rest[end + 4] as usize;
        record += 1;
        if record == after[part] {
            let (head, tail) = rest.split_at(end);
            (parts[part], rest, end) = (head, tail, 0);
            part += 1;
        }
    }
    parts
}

/// What a client says it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2 and HTTP/1.1.
    Both,
    /// Nothing but HTTP/2, as gRPC: the end of such a connection is watched.
    Http2,
}

/// A client whose handshake is complete, its session tickets read.
pub fn connect(port: u16, offer: Offer) -> io::Result<TcpStream> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let host = u8::try_from(number % DESTINATIONS).unwrap_or_default();
    let mut stream = TcpStream::connect((Ipv4Addr::new(127, 0, 1, host), port))?;
    stream.set_nodelay(true)?;
    let mut hello = CLIENT[0].to_vec();
    // ClientHello.random, behind the headers of record and message and the version: one for each
    // connection, as from a real client.
    hello[11..19].copy_from_slice(&number.to_be_bytes());
    if offer == Offer::Http2 {
        // The other name of the two, by one of gRPC's of the same length.
        let names = b"\x02h2\x08http/1.1";
        let place = hello.windows(names.len()).position(|part| part == names);
        let end = place.ok_or(io::ErrorKind::InvalidData)? + names.len();
        hello[end - 8..end].copy_from_slice(b"grpc-exp");
    }
    stream.write_all(&hello)?;
    read(&mut stream, SERVER[0].len())?;
    stream.write_all(CLIENT[1])?;
    read(&mut stream, SERVER[1].len())?;
    Ok(stream)
}

/// The server's part of [`connect`].
fn accept(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    read(stream, CLIENT[0].len())?;
    stream.write_all(SERVER[0])?;
    read(stream, CLIENT[1].len())?;
    stream.write_all(SERVER[1])
}

fn read(stream: &mut TcpStream, length: usize) -> io::Result<()> {
    let mut buffer = [0; 2048];
    stream.read_exact(&mut buffer[..length])
}

/// Threads that do the server's part.
#[derive(Debug)]
pub struct Server {
    pub port: u16,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

/// What a [`Server`] does with a connection after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Waits for the client's end and closes.
    Close,
    /// Keeps it until [`Server::take`] or its own end.
    Hold,
}

impl Server {
    pub fn start(threads: usize, then: Then) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Also the longest time that accept() waits.
        setsockopt(
            &listener,
            sockopt::ReceiveTimeout,
            &TimeVal::milliseconds(100),
        )?;
        let mut server = Self {
            port: listener.local_addr()?.port(),
            stop: Arc::default(),
            threads: Vec::new(),
            held: Arc::default(),
        };
        for _ in 0..threads {
            let listener = listener.try_clone()?;
            let (stop, held) = (Arc::clone(&server.stop), Arc::clone(&server.held));
            server.threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok((mut stream, _)) = listener.accept() else {
                        continue;
                    };
                    // The client notices what goes wrong here.
                    if accept(&mut stream).is_err() {
                        continue;
                    }
                    match then {
                        Then::Close => {
                            let _ = io::copy(&mut stream, &mut io::sink());
                        }
                        Then::Hold => {
                            held.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(stream);
                        }
                    }
                }
            }));
        }
        Ok(server)
    }

    /// A connection of which both ends are in hand.
    pub fn pair(&self, offer: Offer) -> Result<[TcpStream; 2]> {
        let client = connect(self.port, offer)?;
        let address = client.local_addr()?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Some(server) = self.take(address) {
                return Ok([client, server]);
            }
            thread::yield_now();
        }
        Err(anyhow!("the server did not take {address}"))
    }

    fn take(&self, client: SocketAddr) -> Option<TcpStream> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = |stream: &TcpStream| stream.peer_addr().is_ok_and(|peer| peer == client);
        let position = held.iter().position(of_client)?;
        Some(held.swap_remove(position))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Opens and closes connections from `threads` threads, together at most `rate` a second, and says
/// how many were opened.
pub fn load(port: u16, threads: u32, rate: f64, time: Duration) -> Result<u64> {
    let clients: Vec<_> = (0..threads)
        .map(|_| thread::spawn(move || client(port, f64::from(threads) / rate, time)))
        .collect();
    let mut opened = 0;
    for client in clients {
        opened += client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    Ok(opened)
}

/// One connection after the other, one each `interval` seconds.
fn client(port: u16, interval: f64, time: Duration) -> io::Result<u64> {
    let started = Instant::now();
    let mut due = started;
    let mut opened = 0;
    while started.elapsed() < time {
        let mut stream = connect(port, Offer::Both)?;
        stream.write_all(CLIENT[2])?;
        drop(stream);
        opened += 1;
        due += Duration::from_secs_f64(interval);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(opened)
}
