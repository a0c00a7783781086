//! Taking the socket's path: from nobody, from a dead daemon, never from a live one.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Why the path cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon lives there.
    #[error("a tls-trace already runs and answers on {}: read from it with `tls-trace tail`, or give this one its own --socket and --metrics", .0.display())]
    Running(PathBuf),
    /// Another program listens there.
    #[error("another program listens on {}: choose another path with --socket", .0.display())]
    Foreign(PathBuf),
    /// A file that is no socket is there.
    #[error("{} is there and is not a socket: remove it, or choose another path with --socket", .0.display())]
    NotASocket(PathBuf),
    /// Some other reason.
    #[error("cannot listen on {}: {error}; choose another path with --socket, or --socket off", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A socket that is ours for as long as this lives; its path goes away with it.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// Held while the daemon lives, so that two that start at once cannot both find the path free.
    _lock: Flock<File>,
}

impl Bound {
    /// Takes `path`, with mode 0660.
    pub fn new(path: &Path) -> Result<(Self, UnixListener), BindError> {
        let io = |error| BindError::Io {
            path: path.to_owned(),
            error,
        };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(with_suffix(path, ".lock"))
            .map_err(io)?;
        let lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Err(BindError::Running(path.to_owned())),
            Err((_, errno)) => return Err(io(errno.into())),
        };
        refuse_occupied(path)?;
        let listener = replace(path).map_err(io)?;
        let bound = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        Ok((bound, listener))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Only a socket that nobody listens on may be replaced.
fn refuse_occupied(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Foreign(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Binds beside the path and moves it there: readers find the old socket or the finished new one.
fn replace(path: &Path) -> io::Result<UnixListener> {
    let new = with_suffix(path, ".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_daemon_keeps_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (first, _listener) = Bound::new(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(Bound::new(&path), Err(BindError::Running(_))));
        UnixStream::connect(&path).unwrap();
        drop(first);
        assert!(!path.exists());
        Bound::new(&path).unwrap();
    }

    #[test]
    fn the_socket_of_a_dead_daemon_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let (_bound, _listener) = Bound::new(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn other_peoples_paths_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let foreign = UnixListener::bind(&path).unwrap();
        assert!(matches!(Bound::new(&path), Err(BindError::Foreign(_))));
        drop(foreign);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Bound::new(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let nowhere = folder.path().join("no/such/folder/s");
        let error = Bound::new(&nowhere).unwrap_err();
        // As main prints it: with its causes.
        let sentence = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(sentence.matches("No such file or directory").count(), 1);
    }
}
