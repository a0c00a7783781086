//! Paths of cgroups by their id. The kernel names a cgroup by the inode of its directory in the
//! cgroup v2 tree, unique since boot; people know it by its path, which names the container.

use std::{
    fs,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hashlink::LruCache;
use procfs::process::Process;

/// Paths remembered at most.
const CACHE: usize = 16_384;
/// Directories read in one walk at most.
const WALK: usize = 65_536;
/// A cgroup that is gone cannot be found; this is how often it is worth trying.
const BETWEEN_WALKS: Duration = Duration::from_secs(1);

/// Finds and remembers the paths of cgroups.
#[derive(Debug)]
pub struct Cgroups {
    root: Option<PathBuf>,
    /// None: looked for and not found.
    paths: LruCache<u64, Option<Arc<str>>>,
    walked: Option<Instant>,
}

impl Cgroups {
    /// Looks below `root`, the root of cgroup v2; without one no cgroup has a path.
    #[must_use]
    pub fn new(root: Option<PathBuf>) -> Self {
        Self {
            root,
            paths: LruCache::new(CACHE),
            walked: None,
        }
    }

    /// Path of a cgroup from the root of cgroup v2, `/system.slice/nginx.service`. `pid`, a process
    /// that may be in it, makes the search short.
    pub fn path(&mut self, id: u64, pid: u32) -> Option<Arc<str>> {
        let may_walk = self
            .walked
            .is_none_or(|walked| walked.elapsed() >= BETWEEN_WALKS);
        match self.paths.get(&id) {
            Some(None) if may_walk => {}
            Some(path) => return path.clone(),
            None => {}
        }
        let root = self.root.as_deref()?;
        self.paths.insert(id, None);
        if let Some((found, path)) = of_process(root, pid)
            && found == id
        {
            self.paths.insert(id, Some(path.into()));
        } else if may_walk {
            self.walked = Some(Instant::now());
            walk(root, &mut self.paths);
        }
        self.paths.get(&id).cloned().flatten()
    }
}

/// Id and path of the cgroup a process is in now.
#[must_use]
pub fn of_process(root: &Path, pid: u32) -> Option<(u64, String)> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    // cgroups(7): hierarchy 0 is cgroup v2.
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let id = fs::metadata(root.join(path.trim_start_matches('/')))
        .ok()?
        .ino();
    Some((id, path.to_owned()))
}

/// A path that a user gives as the root of cgroup v2.
///
/// # Errors
/// It is not a directory of cgroup v2.
pub fn parse_root(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    // Every directory of cgroup v2 has this file.
    if path.join("cgroup.controllers").exists() {
        Ok(path)
    } else {
        Err("it is not a directory of cgroup v2".to_owned())
    }
}

/// Where cgroup v2 is mounted.
#[must_use]
pub fn mount() -> Option<PathBuf> {
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    let mut mounts = mounts.into_iter();
    mounts
        .find(|mount| mount.fs_type == "cgroup2")
        .map(|mount| mount.mount_point)
}

fn walk(root: &Path, paths: &mut LruCache<u64, Option<Arc<str>>>) {
    if let Ok(metadata) = fs::metadata(root) {
        paths.insert(metadata.ino(), Some("/".into()));
    }
    let mut directories = vec![root.to_owned()];
    let mut left = WALK;
    while let Some(directory) = directories.pop() {
        // Cgroups come and go while this reads them.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if left == 0 {
                return;
            }
            left -= 1;
            let path = entry.path();
            if let Ok(below) = path.strip_prefix(root) {
                let path = format!("/{}", below.display());
                paths.insert(entry.ino(), Some(path.into()));
            }
            directories.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_cgroups_are_found_and_old_ones_remembered() {
        let root = tempfile::tempdir().unwrap();
        let old = root.path().join("system.slice/nginx.service");
        fs::create_dir_all(&old).unwrap();
        let id = |path: &Path| fs::metadata(path).unwrap().ino();
        let old_id = id(&old);
        let mut cgroups = Cgroups::new(Some(root.path().to_owned()));
        let path = cgroups.path(old_id, 0);
        assert_eq!(path.as_deref(), Some("/system.slice/nginx.service"));
        assert_eq!(cgroups.path(id(root.path()), 0).as_deref(), Some("/"));

        let new = root.path().join("new");
        fs::create_dir(&new).unwrap();
        fs::remove_dir(&old).unwrap();
        assert!(cgroups.path(old_id, 0).is_some());
        assert_eq!(cgroups.path(id(&new), 0), None, "one walk a second");
        cgroups.walked = None;
        assert_eq!(cgroups.path(id(&new), 0).as_deref(), Some("/new"));
    }

    #[test]
    fn without_cgroup_v2_nothing_has_a_path() {
        assert_eq!(Cgroups::new(None).path(1, std::process::id()), None);
    }
}
