//! What is hooked, and how it is let go.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use super::Slot;
use crate::{discover::library::FileId, probe::Link};

/// Detaching waits for the kernel, about 0.1 s for each link (`synchronize_rcu_tasks_trace()`), which takes none of
/// the CPU's time, and those that wait at once wait for the same: the more the better.
const DETACHING: usize = 512;
/// Bytes of stack for one that does nothing but wait.
const STACK: usize = 64 * 1024;

/// A hooked library. Dropping it detaches.
#[derive(Debug)]
#[expect(dead_code, reason = "only held, to be dropped in this order")]
pub(super) struct Hooked {
    /// Detached before the slot is another's.
    pub(super) links: Vec<Link>,
    pub(super) slot: Option<Slot>,
}

/// Libraries that are hooked, by file; none any more once it is closed. The end does not wait for the thread that
/// adds to it, which may be looking at a large file: links that are left to the end of the process are detached one
/// after the other.
#[derive(Debug)]
pub(super) struct Files(Mutex<Option<HashMap<FileId, Vec<Hooked>>>>);

impl Files {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Libraries that are hooked.
    pub(super) fn count(&self) -> usize {
        let files = self.lock();
        files.iter().flat_map(HashMap::values).map(Vec::len).sum()
    }

    pub(super) fn add(&self, id: FileId, hooked: Vec<Hooked>) {
        if hooked.is_empty() {
            return;
        }
        let left = match self.lock().as_mut() {
            Some(files) => files.insert(id, hooked).unwrap_or_default(),
            None => hooked,
        };
        detach(left);
    }

    pub(super) fn let_go(&self, id: FileId) {
        let hooked = self.lock().as_mut().and_then(|files| files.remove(&id));
        detach(hooked.unwrap_or_default());
    }

    pub(super) fn close(&self) {
        let files = self.lock().take();
        detach(
            files
                .into_iter()
                .flatten()
                .flat_map(|(_, hooked)| hooked)
                .collect(),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<FileId, Vec<Hooked>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Detaches everything at once.
fn detach(mut hooked: Vec<Hooked>) {
    let links = hooked.iter_mut().flat_map(|one| one.links.drain(..));
    let links: Vec<_> = links.collect();
    let mut waiting: Vec<Vec<Link>> = Vec::new();
    waiting.resize_with(DETACHING.min(links.len()), Vec::new);
    for (number, link) in links.into_iter().enumerate() {
        let waiters = waiting.len();
        waiting[number % waiters].push(link);
    }
    thread::scope(|scope| {
        for links in waiting {
            // Without a thread the links are dropped here.
            let waiter = thread::Builder::new().stack_size(STACK);
            let _ = waiter.spawn_scoped(scope, move || drop(links));
        }
    });
}
