//! nsqd's HTTP API, one connection per request: enough for /stats and for making and deleting channels.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);

/// GET, as JSON.
///
/// # Errors
/// No answer, or none that is JSON.
pub fn get_json(address: SocketAddr, target: &str) -> Result<Value> {
    let body = request(address, "GET", target)?;
    serde_json::from_slice(&body).with_context(|| format!("GET {target} gave no JSON"))
}

/// POST without a body.
///
/// # Errors
/// No answer, or not 200.
pub fn post(address: SocketAddr, target: &str) -> Result<()> {
    request(address, "POST", target).map(|_| ())
}

fn request(address: SocketAddr, method: &str, target: &str) -> Result<Vec<u8>> {
    let about = || format!("{method} {target} at {address}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(about)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).with_context(about)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(about)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").with_context(about)?;
    let (head, body) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head);
    if head.split(' ').nth(1) != Some("200") {
        bail!("{}: {}", about(), head.lines().next().unwrap_or_default());
    }
    Ok(body.get(4..).unwrap_or_default().to_vec())
}
