//! A door between an operator and its API server, which shuts at a write: just before the server would have got it, or
//! when it has done it and the operator does not know. An operator that is killed then was killed at that write.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::waiting::eventually;

/// When the door shuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shuts {
    /// The write is done, and nobody hears so.
    After,
    /// It does not reach the server.
    Before,
}

/// Leases and events are not among what counts as a write: nothing is built of them.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: SocketAddr,
    state: Mutex<State>,
    is_shut: AtomicBool,
}

#[derive(Debug)]
struct State {
    shuts: Shuts,
    /// So many writes are still passed on; none at all means that it stays open.
    left: Option<u32>,
    /// The write at which it shut last.
    last: String,
}

impl Door {
    /// An open door before `server`.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no door: {error}"));
        let address = listener.local_addr().unwrap_or(server);
        let state = Mutex::new(State { shuts: Shuts::After, left: None, last: String::new() });
        let inner = Arc::new(Inner { server, state, is_shut: AtomicBool::new(false) });
        let shared = Arc::clone(&inner);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let inner = Arc::clone(&shared);
                std::thread::spawn(move || inner.serve(&client));
            }
        });
        Self { address, inner }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens it for a new operator; it shuts at its write number `at`, counted from 0.
    pub fn open(&self, shuts: Shuts, at: u32) {
        *self.inner.state() = State { shuts, left: Some(at), last: String::new() };
        self.inner.is_shut.store(false, Ordering::SeqCst);
    }

    /// The write at which it shut, if it has.
    pub fn shut_at(&self) -> Option<String> {
        self.inner.is_shut.load(Ordering::SeqCst).then(|| self.inner.state().last.clone())
    }
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection. Whatever goes wrong with it, its client sees a closed one.
    fn serve(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = self.pass_answers(&server, client, &answered);
                let _ = client.shutdown(Shutdown::Both);
            });
            let _ = self.pass_requests(client, &server, &answered);
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
        });
    }

    fn pass_answers(
        &self,
        mut server: &TcpStream,
        mut client: &TcpStream,
        count: &AtomicU64,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = server.read(&mut buffer)?;
            count.fetch_add(read as u64, Ordering::SeqCst);
            if read == 0 || self.is_shut.load(Ordering::SeqCst) {
                return Ok(());
            }
            client.write_all(buffer.get(..read).unwrap_or_default())?;
        }
    }

    fn pass_requests(
        &self,
        client: &TcpStream,
        mut server: &TcpStream,
        answered: &AtomicU64,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(client);
        while let Some(request) = read_request(&mut reader)? {
            let before = answered.load(Ordering::SeqCst);
            match self.judge(&request.line) {
                Verdict::Pass => server.write_all(&request.bytes)?,
                Verdict::Shut => return Ok(()),
                Verdict::PassAndShut => {
                    server.write_all(&request.bytes)?;
                    eventually("the API server answers", || answered.load(Ordering::SeqCst) > before);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Shutting is decided under the lock, so that of two writes at once only one is the one it shuts at.
    fn judge(&self, line: &str) -> Verdict {
        let mut state = self.state();
        if self.is_shut.load(Ordering::SeqCst) {
            return Verdict::Shut;
        }
        let Some(left) = state.left.filter(|_| is_write(line)) else { return Verdict::Pass };
        if left > 0 {
            state.left = Some(left - 1);
            return Verdict::Pass;
        }
        line.clone_into(&mut state.last);
        self.is_shut.store(true, Ordering::SeqCst);
        match state.shuts {
            Shuts::After => Verdict::PassAndShut,
            Shuts::Before => Verdict::Shut,
        }
    }
}

enum Verdict {
    Pass,
    PassAndShut,
    Shut,
}

fn is_write(line: &str) -> bool {
    let is_change = ["POST ", "PUT ", "PATCH ", "DELETE "].iter().any(|method| line.starts_with(method));
    is_change && !line.contains("/leases") && !line.contains("/events")
}

struct Request {
    line: String,
    bytes: Vec<u8>,
}

/// One request with its whole body; `None` at the end.
fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let line = read_line(reader, &mut bytes)?;
    if line.is_empty() {
        return Ok(None);
    }
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let header = read_line(reader, &mut bytes)?.to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("transfer-encoding", _)) => is_chunked = true,
            Some(_) => {}
            None => break,
        }
    }
    while is_chunked {
        let size = read_line(reader, &mut bytes)?;
        length = usize::from_str_radix(&size, 16).unwrap_or(0);
        is_chunked = length > 0;
        // A chunk ends with an end of line, as the last one does.
        read_bytes(reader, &mut bytes, length + 2)?;
        length = 0;
    }
    read_bytes(reader, &mut bytes, length)?;
    Ok(Some(Request { line, bytes }))
}

fn read_line(reader: &mut BufReader<&TcpStream>, bytes: &mut Vec<u8>) -> std::io::Result<String> {
    let from = bytes.len();
    reader.read_until(b'\n', bytes)?;
    Ok(String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).trim_end().to_owned())
}

fn read_bytes(reader: &mut BufReader<&TcpStream>, bytes: &mut Vec<u8>, count: usize) -> std::io::Result<()> {
    let mut read = vec![0; count];
    reader.read_exact(&mut read)?;
    bytes.extend_from_slice(&read);
    Ok(())
}
