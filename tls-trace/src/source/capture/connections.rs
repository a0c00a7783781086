//! Segments to connections: who is who, which segments are of one connection, when it is over.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use hashlink::{LinkedHashMap, linked_hash_map::Entry};
use tls_trace_common::{CAPTURE_BYTES, CAPTURE_SEGMENTS};

use super::{
    fragments::Fragments,
    packet::Packet,
    segment::{Identity, NoTcp, TcpSegment, dissect},
};
use crate::event::{ConnectionId, Direction, Event, EventKind, Segment, Task, TcpFlags, Timestamp};

/// Connections remembered; the least recently active is given up for a new one.
const CONNECTIONS: usize = 262_144;
/// A connection that both ends closed, or one reset, is over when nothing came for this long.
const QUIET: Duration = Duration::from_secs(1);
/// Segments of a connection that are heard one by one: more than any handshake has whose messages are not
/// cut small. After them, those that open or close it, and the last before.
const HEARD: u32 = 256;
/// Those cut small are heard as the daemon hears them: so many payload bytes of both directions, in so many
/// segments, each of which has its acknowledgment.
const HEARD_BYTES: u32 = 2 * CAPTURE_BYTES;
const HEARD_SMALL: u32 = 4 * CAPTURE_SEGMENTS;
/// Packets of a connection in which a second copy of one is looked for.
const RECENT: usize = 4;
/// A capture on several interfaces sees a packet again within this time.
const COPY: Duration = Duration::from_secs(1);
/// The same where the sender gives packets no mark: sooner than anybody retransmits.
const UNMARKED_COPY: Duration = Duration::from_millis(5);

/// What was done with the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets read.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Packets that had a TCP segment.
    pub segments: u64,
    /// Second copies of a packet, not used.
    pub copies: u64,
    /// Packets of a connection that was over, not used.
    pub late: u64,
    /// Packets cut too short to be of use, or that contradict themselves.
    pub unreadable: u64,
    /// Packets of a link layer that nothing is known of.
    pub unknown_link: u64,
}

/// The connections of a capture.
pub struct Connections {
    /// The least recently active first.
    flows: LinkedHashMap<Pair, Flow>,
    /// Flows that are about to be over, by the time to look again.
    closing: VecDeque<(Timestamp, Pair, ConnectionId)>,
    fragments: Fragments,
    next_id: u64,
    now: Timestamp,
    counts: Counts,
}

/// Two addresses, the lesser first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pair(SocketAddr, SocketAddr);

struct Flow {
    id: ConnectionId,
    local: SocketAddr,
    remote: SocketAddr,
    egress: Half,
    ingress: Half,
    reset: bool,
    phase: Phase,
    last: Timestamp,
    segments: u32,
    /// Payload of them.
    payload_bytes: u32,
    /// The last segment of each direction that was not told.
    untold: [Option<Box<Event>>; 2],
    recent: [Option<(Identity, Timestamp)>; RECENT],
    /// Which of them is the oldest.
    oldest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// In [`Connections::closing`].
    Closing,
    /// Over; what still comes is not heard.
    Over,
}

/// What one end sent.
#[derive(Default)]
struct Half {
    /// Sequence number of its SYN.
    initial: Option<u32>,
    /// Anything besides that.
    more: bool,
    fin: bool,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            flows: LinkedHashMap::new(),
            closing: VecDeque::new(),
            fragments: Fragments::new(),
            next_id: 1,
            now: Timestamp(0),
            counts: Counts::default(),
        }
    }
}

impl Connections {
    /// Takes the next packet, appends the events it makes, and says which connection it is of.
    pub fn packet(&mut self, packet: &Packet, events: &mut Vec<Event>) -> Option<ConnectionId> {
        self.counts.packets += 1;
        self.counts.bytes += u64::from(packet.length);
        self.now = self.now.max(packet.time);
        self.conclude_quiet(events);
        match dissect(packet, &mut self.fragments) {
            Ok(segment) => {
                self.counts.segments += 1;
                let connection = self.segment(packet.time, segment, events);
                self.evict(events);
                Some(connection)
            }
            Err(reason) => {
                match reason {
                    NoTcp::OtherProtocol | NoTcp::Fragment => {}
                    NoTcp::UnknownLink => self.counts.unknown_link += 1,
                    NoTcp::Unreadable => self.counts.unreadable += 1,
                }
                None
            }
        }
    }

