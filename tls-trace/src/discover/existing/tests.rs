use std::net::{TcpListener, TcpStream};

use super::*;
use crate::event::{ConnectionId, Segment, StateChange, Timestamp};

const HERE: &str = "10.0.0.1:443";
const THERE: &str = "10.0.0.2:50000";

fn connection(netns: u32) -> Connection {
    Connection {
        local: (&socket(HERE, 0).local).into(),
        remote: (&socket(HERE, 0).remote).into(),
        netns,
        opened_by: Some(false),
        task: Some(0),
        taken: false,
    }
}

fn table(netns: &[u32]) -> Existing {
    let connections = netns.iter().map(|netns| connection(*netns));
    let found = Found {
        connections: connections.collect(),
        cookies: HashMap::new(),
        sockets: HashMap::new(),
        tasks: vec![Task {
            pid: 7,
            ..Task::default()
        }],
    };
    found.into()
}

fn event(kind: EventKind) -> Event {
    Event {
        time: Timestamp(1),
        connection: ConnectionId(9),
        kind,
    }
}

fn socket(local: &str, netns: u32) -> Socket {
    Socket {
        local: local.parse().unwrap(),
        remote: THERE.parse().unwrap(),
        netns,
        task: Task::default(),
        counters: None,
    }
}

fn state(old: TcpState, netns: u32) -> Event {
    event(EventKind::State(StateChange {
        old,
        new: TcpState::CLOSE_WAIT,
        socket: socket(HERE, netns),
    }))
}

fn segment(flags: u8, listener: bool) -> Event {
    event(EventKind::Segment(Segment {
        direction: crate::event::Direction::Ingress,
        local: HERE.parse().unwrap(),
        remote: THERE.parse().unwrap(),
        seq: 0,
        ack: 0,
        flags: TcpFlags(flags),
        ttl: 64,
        length: 0,
        payload: bytes::Bytes::new(),
        task: Task::default(),
        last: false,
        listener,
    }))
}

#[test]
fn the_first_event_of_an_old_connection_is_announced_once() {
    let mut table = table(&[5]);
    let announced = table.before(&state(TcpState::ESTABLISHED, 5)).unwrap();
    assert_eq!(announced.connection, ConnectionId(9));
    let EventKind::Existing { socket, opened_by } = announced.kind else {
        panic!("{announced:?}");
    };
    assert_eq!((socket.task.pid, socket.netns), (7, 5));
    assert_eq!(opened_by, Some(End::Remote));
    assert_eq!(table.before(&state(TcpState::ESTABLISHED, 5)), None);
}

#[test]
fn any_event_with_addresses_finds_it() {
    let mapped = event(EventKind::Destroyed(socket("[::ffff:10.0.0.1]:443", 0)));
    for first in [mapped, segment(TcpFlags::ACK, false)] {
        assert!(table(&[5]).before(&first).is_some(), "{first:?}");
    }
    let other = event(EventKind::Destroyed(socket("10.0.0.9:443", 5)));
    assert_eq!(table(&[5]).before(&other), None);
}

#[test]
fn a_connection_that_opens_after_the_start_is_not_an_old_one() {
    for opening in [
        state(TcpState::SYN_RECV, 5),
        state(TcpState::SYN_SENT, 5),
        segment(TcpFlags::SYN, false),
    ] {
        let mut table = table(&[5]);
        assert_eq!(table.before(&opening), None);
        assert_eq!(table.before(&state(TcpState::ESTABLISHED, 5)), None);
    }
}

#[test]
fn data_at_a_listener_belongs_to_a_connection_that_opens() {
    let mut table = table(&[5]);
    assert_eq!(table.before(&segment(TcpFlags::ACK, true)), None);
    assert!(table.before(&state(TcpState::ESTABLISHED, 5)).is_some());
}

#[test]
fn the_same_addresses_in_two_namespaces_are_told_apart_or_not_at_all() {
    let mut table = table(&[5, 6]);
    assert_eq!(table.before(&segment(TcpFlags::ACK, false)), None);
    for netns in [6, 5] {
        let announced = table.before(&state(TcpState::ESTABLISHED, netns)).unwrap();
        let EventKind::Existing { socket, .. } = announced.kind else {
            panic!("{announced:?}");
        };
        assert_eq!(socket.netns, netns);
    }
}

#[test]
fn a_connection_with_a_cookie_is_announced_without_an_event() {
    let mut with_cookie = table(&[]);
    with_cookie.named = [9, 10].map(|cookie| (cookie, connection(5))).to_vec();
    let opened = state(TcpState::SYN_RECV, 5);
    let announced = with_cookie.announce(&[opened], Timestamp(3));
    let [only] = announced.as_slice() else {
        panic!("{announced:?}");
    };
    // The other one, 9, opened in the meantime.
    assert_eq!(
        (only.connection, only.time),
        (ConnectionId(10), Timestamp(3))
    );
    let EventKind::Existing { socket, .. } = &only.kind else {
        panic!("{only:?}");
    };
    assert_eq!(socket.local, HERE.parse().unwrap());
    assert_eq!(with_cookie.announce(&[], Timestamp(3)), []);
}

#[test]
fn open_connections_of_this_process_are_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let mut existing = Existing::scan(None);
    // Without CAP_SYS_ADMIN there are no cookies.
    let mut announced = existing.announce(&[], Timestamp(1));
    for (end, opened_by) in [(&client, End::Local), (&server, End::Remote)] {
        let mut socket = socket(HERE, 0);
        socket.local = end.local_addr().unwrap();
        socket.remote = end.peer_addr().unwrap();
        let ends = (socket.local, socket.remote);
        let is_it = |event: &Event| match &event.kind {
            EventKind::Existing { socket, .. } => (socket.local, socket.remote) == ends,
            _ => false,
        };
        let announced = match announced.iter().position(is_it) {
            Some(index) => announced.swap_remove(index),
            None => existing
                .before(&event(EventKind::Destroyed(socket)))
                .unwrap_or_else(|| panic!("{ends:?} is not among {existing:?}")),
        };
        let EventKind::Existing {
            socket,
            opened_by: found,
        } = announced.kind
        else {
            panic!("{announced:?}");
        };
        assert_eq!(socket.task.pid, std::process::id());
        assert_eq!(found, Some(opened_by));
    }
}
