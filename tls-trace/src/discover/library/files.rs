//! What is in files, remembered: a file is inspected once, as long as it does not change.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hashlink::LruCache;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::{
    Observer, Shared,
    mapping::{self, Key, Mapping},
};
use crate::inspect::{self, Coverage, Error, Reason};

/// Files remembered.
const MOST: usize = 16_384;
/// An inode may become another file's: this is how long the number of one without TLS is trusted.
const TRUSTED: Duration = Duration::from_secs(1);

/// A version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// 0 on overlayfs: containers of one image have a file in common, each on a device of its own.
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of `st_mtim`, then of `st_ctim`.
    changed: [i64; 4],
}

impl FileId {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        let is_overlay =
            statfs(path).is_ok_and(|found| found.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        Self {
            device: if is_overlay { 0 } else { metadata.dev() },
            inode: metadata.ino(),
            size: metadata.size(),
            changed: [
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            ],
        }
    }

    /// The same for all versions of the file.
    fn inode(self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The file; None: it could not even be found.
    pub id: Option<FileId>,
    /// Whether probes explain its connections.
    pub coverage: Coverage,
    /// The observer was told.
    pub told: bool,
}

/// Files met so far.
pub struct Files {
    by_key: LruCache<Key, (Instant, Arc<Known>)>,
    others: LruCache<FileId, Arc<Known>>,
    /// What the observer was told of, by device and inode.
    told: HashMap<(u64, u64), Arc<Known>>,
    /// Files that stay known without a user, as long as they are where they were found.
    kept: HashMap<FileId, PathBuf>,
    observer: Box<dyn Observer>,
    shared: Arc<Shared>,
}

impl Files {
    /// None so far; errors are counted in `shared`.
    pub fn new(observer: Box<dyn Observer>, shared: Arc<Shared>) -> Self {
        Self {
            by_key: LruCache::new(MOST),
            others: LruCache::new(MOST),
            told: HashMap::new(),
            kept: HashMap::new(),
            observer,
            shared,
        }
    }

    /// What is in a file that a process has mapped. None: the process is gone, nobody will know.
    pub fn mapped(&mut self, pid: u32, mapping: &Mapping) -> Option<Arc<Known>> {
        let now = Instant::now();
        // The others are looked at each time: where their fields are depends on it.
        if let Some((at, known)) = self.by_key.get(&mapping.key)
            && !known.told
            && now.duration_since(*at) < TRUSTED
        {
            return Some(Arc::clone(known));
        }
        let known = if mapping::is_served_by_a_process(pid, mapping.key) {
            self.unreadable("fuse", None)
        } else {
            match mapping.locate(pid) {
                Ok(path) => self.at(&path),
                Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => return None,
                Err(error) => {
                    let path = mapping.path.escape_ascii();
                    tracing::debug!(pid, %path, %error, "not found");
                    self.unreadable("io", None)
                }
            }
        };
        self.by_key.insert(mapping.key, (now, Arc::clone(&known)));
        Some(known)
    }

    /// What is in the file at a path.
    pub fn at(&mut self, path: &Path) -> Arc<Known> {
        let Ok(metadata) = fs::metadata(path) else {
            return self.unreadable("io", None);
        };
        let id = FileId::new(path, &metadata);
        if let Some(known) = self.others.get(&id) {
            return Arc::clone(known);
        }
        match self.told.get(&id.inode()) {
            Some(known) if known.id == Some(id) => return Arc::clone(known),
            Some(_) => self.forget(id),
            None => {}
        }
        let known = if metadata.is_file() {
            match mapping::open(path) {
                Ok(file) => self.inspect(id, &file),
                Err(_) => self.unreadable("io", Some(id)),
            }
        } else {
            // Whatever a device maps, opening it could do anything.
            not_told(id, Coverage::NoTls)
        };
        if known.told {
            self.told.insert(id.inode(), Arc::clone(&known));
        } else {
            self.others.insert(id, Arc::clone(&known));
        }
        known
    }

    fn inspect(&mut self, id: FileId, file: &File) -> Arc<Known> {
        match inspect::inspect(file) {
            Ok(inspection) if inspection.libraries.is_empty() || self.told.len() >= MOST => {
                not_told(id, inspection.coverage)
            }
            Ok(inspection) => Arc::new(Known {
                id: Some(id),
                coverage: self.observer.found(id, file, inspection),
                told: true,
            }),
            // A script, a font, a table: mapped as code by whoever likes to.
            Err(Error::NotElf) => not_told(id, Coverage::NoTls),
            Err(error) => {
                tracing::debug!(?id, %error, "not inspected");
                self.unreadable(error.label(), Some(id))
            }
        }
    }

    fn unreadable(&self, error: &'static str, id: Option<FileId>) -> Arc<Known> {
        self.shared.count_error(error);
        let why = vec![Reason::Unreadable];
        Arc::new(Known {
            id,
            coverage: Coverage::WireOnly { why },
            told: false,
        })
    }

    /// Forgets all versions of a file that the observer was told of.
    pub fn forget(&mut self, id: FileId) {
        if let Some(known) = self.told.remove(&id.inode())
            && let Some(id) = known.id
        {
            self.by_key.retain(|_, (_, known)| known.id != Some(id));
            self.observer.gone(id);
        }
    }

    /// What is in the file at a path, which may be used at any time.
    pub fn keep(&mut self, path: PathBuf) -> Arc<Known> {
        let known = self.at(&path);
        if let Some(id) = known.id.filter(|_| known.told) {
            self.kept.insert(id, path);
        }
        known
    }

    /// Files that the observer was told of, to be forgotten when they have no user.
    pub fn released(&mut self) -> impl Iterator<Item = FileId> {
        // One that was replaced by a newer version would keep its disk space.
        self.kept.retain(|id, path| {
            let now = fs::metadata(&*path).ok();
            now.is_some_and(|now| FileId::new(path, &now) == *id)
        });
        let ids = self.told.values().filter_map(|known| known.id);
        ids.filter(|id| !self.kept.contains_key(id))
    }
}

fn not_told(id: FileId, coverage: Coverage) -> Arc<Known> {
    Arc::new(Known {
        id: Some(id),
        coverage,
        told: false,
    })
}
