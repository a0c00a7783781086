//! Hooks the TLS libraries that [`crate::discover::library`] finds, for all processes that use them.
//!
//! One family of libraries is one eBPF object, one [`Hooker`], rows in [`crate::probe::HOOKS`] and one
//! decoder of its records.

mod boringssl;
mod gnutls;
mod go;
mod hooked;
mod openssl;

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{Array, MapData};
use tls_trace_common::LIBRARY_FILES;

use crate::{
    discover::library::{Coverages, FileId, Finder, Observer},
    inspect::{Coverage, Family, Inspection, Library, Reason},
    probe::{AttachedObject, Link, Object},
};

use boringssl::Boringssl;
use gnutls::Gnutls;
use go::Go;
use hooked::{Files, Hooked};
use openssl::Openssl;

/// Finds and hooks, on a thread of its own. Dropping it detaches everything.
#[derive(Debug)]
pub(super) struct Libraries {
    finder: Finder,
    files: Arc<Files>,
}

impl Libraries {
    /// Hooks the libraries of the system, then starts looking for others.
    ///
    /// # Errors
    /// No thread can be made.
    pub(super) fn start(objects: Vec<AttachedObject>) -> io::Result<Self> {
        let files = Arc::new(Files::new());
        let hooks = Hooks {
            hookers: hookers(objects),
            files: Arc::clone(&files),
        };
        Ok(Self {
            finder: Finder::start(Box::new(hooks))?,
            files,
        })
    }

    /// A process uses TCP: it may have a library that is not hooked yet.
    pub(super) fn look_at(&mut self, pid: u32) {
        self.finder.look_at(pid);
    }

    /// Libraries that are hooked.
    pub(super) fn hooked(&self) -> u64 {
        self.files.count() as u64
    }

    /// Which processes have libraries that are hooked.
    pub(super) fn coverages(&self) -> Coverages {
        self.finder.coverages()
    }
}

impl Drop for Libraries {
    fn drop(&mut self) {
        self.files.close();
    }
}

/// One family of libraries: an eBPF object, what it is told of each file, and the functions it is
/// attached to.
trait Hooker: Send {
    /// Hooks a library in a file; `None` if it is of another family.
    fn hook(&mut self, file: &File, library: &Library) -> Option<Result<Hooked, NotHooked>>;
}

/// Why a library is not hooked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotHooked(String);

