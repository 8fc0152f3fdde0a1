//! The query string of a request, as both daemons read it.

use daemon::http::Args;

use super::{Shape, Target, texts};

pub(super) const TARGET: Target = Target { name: "query", run, seeds, words: WORDS };

const WORDS: &[&[u8]] =
    &[b"topic=", b"channel=", b"&", b"=", b"%", b"%00", b"%C3%A9", b"%ff", b"+", b";", b"%23ephemeral", b"?"];

fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        "",
        "topic=t",
        "topic=t&channel=c",
        "topic=a%20b&defer=1",
        "topic=%zz",
        "topic=t;channel=c",
        "format=json&include_clients=false",
        "topic&topic=b",
        "a=b&a=c&=d&&",
        "topic=t%23ephemeral&binary=true",
    ])
}

fn run(input: &[u8]) -> Shape {
    let mut shape = Shape::default();
    let text = String::from_utf8_lossy(input);
    match Args::parse(&text) {
        Err(refusal) => {
            assert!(refusal.status.as_u16() == 400 && refusal.code == "INVALID_REQUEST", "another refusal");
            shape.add("refused");
        }
        Ok(args) => {
            for name in ["topic", "channel", "a", ""] {
                let value = args.optional(name);
                assert!(args.required(name).ok() == value, "two answers to one question");
                // A byte that is no text becomes a mark of three.
                assert!(value.is_none_or(|value| value.len() <= 3 * text.len()), "grew out of nothing");
                shape.add(if value.is_some() { name } else { "none" });
                shape.add_amount(value.unwrap_or_default().len());
            }
        }
    }
    shape
}
