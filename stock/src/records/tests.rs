//! Files made byte by byte, whole and damaged in every way one byte can be.

use std::convert::Infallible;

use super::*;
use crate::message::tests::{message, record};

impl Source for &[u8] {
    type Error = Infallible;

    /// Short reads, as a real file may give.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, Infallible> {
        let from = usize::try_from(at).unwrap().min(self.len());
        let length = buffer.len().min(self.len() - from).min(50);
        buffer[..length].copy_from_slice(&self[from..from + length]);
        Ok(length)
    }
}

fn read(bytes: &[u8]) -> (Vec<Message>, Damage) {
    read_from(bytes, 0)
}

fn read_from(bytes: &[u8], from: u64) -> (Vec<Message>, Damage) {
    let mut records = Records::new(bytes, from, bytes.len() as u64, 0);
    let mut messages = Vec::new();
    while let Some(message) = records.read_next().unwrap() {
        messages.push(message);
    }
    (messages, records.damage())
}

fn messages(count: u64) -> Vec<Message> {
    (0..count)
        .map(|number| message(number, format!("body {number}").repeat(number as usize).as_bytes()))
        .collect()
}

fn file(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(record).collect()
}

#[test]
fn messages_are_read_as_they_were_written() {
    let written = messages(40);
    assert_eq!(read(&file(&written)), (written.clone(), Damage::default()));
    let from = file(&written[..7]).len() as u64;
    assert_eq!(read_from(&file(&written), from).0, written[7..]);
    assert_eq!(read(b""), (Vec::new(), Damage::default()));
    assert_eq!(read_from(&file(&written), 1 << 40), (Vec::new(), Damage::default()));
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_messages_and_counts_the_rest() {
    let written = messages(6);
    let whole = file(&written);
    for cut in 0..whole.len() {
        let (found, damage) = read(&whole[..cut]);
        let kept = file(&found).len();
        assert_eq!(found, written[..found.len()], "cut at {cut}");
        assert_eq!(damage, Damage { tail_bytes: (cut - kept) as u64, ..Damage::default() }, "cut at {cut}");
        assert!(found.len() == 6 || kept + record(&written[found.len()]).len() > cut, "cut at {cut}");
    }
}

#[test]
fn a_wrong_length_costs_the_message_it_belongs_to_at_most() {
    let written = messages(9);
    let whole = file(&written);
    let at = file(&written[..4]).len();
    let own = record(&written[4]).len();
    for byte in 0..4 {
        for value in 0..=255_u8 {
            let mut damaged = whole.clone();
            damaged[at + byte] = value;
            // A length that ends where another message ends looks right; stock too would deliver the two as one.
            let length = u32::from_be_bytes(damaged[at..at + 4].try_into().unwrap()) as usize;
            let is_end = |count: usize| file(&written[..count]).len() == at + 4 + length;
            if (5..=9).any(is_end) {
                continue;
            }
            let (found, damage) = read(&damaged);
            let context = format!("byte {byte} = {value}: {damage:?}");
            assert_eq!(found[..4], written[..4], "{context}");
            assert_eq!(found[found.len() - 4..], written[5..], "{context}");
            let between = &found[4..found.len() - 4];
            if between.is_empty() {
                assert_eq!(damage, Damage { places: 1, bytes: own as u64, tail_bytes: 0 }, "{context}");
                continue;
            }
            // Too short: stock too would deliver the beginning of the body, and nothing tells that it is one.
            assert!(between.len() == 1 && between[0].id == written[4].id, "{context}");
            assert!(written[4].body.starts_with(&between[0].body) && damage.places == 1, "{context}");
        }
    }
}

#[test]
fn zeros_in_the_middle_cost_only_the_messages_they_hit() {
    let written = messages(20);
    let mut damaged = file(&written);
    let (from, to) = (file(&written[..10]).len() + 3, file(&written[..12]).len() + 30);
    damaged[from..to].fill(0);
    let (found, damage) = read(&damaged);
    let ids = |messages: &[Message]| messages.iter().map(|message| message.id).collect::<Vec<_>>();
    assert_eq!(ids(&found), [ids(&written[..10]), ids(&written[13..])].concat());
    assert_eq!((damage.places, damage.tail_bytes), (1, 0));
    let lost = file(&written[10..13]).len() as u64;
    assert_eq!(damage.bytes, lost);
}

#[test]
fn what_stands_behind_a_file_written_over_from_its_beginning_is_found_again() {
    // Stock killed before its first note of places begins at 0 again, over what is there.
    let (old, new) = (messages(30), [message(1000, b"new"), message(1001, b"newer")]);
    let mut bytes = file(&old);
    let over = file(&new);
    bytes[..over.len()].copy_from_slice(&over);
    let (found, damage) = read(&bytes);
    assert_eq!(found[..2], new);
    assert!(old.ends_with(&found[2..]) && found.len() > 25, "{}", found.len());
    assert!(damage.places == 1 && damage.bytes < 200, "{damage:?}");
}

#[test]
fn garbage_gives_no_messages_and_no_panic() {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..400)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8 | 0x80
            })
            .collect();
        assert_eq!(read(&bytes), (Vec::new(), Damage { tail_bytes: 400, ..Damage::default() }));
    }
    assert_eq!(read(&[0; 300]).1.tail_bytes, 300);
}

#[test]
fn a_record_larger_than_the_window_is_read_whole() {
    let large = [message(0, &[7; 100_000]), message(1, b"next")];
    assert_eq!(read(&file(&large)), (large.to_vec(), Damage::default()));
}

#[test]
fn ids_that_prove_nothing_are_read_but_not_looked_for() {
    let mut odd = messages(3);
    odd.iter_mut().for_each(|message| message.id = *b"not-made-by-nsqd");
    assert_eq!(read(&file(&odd)).0, odd);
    let mut damaged = file(&odd);
    let own = record(&odd[0]).len();
    damaged[..4].fill(0xff);
    assert_eq!(
        read(&damaged),
        (Vec::new(), Damage { tail_bytes: damaged.len() as u64, ..Damage::default() })
    );
    assert!(own < damaged.len());
}