    /// The capture ends: so do the events of every connection.
    pub fn end(&mut self, events: &mut Vec<Event>) {
        for flow in self.flows.values_mut() {
            match flow.phase {
                Phase::Open => flow.end(self.now, events),
                Phase::Closing => flow.end(flow.last, events),
                Phase::Over => {}
            }
        }
        self.restart();
    }

    /// Forgets everything but ids and counts.
    fn restart(&mut self) {
        *self = Self {
            next_id: self.next_id,
            counts: self.counts,
            ..Self::default()
        };
    }

    /// Whether a file that begins with this packet continues what was read so far.
    #[must_use]
    pub fn continues_with(&self, packet: &Packet) -> bool {
        packet.time >= self.now
    }

    /// Connections whose end was not seen, and the time of their last packet.
    pub fn open(&self) -> impl Iterator<Item = (ConnectionId, Timestamp)> {
        let open = self.flows.values().filter(|flow| flow.phase != Phase::Over);
        open.map(|flow| (flow.id, flow.last))
    }

    /// Time of the latest packet.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn segment(
        &mut self,
        time: Timestamp,
        segment: TcpSegment,
        events: &mut Vec<Event>,
    ) -> ConnectionId {
        let pair = Pair::of(segment.source, segment.destination);
        let next_id = ConnectionId(self.next_id);
        let flow = match self.flows.entry(pair) {
            Entry::Vacant(vacant) => vacant.insert(Flow::new(next_id, &segment)),
            Entry::Occupied(mut occupied) => {
                occupied.to_back();
                let flow = occupied.into_mut();
                if flow.is_new_connection(&segment) {
                    if flow.phase != Phase::Over {
                        flow.end(flow.last, events);
                    }
                    *flow = Flow::new(next_id, &segment);
                }
                flow
            }
        };
        if flow.id == next_id {
            self.next_id += 1;
        }
        if flow.is_copy(time, segment.identity) {
            self.counts.copies += 1;
            return flow.id;
        }
        flow.last = flow.last.max(time);
        if flow.phase == Phase::Over {
            self.counts.late += 1;
            return flow.id;
        }
        let direction = flow.take(&segment);
        if flow.phase == Phase::Open && (flow.reset || flow.egress.fin && flow.ingress.fin) {
            flow.phase = Phase::Closing;
            self.closing
                .push_back((later(self.now, QUIET), pair, flow.id));
        }
        let event = Event {
            time,
            connection: flow.id,
            kind: EventKind::Segment(Segment {
                direction,
                local: flow.local,
                remote: flow.remote,
                seq: segment.seq,
                ack: segment.ack,
                flags: segment.flags,
                ttl: segment.ttl,
                length: segment.length,
                payload: segment.payload,
                task: Task::default(),
                last: false,
                listener: false,
            }),
        };
        flow.tell(event, events);
        flow.id
    }

    /// Makes room for new connections.
    fn evict(&mut self, events: &mut Vec<Event>) {
        while self.flows.len() > CONNECTIONS
            && let Some((_, mut flow)) = self.flows.pop_front()
        {
            if flow.phase != Phase::Over {
                flow.end(flow.last, events);
            }
        }
    }

    /// Ends what was closed and stayed quiet.
    fn conclude_quiet(&mut self, events: &mut Vec<Event>) {
        while let Some(&(at, pair, id)) = self.closing.front()
            && at <= self.now
        {
            self.closing.pop_front();
            let Some(flow) = self.flows.get_mut(&pair).filter(|flow| flow.id == id) else {
                continue;
            };
            let again = later(flow.last, QUIET);
            if again > self.now {
                self.closing.push_back((again, pair, id));
            } else {
                flow.phase = Phase::Over;
                flow.end(flow.last, events);
            }
        }
    }
}

impl Pair {
    fn of(a: SocketAddr, b: SocketAddr) -> Self {
        if a <= b { Self(a, b) } else { Self(b, a) }
    }
}