impl NotHooked {
    fn because(error: impl std::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// The hookers of the families whose objects are loaded.
fn hookers(objects: Vec<AttachedObject>) -> Vec<Box<dyn Hooker>> {
    let hooker = |object: AttachedObject| -> Option<Result<Box<dyn Hooker>, NotHooked>> {
        Some(match object.object {
            Object::Openssl => Openssl::new(object).map(|hooker| Box::new(hooker) as _),
            Object::Go => Go::new(object).map(|hooker| Box::new(hooker) as _),
            Object::Gnutls => Gnutls::new(object).map(|hooker| Box::new(hooker) as _),
            Object::Boringssl => Boringssl::new(object).map(|hooker| Box::new(hooker) as _),
            Object::Tcp | Object::TcpKprobe | Object::Wire => return None,
        })
    };
    let made = objects.into_iter().filter_map(hooker);
    let made = made.map(|made| {
        made.map_err(|error| tracing::error!(%error, "a family of TLS libraries is not hooked"))
    });
    made.filter_map(Result::ok).collect()
}

/// All that is hooked.
struct Hooks {
    hookers: Vec<Box<dyn Hooker>>,
    files: Arc<Files>,
}

impl Observer for Hooks {
    fn found(&mut self, id: FileId, file: &File, inspection: Inspection) -> Coverage {
        let mut by = Vec::new();
        let mut hooks = Vec::new();
        for library in &inspection.libraries {
            if self.files.is_closed() {
                break;
            }
            // What names do not vouch for must be what it was, to the last moment.
            let found = inspection.stripped.as_ref();
            let found = found.filter(|found| found.family == library.family);
            let is_changed = found.is_some_and(|found| !found.is_still_in(file));
            let hooked = if is_changed {
                let changed = "it was changed after it was looked at";
                Some(Err(NotHooked(changed.to_owned())))
            } else {
                hook(&mut self.hookers, file, library)
            };
            match hooked {
                Some(Ok(hooked)) => {
                    tracing::debug!(?id, family = library.family.label(), "hooked");
                    hooks.push(hooked);
                    by.push(library.family);
                }
                Some(Err(reason)) => {
                    let family = library.family.label();
                    tracing::warn!(?id, family, %reason, "a TLS library is not hooked");
                }
                None => {}
            }
        }
        self.files.add(id, hooks);
        covered(inspection.coverage, &by)
    }

    fn gone(&mut self, id: FileId) {
        self.files.let_go(id);
    }
}

fn hook(
    hookers: &mut [Box<dyn Hooker>],
    file: &File,
    library: &Library,
) -> Option<Result<Hooked, NotHooked>> {
    let mut hookers = hookers.iter_mut();
    hookers.find_map(|hooker| hooker.hook(file, library))
}

/// What of a file is covered when only these families are hooked.
fn covered(possible: Coverage, hooked: &[Family]) -> Coverage {
    let Coverage::Covered { mut by, except } = possible else {
        return possible;
    };
    by.retain(|family| hooked.contains(family));
    if by.is_empty() {
        let why = vec![Reason::NotHooked];
        return Coverage::WireOnly { why };
    }
    Coverage::Covered { by, except }
}

/// Takes a map with an entry for each file.
fn table<T: aya::Pod>(
    object: &mut AttachedObject,
    name: &str,
) -> Result<Array<MapData, T>, NotHooked> {
    let table = object.ebpf.take_map(name);
    let table = table.ok_or_else(|| NotHooked(format!("there is no map '{name}'")))?;
    Array::try_from(table).map_err(NotHooked::because)
}

/// Attaches programs to functions of a library: all of them or none.
fn attach(
    object: &mut AttachedObject,
    file: &File,
    library: &Library,
    places: &[(&'static str, &'static str)],
    cookie: u64,
) -> Result<Vec<Link>, NotHooked> {
    let mut links = Vec::new();
    for (program, function) in places {
        let place = library
            .place(function)
            .ok_or_else(|| NotHooked(format!("{function} cannot be located")))?;
        let attached = object
            .attach_uprobe(program, file, place.offset, cookie)
            .map_err(|error| NotHooked(format!("{function}: {error}")))?;
        links.extend(attached);
    }
    Ok(links)
}

/// Attaches programs to functions of a library and to their copies, as far as there are any.
fn attach_all(
    object: &mut AttachedObject,
    file: &File,
    library: &Library,
    programs: impl Iterator<Item = (&'static str, &'static str)>,
    cookie: u64,
) -> Result<Vec<Link>, NotHooked> {
    let mut links = Vec::new();
    for (program, function) in programs {
        let places = library.places(function);
        let places: Vec<_> = places.map(|place| (place.offset, cookie)).collect();
        if places.is_empty() {
            continue;
        }
        let attached = object.attach_uprobes(program, file, &places);
        links.extend(attached.map_err(|error| NotHooked(format!("{function}: {error}")))?);
    }
    Ok(links)
}

/// Entries of a map with one entry for each file.
#[derive(Clone, Debug, Default)]
struct Slots(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    free: Vec<u32>,
    /// This and those after it were never used.
    next: u32,
}

/// An entry in use.
#[derive(Debug)]
struct Slot {
    entry: u32,
    slots: Slots,
}

impl Slots {
    /// An entry that is not in use.
    fn take(&self) -> Result<Slot, NotHooked> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.free.pop() {
            Some(entry) => entry,
            None if entries.next < LIBRARY_FILES => {
                entries.next += 1;
                entries.next - 1
            }
            None => {
                let full = format!("{LIBRARY_FILES} files are hooked already");
                return Err(NotHooked(full));
            }
        };
        let slots = self.clone();
        Ok(Slot { entry, slots })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let entries = &self.slots.0;
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.free.push(self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Finding, Member, Offsets};

    /// A library whose members are there; of `ssl.server` also which bit it is.
    pub(super) fn library(family: Family, members: &[(&'static str, &[u32])]) -> Library {
        let members = members.iter().map(|(name, path)| Member {
            name,
            finding: Finding::Binary(Offsets {
                path: path.to_vec(),
                width: 4,
                bits: (*name == "ssl.server").then_some((9, 1)),
            }),
        });
        Library {
            family,
            version: None,
            hooks: Vec::new(),
            members: members.collect(),
            itabs: Vec::new(),
        }
    }

    #[test]
    fn entries_are_used_again() {
        let slots = Slots::default();
        let (first, second) = (slots.take().unwrap(), slots.take().unwrap());
        assert_eq!((first.entry, second.entry), (0, 1));
        drop(first);
        assert_eq!(slots.take().unwrap().entry, 0);
        let all: Vec<_> = std::iter::from_fn(|| slots.take().ok()).collect();
        assert_eq!(all.len(), LIBRARY_FILES as usize - 1);
    }

    #[test]
    fn what_is_not_hooked_is_not_covered() {
        let by = vec![Family::OpensslSsl, Family::Go];
        let except = Vec::new();
        let possible = Coverage::Covered { by, except };
        let some = covered(possible.clone(), &[Family::OpensslSsl]);
        let by = vec![Family::OpensslSsl];
        let except = Vec::new();
        assert_eq!(some, Coverage::Covered { by, except });
        let why = vec![Reason::NotHooked];
        assert_eq!(covered(possible, &[]), Coverage::WireOnly { why });
        assert_eq!(covered(Coverage::NoTls, &[]), Coverage::NoTls);
    }
}
