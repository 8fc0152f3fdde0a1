//! Listening on a path of the file system. A file that a killed process left is replaced; one that somebody
//! serves, or that is no socket, is not touched.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::{ListenError, widen};

/// Is this address a path? It is if it has a slash: `./nsqd.sock` in the current folder.
// nsqd: whatever is not `HOST:PORT` is a path, so that a forgotten port makes a file.
pub fn is_path(address: &str) -> bool {
    address.contains('/')
}

/// Listens on `path`. The file is removed when the guard is dropped. `flag` is the option's name without
/// dashes, for the error.
///
/// # Errors
/// Somebody serves that path, something else is there, or the folder does not take files.
pub fn bind_unix(path: &str, flag: &'static str) -> Result<(UnixListener, SocketFile), ListenError> {
    let bound = remove_stale(Path::new(path)).and_then(|()| UnixListener::bind(path)).and_then(|listener| {
        widen(&listener)?;
        let file = SocketFile { path: PathBuf::from(path), inode: std::fs::metadata(path)?.ino() };
        Ok((listener, file))
    });
    bound.map_err(|source| ListenError { address: path.to_owned(), flag, source })
}

/// The file of a unix socket, gone when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own in the meantime.
        let is_ours = std::fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a socket's file was left behind");
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file that is no socket; remove it or choose another path",
        ));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("listen-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[tokio::test]
    async fn a_file_that_nobody_serves_is_replaced_and_removed_at_the_end() {
        let folder = folder("stale");
        let path = folder.join("s.sock");
        let text = path.to_str().expect("a path");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "the listener of a killed process leaves its file");
        let (listener, file) = bind_unix(text, "tcp-address").expect("the stale one is replaced");
        let taken = bind_unix(text, "tcp-address").expect_err("it is served").to_string();
        assert!(taken.contains("address already in use") && taken.contains("--tcp-address"), "{taken}");
        drop((listener, file));
        assert!(!path.exists());
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_not_touched() {
        let folder = folder("file");
        let path = folder.join("notes.txt");
        std::fs::write(&path, "keep").expect("a file");
        let error =
            bind_unix(path.to_str().expect("a path"), "tcp-address").expect_err("no socket").to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(std::fs::read(&path).expect("still there"), b"keep");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