impl Flow {
    fn new(id: ConnectionId, first: &TcpSegment) -> Self {
        let (local, remote) = if opened_connection(first) {
            (first.source, first.destination)
        } else {
            (first.destination, first.source)
        };
        Self {
            id,
            local,
            remote,
            egress: Half::default(),
            ingress: Half::default(),
            reset: false,
            phase: Phase::Open,
            last: Timestamp(0),
            segments: 0,
            payload_bytes: 0,
            untold: [None, None],
            recent: [None; RECENT],
            oldest: 0,
        }
    }

    /// A SYN that does not belong to what was seen so far: the addresses are used again.
    fn is_new_connection(&self, segment: &TcpSegment) -> bool {
        if !segment.flags.has(TcpFlags::SYN) || segment.flags.has(TcpFlags::ACK) {
            return false;
        }
        let (own, other) = if segment.source == self.local {
            (&self.egress, &self.ingress)
        } else {
            (&self.ingress, &self.egress)
        };
        match own.initial {
            Some(initial) => initial != segment.seq,
            // The other end's SYN alone: both opened at once, or its answer was captured first.
            None => own.more || other.more || other.initial.is_none(),
        }
    }

    /// Whether the packet is another capture of one of those before; remembers it.
    fn is_copy(&mut self, time: Timestamp, identity: Identity) -> bool {
        let limit = if identity.unique { COPY } else { UNMARKED_COPY };
        let seen = |entry: &Option<(Identity, Timestamp)>| {
            entry.is_some_and(|(known, at)| {
                known == identity && time.since(at) <= limit && at.since(time) <= limit
            })
        };
        if self.recent.iter().any(seen) {
            return true;
        }
        self.recent[self.oldest] = Some((identity, time));
        self.oldest = (self.oldest + 1) % RECENT;
        false
    }

    /// Passes a segment on if it is one of the first, or changes the connection.
    fn tell(&mut self, event: Event, events: &mut Vec<Event>) {
        let EventKind::Segment(segment) = &event.kind else {
            return;
        };
        self.segments = self.segments.saturating_add(1);
        self.payload_bytes = self.payload_bytes.saturating_add(segment.length);
        let changes = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
        if !self.is_heard() && segment.flags.0 & changes == 0 {
            let place = &mut self.untold[segment.direction as usize];
            match place {
                Some(place) => **place = event,
                None => *place = Some(Box::new(event)),
            }
            return;
        }
        self.tell_rest(events);
        events.push(event);
    }

    /// Whether the last segment is one of the first.
    fn is_heard(&self) -> bool {
        let small = self.payload_bytes <= HEARD_BYTES && self.segments <= HEARD_SMALL;
        self.segments <= HEARD || small
    }

    fn tell_rest(&mut self, events: &mut Vec<Event>) {
        let [one, other] = self.untold.each_mut().map(Option::take);
        let from = events.len();
        events.extend(one.into_iter().chain(other).map(|event| *event));
        events[from..].sort_by_key(|event| event.time);
    }

    fn end(&mut self, time: Timestamp, events: &mut Vec<Event>) {
        self.tell_rest(events);
        events.push(ended(self.id, time));
    }

    /// Notes what the segment says of the connection.
    fn take(&mut self, segment: &TcpSegment) -> Direction {
        let direction = if segment.source == self.local {
            Direction::Egress
        } else {
            Direction::Ingress
        };
        let half = match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        };
        if segment.flags.has(TcpFlags::SYN) {
            half.initial.get_or_insert(segment.seq);
        } else {
            half.more = true;
        }
        half.fin |= segment.flags.has(TcpFlags::FIN);
        self.reset |= segment.flags.has(TcpFlags::RST);
        direction
    }
}

/// Whether the sender of this first segment is the one that opened the connection, or seems to be.
fn opened_connection(segment: &TcpSegment) -> bool {
    const CLIENT_HELLO: u8 = 1;
    const SERVER_HELLO: u8 = 2;
    if segment.flags.has(TcpFlags::SYN) {
        return !segment.flags.has(TcpFlags::ACK);
    }
    match segment.payload[..] {
        [22, 3, _, _, _, CLIENT_HELLO, ..] => true,
        [22, 3, _, _, _, SERVER_HELLO, ..] => false,
        // Servers have the lower port.
        _ => segment.source.port() >= segment.destination.port(),
    }
}

fn ended(connection: ConnectionId, time: Timestamp) -> Event {
    Event {
        time,
        connection,
        kind: EventKind::Ended,
    }
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(time.0.saturating_add(nanos))
}
