//! Which connections that are closing are gone without a word. The kernel tells of each socket's end by
//! `tcp_destroy_sock`; on a machine under load one in some thousands was seen to end without. Nothing else would ever
//! end the connection here, so it is asked for (sock_diag(7)).

use std::{
    io,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use super::{holder::ask, sock_diag};
use crate::{engine::HolderWanted, event::ConnectionId};

/// Asks whether sockets are still there, in a thread of its own.
#[derive(Debug)]
pub struct Gone {
    asked: SyncSender<Vec<HolderWanted>>,
    gone: Receiver<ConnectionId>,
}

impl Gone {
    /// Starts the thread; it ends when this is dropped.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start() -> io::Result<Self> {
        let (asked, questions) = sync_channel(1);
        let (results, gone) = channel();
        thread::Builder::new()
            .name("gone".to_owned())
            .spawn(move || run(&questions, &results))?;
        Ok(Self { asked, gone })
    }

    /// Asks for these, unless the last ones are still being asked for.
    pub fn ask(&self, wanted: Vec<HolderWanted>) {
        if !wanted.is_empty() && self.asked.try_send(wanted).is_err() {
            tracing::debug!("asking for sockets takes too long");
        }
    }

    /// Connections found to be gone since.
    pub fn answers(&self) -> impl Iterator<Item = ConnectionId> {
        self.gone.try_iter()
    }
}

/// Until nobody asks any more.
fn run(questions: &Receiver<Vec<HolderWanted>>, results: &Sender<ConnectionId>) {
    while let Ok(wanted) = questions.recv() {
        for id in gone(&wanted) {
            if results.send(id).is_err() {
                return;
            }
        }
    }
}

/// Those without a socket. Where the kernel cannot be asked, none is.
fn gone(wanted: &[HolderWanted]) -> Vec<ConnectionId> {
    let answers = ask(wanted, sock_diag::gone).into_iter();
    answers
        .filter_map(|(id, gone)| gone.then_some(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        net::{TcpListener, TcpStream},
        os::unix::fs::MetadataExt as _,
    };

    use super::*;

    /// An end of a connection as events name it.
    fn wanted(end: &TcpStream) -> HolderWanted {
        let (local, remote) = (end.local_addr().unwrap(), end.peer_addr().unwrap());
        let all = sock_diag::of_namespace(std::process::id()).unwrap();
        let (named, _) = all
            .iter()
            .find(|(named, _)| (named.local, named.remote) == (local, remote))
            .unwrap();
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino();
        HolderWanted {
            connection: ConnectionId(named.cookie),
            local,
            remote,
            netns: u32::try_from(netns).unwrap(),
        }
    }

    #[test]
    fn who_is_closed_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let ends = [wanted(&client), wanted(&server)];
        assert_eq!(gone(&ends), [], "open");
        drop(client);
        assert_eq!(gone(&ends[1..]), [], "the other end is closed");
        drop(server);
        assert_eq!(
            gone(&ends),
            ends.map(|end| end.connection),
            "one in TIME-WAIT"
        );
        let elsewhere = HolderWanted {
            netns: 1,
            ..ends[0]
        };
        assert_eq!(gone(&[elsewhere]), [], "a namespace that nobody knows");
    }
}
