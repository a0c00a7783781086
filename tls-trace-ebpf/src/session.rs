//! The record that GnuTLS and BoringSSL have in common.

use tls_trace_common::{Kind, LibraryMoment, Lost, NO_DETAIL, SessionLibrary, SessionRecord};

use crate::{
    kernel::header,
    output::{current_task, send},
};

/// What a record says, whatever can be read of the session.
#[derive(Clone, Copy)]
pub struct Told {
    /// Which moment.
    pub moment: LibraryMoment,
    /// The library's number for what went wrong; else 0.
    pub reason: u32,
    /// Alert from the peer; [`NO_DETAIL`] none.
    pub alert_received: u32,
    /// Alert to the peer; [`NO_DETAIL`] none.
    pub alert_sent: u32,
    /// GnuTLS's certificate status, else 0.
    pub verify_status: u32,
    /// Flags of the record.
    pub flags: u32,
}

impl Told {
    /// A moment about which there is no more to tell.
    #[inline(always)]
    pub fn new(moment: LibraryMoment) -> Self {
        Self {
            moment,
            reason: 0,
            alert_received: NO_DETAIL,
            alert_sent: NO_DETAIL,
            verify_status: 0,
            flags: 0,
        }
    }
}

/// A session, by its address and ClientHello.random, and the file its library is in.
#[derive(Clone, Copy)]
pub struct Session {
    /// Which library.
    pub library: SessionLibrary,
    /// Address of the object.
    pub address: u64,
    /// Attach cookie.
    pub file: u32,
    /// Cookie of its socket, 0 unknown.
    pub cookie: u64,
    /// ClientHello.random; zero where not known.
    pub random: [u64; 4],
}

/// Sends a record. `read` writes what it reads of the session; all of it is zero before.
#[inline(always)]
pub fn tell(session: Session, told: Told, read: impl FnOnce(&mut SessionRecord)) {
    send::<SessionRecord>(Lost::LIBRARY, |record| {
        record.header = header(session.cookie, Kind::SESSION, 0, 0, told.moment.0);
        current_task(&mut record.task);
        record.session = session.address;
        let words = record.random.as_chunks_mut::<8>().0.iter_mut();
        for (to, from) in words.zip(session.random) {
            *to = from.to_ne_bytes();
        }
        record.alpn = [0; 64];
        record.sample = [0; 128];
        record.fields = 0;
        record.library = session.library;
        record.reason = told.reason;
        record.alert_received = told.alert_received;
        record.alert_sent = told.alert_sent;
        record.version = 0;
        record.server = 0;
        record.resumed = 0;
        record.early_data = 0;
        record.verify_status = told.verify_status;
        record.alpn_length = 0;
        record.file = session.file;
        record.flags = told.flags;
        record.sample_length = 0;
        read(record);
    });
}
