//! Kernel records to events.

mod go;
mod http2;
mod session;
mod tail;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use tls_trace_common::{self as abi, Kind, Record};

use crate::{
    event::{
        ConnectionId, Counters, Direction, Event, EventKind, Function, LibraryEvent, LibraryMoment,
        LibraryName, Segment, Socket, StateChange, Statement, Task, TcpFlags, TcpState, Timestamp,
    },
    probe::ResetReasons,
};

/// `task_struct::flags`: the task is on its way out (include/linux/sched.h).
const PF_EXITING: u32 = 0x4;

/// Turns records into events and counts those that are none.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    reasons: ResetReasons,
    refused: u64,
}

impl Decoder {
    /// A decoder for this kernel's reset reasons.
    pub(crate) fn new(reasons: ResetReasons) -> Self {
        Self {
            reasons,
            refused: 0,
        }
    }

    /// Decodes one record; `None` for bytes that are no record, which are counted.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Option<Event> {
        let event = Record::parse(bytes)
            .ok()
            .and_then(|record| self.event(record));
        if event.is_none() {
            self.refused += 1;
        }
        event
    }

    /// Records refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn event(&self, record: Record<'_>) -> Option<Event> {
        let (header, kind) = match record {
            Record::Socket(record) => (
                &record.header,
                match record.header.kind {
                    Kind::STATE => EventKind::State(StateChange {
                        old: TcpState(record.header.old_state),
                        new: TcpState(record.header.new_state),
                        socket: socket(record),
                    }),
                    _ => EventKind::Destroyed(socket(record)),
                },
            ),
            Record::Signal(record) => (&record.header, self.signal(record)?),
            Record::Segment(record, _) if record.flags & abi::OVERFLOW != 0 => {
                let (server, client) = addresses(&record.tuple);
                let netns = record.tuple.netns;
                let kind = EventKind::ListenOverflow {
                    server,
                    client,
                    netns,
                };
                (&record.header, kind)
            }
            Record::Segment(record, payload) => {
                (&record.header, EventKind::Segment(segment(record, payload)))
            }
            Record::Library(record) => (&record.header, EventKind::Library(library(record)?)),
            Record::Go(record) => (&record.header, EventKind::Library(go::library(record)?)),
            Record::Http2(record) => (&record.header, EventKind::Http2(http2::said(record)?)),
            Record::Session(record) => (
                &record.header,
                EventKind::Library(session::library(record)?),
            ),
            Record::Tail(record) => (&record.header, EventKind::Tail(tail::tail(record))),
        };
        Some(Event {
            time: Timestamp(header.time_ns),
            connection: ConnectionId(header.cookie),
            kind,
        })
    }

    fn signal(&self, record: &abi::SignalRecord) -> Option<EventKind> {
        let detail = record.header.detail;
        Some(match record.header.kind {
            Kind::RESET_SENT => EventKind::ResetSent {
                reason: (detail != abi::NO_DETAIL).then(|| self.reasons.translate(detail)),
                task: task(&record.task),
            },
            Kind::RESET_RECEIVED => EventKind::ResetReceived,
            Kind::SOCKET_ERROR => EventKind::SocketError { errno: detail },
            Kind::RETRANSMIT => EventKind::Retransmit {
                state: TcpState(record.header.new_state),
                seq: record.seq,
                end_seq: record.end_seq,
            },
            Kind::FUNCTION => EventKind::Function {
                function: function(abi::Function(detail))?,
                task: task(&record.task),
            },
            _ => return None,
        })
    }
}

fn function(function: abi::Function) -> Option<Function> {
    Some(match function {
        abi::Function::SEND_FIN => Function::SendFin,
        abi::Function::RECEIVE_FIN => Function::ReceiveFin,
        abi::Function::RECEIVE_RESET => Function::ReceiveReset,
        abi::Function::SEND_ACTIVE_RESET => Function::SendActiveReset,
        abi::Function::SEND_RESET => Function::SendReset,
        abi::Function::ACCEPT => Function::Accept,
        _ => return None,
    })
}

fn socket(record: &abi::SocketRecord) -> Socket {
    let (local, remote) = addresses(&record.tuple);
    let counters = record.counters;
    Socket {
        local,
        remote,
        netns: record.tuple.netns,
        task: task(&record.task),
        counters: (counters.valid == 1).then_some(Counters {
            bytes_acked: counters.bytes_acked,
            bytes_received: counters.bytes_received,
            snd_nxt: counters.snd_nxt,
            snd_una: counters.snd_una,
            rcv_nxt: counters.rcv_nxt,
            copied_seq: counters.copied_seq,
            total_retrans: counters.total_retrans,
            error: counters.error,
            linger_zero: counters.linger_zero == 1,
        }),
    }
}

fn segment(record: &abi::SegmentRecord, payload: &[u8]) -> Segment {
    let (local, remote) = addresses(&record.tuple);
    Segment {
        direction: if record.direction == abi::EGRESS {
            Direction::Egress
        } else {
            Direction::Ingress
        },
        local,
        remote,
        seq: record.seq,
        ack: record.ack,
        flags: TcpFlags(record.tcp_flags),
        ttl: record.ttl,
        length: record.length,
        payload: Bytes::copy_from_slice(payload),
        task: task(&record.task),
        last: record.flags & abi::LAST != 0,
        listener: record.flags & abi::LISTENER != 0,
    }
}

