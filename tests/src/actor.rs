//! A hand-made end of a connection, for what no real program does on demand.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    time::Instant,
};

use nix::sys::socket::{Backlog, setsockopt, sockopt};

use crate::{program::pause, seconds};

/// Connects. Reading from the result fails after a while instead of hanging.
///
/// # Errors
/// What connect(2) says.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    patient(TcpStream::connect(address)?)
}

/// Listens.
///
/// # Errors
/// What bind(2) says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Fills the accept queue of a listener, which must not accept while the result lives.
///
/// # Errors
/// What listen(2) and connect(2) say.
pub fn fill_queue(listener: &TcpListener) -> io::Result<[TcpStream; 2]> {
    // The kernel takes one more than it is told.
    nix::sys::socket::listen(listener, Backlog::new(1)?)?;
    let address = listener.local_addr()?;
    Ok([connect(address)?, connect(address)?])
}

/// Accepts one connection. Reading from it fails after a while instead of hanging.
///
/// # Errors
/// What accept(2) says.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    patient(listener.accept()?.0)
}

fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(seconds(20.0)))?;
    Ok(stream)
}

/// Connects and sends a whole ClientHello.
///
/// # Errors
/// What the kernel says.
pub fn hello(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(&client_hello(b"localhost"))?;
    Ok(stream)
}

/// Accepts one connection and reads a ClientHello of [`hello`] from it, to its last byte.
///
/// # Errors
/// What the kernel says.
pub fn accept_hello(listener: &TcpListener) -> io::Result<TcpStream> {
    let mut stream = accept(listener)?;
    read_exactly(&mut stream, client_hello(b"localhost").len())?;
    Ok(stream)
}

/// Reads and forgets that many bytes.
///
/// # Errors
/// The stream ends before.
pub fn read_exactly(stream: &mut TcpStream, length: usize) -> io::Result<()> {
    stream.read_exact(&mut vec![0; length])
}

/// Reads until the peer's FIN; a reset is an error.
///
/// # Errors
/// What the kernel says.
pub fn read_to_end(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Waits until the FIN of a socket that nobody holds any more is acknowledged.
///
/// # Errors
/// It was not within the deadline.
pub fn until_fin_acknowledged(local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
    const FIN_WAIT2: &str = "05";
    let ports = [local, remote].map(|address| format!(":{:04X}", address.port()));
    let acknowledged = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let mut port = |end: &str| words.next().is_some_and(|word| word.ends_with(end));
        ports.iter().all(|end| port(end)) && words.next() == Some(FIN_WAIT2)
    };
    let deadline = Instant::now() + seconds(20.0);
    while !fs::read_to_string("/proc/net/tcp")?
        .lines()
        .any(acknowledged)
    {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        pause();
    }
    Ok(())
}

/// Waits until bytes are there, leaving them unread.
///
/// # Errors
/// What the kernel says.
pub fn await_bytes(stream: &TcpStream) -> io::Result<()> {
    stream.peek(&mut [0]).map(drop)
}

/// Waits for an answer as long as a patient program does, and gets none.
///
/// # Errors
/// Something came.
pub fn wait_in_vain(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(seconds(1.0)))?;
    match stream.peek(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("an answer came")),
    }
}

/// Closes with `SO_LINGER` 0: the kernel sends RST instead of FIN.
///
/// # Errors
/// What setsockopt(2) says.
pub fn close_with_reset(stream: TcpStream) -> io::Result<()> {
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &linger)?;
    drop(stream);
    Ok(())
}

/// Lets the kernel probe a silent peer after a second, and give up after three more: a slow machine
/// answers late.
///
/// # Errors
/// What setsockopt(2) says.
pub fn keep_alive(stream: &impl AsFd) -> io::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &1)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &1)?;
    setsockopt(stream, sockopt::TcpKeepCount, &3)?;
    Ok(())
}

/// Lets the kernel give up after that many milliseconds without acknowledgment.
///
/// # Errors
/// What setsockopt(2) says.
pub fn user_timeout(stream: &impl AsFd, milliseconds: u32) -> io::Result<()> {
    setsockopt(stream, sockopt::TcpUserTimeout, &milliseconds)?;
    Ok(())
}

/// A ClientHello record for TLS 1.3 and 1.2 (RFC 8446 §4.1.2), never the same twice.
#[must_use]
pub fn client_hello(server_name: &[u8]) -> Vec<u8> {
    let name = length16([&[0][..], &length16(server_name.to_vec())].concat());
    let key_share = [&[0, 0x1d][..], &length16(random())].concat();
    let extensions = [
        extension(0, name),
        extension(10, length16(vec![0, 0x1d, 0, 0x17])),
        extension(13, length16(vec![0x04, 0x03, 0x08, 0x04, 0x04, 0x01])),
        extension(43, vec![4, 3, 4, 3, 3]),
        extension(51, length16(key_share)),
    ]
    .concat();
    let hello = [
        &[3, 3][..],
        &random(),
        &[32],
        &random(),
        &length16(vec![0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x2f]),
        &[1, 0],
        &length16(extensions),
    ]
    .concat();
    record(22, handshake(1, &hello))
}

/// A TLS 1.2 ServerHello record (RFC 5246 §7.4.1.3) that such a client accepts.
#[must_use]
pub fn server_hello() -> Vec<u8> {
    let extensions = extension(23, Vec::new());
    let hello = [
        &[3, 3][..],
        &random(),
        &[0],
        &[0xc0, 0x2f, 0],
        &length16(extensions),
    ]
    .concat();
    record(22, handshake(2, &hello))
}

/// A record of the given content type.
///
/// # Panics
/// The content is longer than a record's length can say.
#[must_use]
pub fn record(content_type: u8, content: Vec<u8>) -> Vec<u8> {
    [&[content_type, 3, 1][..], &length16(content)].concat()
}

/// A handshake message of the given type.
///
/// # Panics
/// The body is longer than 16 MiB.
#[must_use]
pub fn handshake(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a message under 16 MiB");
    [&[message_type][..], &length.to_be_bytes()[1..], body].concat()
}

fn extension(number: u16, content: Vec<u8>) -> Vec<u8> {
    [&number.to_be_bytes()[..], &length16(content)].concat()
}

fn length16(content: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("content under 64 KiB");
    [length.to_be_bytes().to_vec(), content].concat()
}

fn random() -> Vec<u8> {
    // Every RandomState has keys of its own.
    (0..4_u8)
        .flat_map(|number| RandomState::new().hash_one(number).to_be_bytes())
        .collect()
}
