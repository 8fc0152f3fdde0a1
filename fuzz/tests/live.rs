//! Mutated input thrown at daemons that run: afterwards they still answer others, and hold no more than they should.
//! What the answers must be is the corpus' matter; here they are read and let go.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use fuzz::{Target, garbage};
use harness::{Lookupd, Nsqd};

/// Connections to each daemon: some seconds.
const CONNECTIONS: usize = 2000;

const THREADS: usize = 4;

/// What garbage may cost a daemon. Its topics stay, with what was published by chance.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

#[test]
fn nsqd_serves_others_while_and_after_garbage_is_thrown_at_it() {
    let mut nsqd = Nsqd::with(&["--max-creation-rate=0"]);
    let mut healthy = nsqd.consumer("healthy", "ch", 1);
    nsqd.peer().publish("healthy", "before");
    let first = healthy.expect_message();
    healthy.finish(&first);
    let before = nsqd.process().resident_bytes();
    throw("commands", b"  V2", nsqd.tcp());
    let after = nsqd.process().resident_bytes();
    nsqd.peer().publish("healthy", "after");
    assert_eq!(healthy.expect_message().text(), "after");
    assert_eq!(nsqd.get("/ping").ok().text(), "OK");
    println!("nsqd: {CONNECTIONS} connections; {} MiB before, {} MiB after", before >> 20, after >> 20);
    assert!(after < before + GROWTH_BYTES_MAX, "{} MiB", after >> 20);
    assert!(nsqd.terminate_and_restart().success());
}

#[test]
fn nsqlookupd_serves_others_after_garbage_is_thrown_at_it() {
    let mut lookupd = Lookupd::start();
    let before = lookupd.process().resident_bytes();
    throw("lookup", b"  V1", lookupd.tcp());
    let after = lookupd.process().resident_bytes();
    assert_eq!(lookupd.get("/ping").ok().text(), "OK");
    lookupd.get("/nodes").ok();
    println!("nsqlookupd: {CONNECTIONS} connections; {} MiB before, {} MiB after", before >> 20, after >> 20);
    assert!(after < before + GROWTH_BYTES_MAX, "{} MiB", after >> 20);
}

fn throw(target: &str, magic: &[u8], address: SocketAddr) {
    let Some(target) = Target::named(target) else { panic!("no target {target}") };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for input in garbage(target, thread as u64).take(CONNECTIONS / THREADS) {
                    connection(address, magic, &input);
                }
            });
        }
    });
}

/// Send it all, read until the daemon closes or has nothing more to say.
fn connection(address: SocketAddr, magic: &[u8], input: &[u8]) {
    let connected = TcpStream::connect(address).and_then(|stream| {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    });
    let mut stream = connected.unwrap_or_else(|error| panic!("connecting: {error}"));
    // The daemon may close at any byte of it.
    let _ = stream.write_all(&[magic, input].concat());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let is_reset = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(ended.is_ok() || is_reset, "{ended:?} after {} bytes for {}", answer.len(), input.escape_ascii());
}
