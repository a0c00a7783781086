//! Shares equal values: the connections of one program have the same name, server and protocols.

use std::{borrow::Borrow, hash::Hash, sync::Arc};

use hashlink::LruCache;

/// Values remembered; one that was forgotten lives on where it is used.
const CAPACITY: usize = 1024;

#[derive(Debug)]
pub(super) struct Interner<T: ?Sized + Hash + Eq> {
    known: LruCache<Arc<T>, Arc<T>>,
}

impl<T: ?Sized + Hash + Eq> Interner<T> {
    pub(super) fn new() -> Self {
        Self {
            known: LruCache::new(CAPACITY),
        }
    }

    /// The shared copy of a value; `make` makes it when there is none.
    pub(super) fn share(&mut self, value: &T, make: impl FnOnce() -> Arc<T>) -> Arc<T>
    where
        Arc<T>: Borrow<T>,
    {
        if let Some(known) = self.known.get(value) {
            return Arc::clone(known);
        }
        let shared = make();
        self.known.insert(Arc::clone(&shared), Arc::clone(&shared));
        shared
    }
}