/// `TLS_ST_OK` (include/openssl/ssl.h).
const TLS_ST_OK: u32 = 1;

fn library(record: &abi::LibraryRecord) -> Option<LibraryEvent> {
    let moment = match abi::LibraryMoment(record.header.detail) {
        abi::LibraryMoment::HANDSHAKE_RETURNED | abi::LibraryMoment::COMPLETED => {
            LibraryMoment::HandshakeReturned
        }
        abi::LibraryMoment::ERROR => match u8::try_from(record.alert_sent) {
            Ok(alert) => LibraryMoment::Stated(Box::new(Statement {
                reason: Some(record.reason),
                alert_sent: Some(alert),
                ..Statement::default()
            })),
            Err(_) => LibraryMoment::Failed {
                reason: record.reason,
            },
        },
        abi::LibraryMoment::FREED => LibraryMoment::Freed,
        _ => return None,
    };
    let read = |field, value: u32| (record.fields & field != 0).then_some(value);
    let state = read(abi::FIELD_STATE, record.state).map(|state| state == TLS_ST_OK);
    // Where the state cannot be read, the return value is all there is.
    let returned = moment == LibraryMoment::HandshakeReturned;
    let early_data = read(abi::FIELD_EARLY_DATA, record.early_data);
    let alpn = read(abi::FIELD_ALPN, record.alpn_length);
    let session_alpn = read(abi::FIELD_SESSION_ALPN, record.session_alpn_length);
    // Later, a server's session is that of a ticket it made itself.
    let resumed_session =
        abi::LibraryMoment(record.header.detail) == abi::LibraryMoment::HANDSHAKE_RETURNED;
    let session_alpn = session_alpn.filter(|_| resumed_session);
    let early_data_ok = read(abi::FIELD_EARLY_DATA_OK, record.early_data_ok);
    Some(LibraryEvent {
        library: LibraryName::Openssl,
        moment,
        task: task(&record.task),
        random: record.random,
        server: read(abi::FIELD_SERVER, record.server).map(|server| server != 0),
        done: state.or(returned.then_some(true)),
        version: read(abi::FIELD_VERSION, record.version)
            .and_then(|version| u16::try_from(version).ok()),
        early_data_accepted: early_data.filter(|sent| *sent != 0).map(|sent| sent == 2),
        resumed: read(abi::FIELD_RESUMED, record.resumed).map(|resumed| resumed != 0),
        verify_result: read(abi::FIELD_VERIFY_RESULT, record.verify_result),
        alpn: alpn.map(|length| text(&record.alpn, length)),
        early_data_consistent: early_data_ok.map(|ok| ok != 0),
        session_alpn: session_alpn.map(|length| text(&record.session_alpn, length)),
        loose: record.flags & abi::LOOSE != 0,
    })
}

/// As much of a text of that length as there was room for.
fn text(bytes: &[u8], length: u32) -> String {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    String::from_utf8_lossy(&bytes[..length.min(bytes.len())]).into_owned()
}

fn addresses(tuple: &abi::Tuple) -> (SocketAddr, SocketAddr) {
    let address = |bytes: [u8; 16], port| {
        let ip = IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical();
        SocketAddr::new(ip, port)
    };
    (
        address(tuple.local, tuple.local_port),
        address(tuple.remote, tuple.remote_port),
    )
}

fn task(task: &abi::Task) -> Task {
    let exiting = task.flags & PF_EXITING != 0;
    let length = task.comm.iter().position(|byte| *byte == 0);
    let comm = &task.comm[..length.unwrap_or(task.comm.len())];
    // wait(2): the low 7 bits of the exit code are the signal.
    let signal = u8::try_from(task.exit_code & 0x7f).unwrap_or_default();
    Task {
        pid: task.pid,
        tid: task.tid,
        cgroup: task.cgroup,
        comm: String::from_utf8_lossy(comm).into_owned(),
        exiting,
        exit_signal: (exiting && signal != 0).then_some(signal),
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn record(moment: abi::LibraryMoment, alert_sent: u32) -> abi::LibraryRecord {
        let mut record = abi::LibraryRecord::new_zeroed();
        record.header.kind = Kind::LIBRARY;
        record.header.detail = moment.0;
        record.reason = 134;
        record.alert_sent = alert_sent;
        record
    }

    #[test]
    fn an_alert_comes_with_its_reason() {
        let error = abi::LibraryMoment::ERROR;
        let event = library(&record(error, 48)).expect("a moment");
        let LibraryMoment::Stated(said) = event.moment else {
            panic!("{event:?}");
        };
        assert_eq!((said.reason, said.alert_sent), (Some(134), Some(48)));
        let event = library(&record(error, abi::NO_DETAIL)).expect("a moment");
        assert_eq!(event.moment, LibraryMoment::Failed { reason: 134 });
    }

    #[test]
    fn without_a_state_success_is_the_end_of_a_handshake() {
        let returned = abi::LibraryMoment::HANDSHAKE_RETURNED;
        let mut record = record(returned, abi::NO_DETAIL);
        assert_eq!(library(&record).expect("a moment").done, Some(true));
        record.fields = abi::FIELD_STATE;
        assert_eq!(library(&record).expect("a moment").done, Some(false));
    }
}
