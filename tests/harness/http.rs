//! One HTTP request over one connection, as a person with curl would send it. No keep-alive, no TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::waiting::PATIENCE;

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, as bytes: it need not be text.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text, with a mark where it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// This reply, if it is a success.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }
}

/// Send a request and wait for the whole reply.
///
/// # Panics
/// When there is none, or it is not HTTP.
#[track_caller]
pub fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Reply {
    match exchange(address, method, target, "", body) {
        Ok(reply) => reply,
        Err(error) => panic!("{method} {target} at {address}: {error}"),
    }
}

/// The same of a server that may be gone.
///
/// # Errors
/// There is no reply, or it is not HTTP.
pub fn try_request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> std::io::Result<Reply> {
    exchange(address, method, target, "", body)
}

/// The same by somebody who shows this token.
///
/// # Panics
/// When there is no reply, or it is not HTTP.
#[track_caller]
pub fn request_bearing(address: SocketAddr, token: &str, method: &str, target: &str, body: &[u8]) -> Reply {
    match exchange(address, method, target, &format!("Authorization: Bearer {token}\r\n"), body) {
        Ok(reply) => reply,
        Err(error) => panic!("{method} {target} at {address}: {error}"),
    }
}

/// The same as part of a trace.
///
/// # Panics
/// When there is no reply, or it is not HTTP.
#[track_caller]
pub fn request_traced(address: SocketAddr, context: &str, method: &str, target: &str, body: &[u8]) -> Reply {
    match exchange(address, method, target, &format!("traceparent: {context}\r\n"), body) {
        Ok(reply) => reply,
        Err(error) => panic!("{method} {target} at {address}: {error}"),
    }
}

/// A list in a JSON object; empty when it is null or missing.
pub(crate) fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    // A server that refuses a body by its length may close before it was sent; its answer still counts.
    let sent = stream.write_all(body);
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes).and(sent)
        && bytes.is_empty()
    {
        return Err(error);
    }
    parse(&bytes).ok_or_else(|| {
        let start =
            String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default()).into_owned();
        std::io::Error::other(format!("not an HTTP reply: {start:?}"))
    })
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes.get(end + 4..)?;
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if is_chunked { joined(body)? } else { body.to_vec() };
    Some(Reply { status, headers, body })
}

/// The content of a chunked body.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(rest.get(..end)?).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
