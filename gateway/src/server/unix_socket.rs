//! A listening socket in the file system. Who may open the file may ask, so from its first moment on nobody but its owner may.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

/// The owner alone.
pub const MODE: u32 = 0o600;

/// A socket that listens; its file goes with it.
#[derive(Debug)]
pub struct UnixSocket {
    pub listener: OwnedFd,
    pub file: SocketFile,
}

/// The file of a socket, removed when this is dropped, unless another socket has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    made: (u64, u64),
}

/// Why there is no such socket.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    #[error("another process listens at {}", .0.display())]
    Taken(PathBuf),
    #[error("{} is no socket, and is left alone", .0.display())]
    NoSocket(PathBuf),
    #[error("a socket at {}: {cause}", .path.display())]
    Unusable { path: PathBuf, cause: io::Error },
}

impl UnixSocket {
    /// In the place of one whose process has ended.
    pub fn open(path: &Path) -> Result<Self, UnixSocketError> {
        remove_stale(path)?;
        let unusable = |cause| UnixSocketError::Unusable { path: path.to_owned(), cause };
        let listener = listening(path).map_err(|error| unusable(error.into()))?;
        let file = SocketFile { path: path.to_owned(), made: identity(path).map_err(unusable)? };
        Ok(Self { listener, file })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.made) {
            // Who starts next finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn listening(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = new_socket()?;
    // Linux gives the file the mode of the socket, less the umask: set afterwards, it would be open to others for a moment.
    fchmod(&socket, Mode::from_raw_mode(MODE))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn remove_stale(path: &Path) -> Result<(), UnixSocketError> {
    let unusable = |cause: io::Error| UnixSocketError::Unusable { path: path.to_owned(), cause };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
        Ok(about) if !about.file_type().is_socket() => return Err(UnixSocketError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match knock(path) {
        // A queue that is full is somebody's too.
        Ok(()) | Err(Errno::AGAIN) => Err(UnixSocketError::Taken(path.to_owned())),
        // Nobody holds it any more.
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(unusable),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(unusable(error.into())),
    }
}

/// Whether somebody listens there, without waiting for anybody.
fn knock(path: &Path) -> Result<(), Errno> {
    connect(&new_socket()?, &SocketAddrUnix::new(path)?)
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|about| (about.dev(), about.ino()))
}

/// Connections that wait to be accepted. Operators are few.
const BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sallyport-socket-{name}-{}", std::process::id()));
        // Of a run before, if any.
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn only_the_owner_may_open_it_and_it_goes_with_its_process() {
        let path = place("own");
        let socket = UnixSocket::open(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_lives_is_refused_and_a_dead_one_replaced() {
        let path = place("taken");
        let living = UnixListener::bind(&path).unwrap();
        assert!(matches!(UnixSocket::open(&path), Err(UnixSocketError::Taken(_))));
        UnixStream::connect(&path).unwrap();
        drop(living);
        assert!(path.exists(), "its file is still there");
        UnixSocket::open(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let path = place("file");
        fs::write(&path, "kept").unwrap();
        assert!(matches!(UnixSocket::open(&path), Err(UnixSocketError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_next_ones_file_is_not_removed() {
        let path = place("next");
        let first = UnixSocket::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = UnixSocket::open(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }
}
