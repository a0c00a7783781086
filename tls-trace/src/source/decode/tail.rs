//! The last packets of a socket.

use std::iter::Peekable;

use tls_trace_common::{self as abi, TailRecord};

use crate::event::{Direction, Tail, TailPacket, Timestamp};

pub(super) fn tail(record: &TailRecord) -> Tail {
    let mut received = side(record, Direction::Ingress);
    let mut sent = side(record, Direction::Egress);
    let mut packets = Vec::with_capacity(2 * abi::TAIL_PACKETS);
    while let Some(packet) = earlier(&mut received, &mut sent) {
        // Many pass within one tick of the clock, and their order means something.
        let last: Option<&TailPacket> = packets.last();
        let after = last.map_or(0, |packet| packet.time.0 + 1);
        let time = Timestamp(packet.time.0.max(after));
        packets.push(TailPacket { time, ..packet });
    }
    Tail {
        packets,
        sent: last(record, Direction::Egress),
        received: last(record, Direction::Ingress),
    }
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => abi::INGRESS.into(),
        Direction::Egress => abi::EGRESS.into(),
    }
}

fn last(record: &TailRecord, direction: Direction) -> Option<(Timestamp, u32)> {
    let direction = index(direction);
    let tick = record.last[direction];
    (tick != 0).then(|| (time(record, tick), record.edges[direction]))
}

/// Packets of one direction, oldest first, with their numbers.
fn side(
    record: &TailRecord,
    direction: Direction,
) -> Peekable<impl Iterator<Item = (u8, TailPacket)>> {
    let side = index(direction);
    let places = 0..abi::TAIL_PACKETS;
    let packets = places.filter_map(move |place| {
        let place = (record.next[side] as usize).wrapping_add(place) % abi::TAIL_PACKETS;
        let [length, order] = record.sizes[side][place].to_le_bytes();
        let packet = TailPacket {
            time: time(record, record.times[side][place]),
            direction,
            record: (length != abi::TAIL_DATA).then_some(length.into()),
        };
        (length != 0).then_some((order, packet))
    });
    packets.peekable()
}

/// Takes the one that passed first.
fn earlier<I, J>(one: &mut Peekable<I>, two: &mut Peekable<J>) -> Option<TailPacket>
where
    I: Iterator<Item = (u8, TailPacket)>,
    J: Iterator<Item = (u8, TailPacket)>,
{
    let first = match (one.peek(), two.peek()) {
        (Some((number, packet)), Some((other_number, other))) => {
            let before = number.wrapping_sub(*other_number).cast_signed() < 0;
            packet.time < other.time || packet.time == other.time && before
        }
        (one, _) => one.is_some(),
    };
    let next = if first { one.next() } else { two.next() };
    next.map(|(_, packet)| packet)
}

/// The time of a tick that is not later than the record.
fn time(record: &TailRecord, tick: u32) -> Timestamp {
    let now = record.header.time_ns >> abi::TAIL_TICK;
    let low = u32::try_from(now & u64::from(u32::MAX)).unwrap_or_default();
    let age = u64::from(low.wrapping_sub(tick));
    Timestamp(now.saturating_sub(age) << abi::TAIL_TICK)
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    const TICK: u64 = 1 << abi::TAIL_TICK;

    fn record(now: u64) -> TailRecord {
        let mut record = TailRecord::new_zeroed();
        record.header.time_ns = now;
        record
    }

    const RECEIVED: usize = abi::INGRESS as usize;
    const SENT: usize = abi::EGRESS as usize;

    fn packet(time: u64, direction: Direction, record: Option<u16>) -> TailPacket {
        TailPacket {
            time: Timestamp(time),
            direction,
            record,
        }
    }

    #[test]
    fn packets_come_oldest_first_and_one_after_the_other() {
        let mut record = record(1000 * TICK + 5);
        record.next = [8, 9];
        (record.times[RECEIVED][7], record.sizes[RECEIVED][7]) = (998, 0x0022);
        // Of the same tick, the numbers say which was first; they start again.
        (record.times[SENT][0], record.sizes[SENT][0]) = (998, 0xff22);
        // The place of the next one is the oldest.
        (record.times[SENT][1], record.sizes[SENT][1]) = (990, 0xc0ff);
        (record.last, record.edges) = ([998, 0], [77, 0]);
        let expected = Tail {
            packets: vec![
                packet(990 * TICK, Direction::Egress, None),
                packet(998 * TICK, Direction::Egress, Some(34)),
                packet(998 * TICK + 1, Direction::Ingress, Some(34)),
            ],
            sent: None,
            received: Some((Timestamp(998 * TICK), 77)),
        };
        assert_eq!(tail(&record), expected);
    }

    #[test]
    fn ticks_start_again() {
        let mut record = record((1 << 32 | 3) * TICK);
        (record.times[SENT][0], record.sizes[SENT][0]) = (u32::MAX, 34);
        let expected = packet(((1 << 32) - 1) * TICK, Direction::Egress, Some(34));
        assert_eq!(tail(&record).packets, [expected]);
    }

    #[test]
    fn any_bytes_are_decoded() {
        let mut record = TailRecord::new_zeroed();
        record.next = [u32::MAX; 2];
        record.times = [[u32::MAX; abi::TAIL_PACKETS]; 2];
        record.sizes = [[u16::MAX; abi::TAIL_PACKETS]; 2];
        assert_eq!(tail(&record).packets.len(), 2 * abi::TAIL_PACKETS);
        record.header.time_ns = u64::MAX;
        assert_eq!(tail(&record).packets.len(), 2 * abi::TAIL_PACKETS);
    }
}
