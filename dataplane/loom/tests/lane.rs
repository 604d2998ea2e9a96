//! What two threads can do to a lane, in every order that the memory model allows.
#![cfg(loom)]

#[path = "../../src/lane/ring.rs"]
#[allow(dead_code, reason = "a test needs less than the data plane")]
mod lane;

use lane::lane;
use loom::sync::{Arc, Notify};
use loom::thread;

/// Records of 8 octets with their prefix fill 12 of these: the third one wraps.
const BYTES: usize = 32;

/// With more than so many forced switches between the threads, nothing new was ever found.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn record(number: u8) -> [u8; 8] {
    [number; 8]
}

#[test]
fn records_cross_whole_and_in_order_around_the_end_of_the_ring() {
    check(|| {
        let (mut producer, mut consumer) = lane(BYTES);
        let writer = thread::spawn(move || {
            for number in 1..=3 {
                // In two parts, as the data plane does: head and payload.
                let record = record(number);
                while !producer.push(&[&record[..3], &record[3..]]) {
                    producer.flush();
                    thread::yield_now();
                }
                producer.flush();
            }
        });
        let mut expected = 1;
        while expected <= 3 {
            let taken = consumer.drain(2, |seen| {
                assert_eq!(seen, record(expected));
                expected += 1;
            });
            if taken == 0 {
                thread::yield_now();
            }
        }
        writer.join().expect("the writer ends");
    });
}

#[test]
fn a_full_lane_refuses_and_what_was_accepted_arrives() {
    check(|| {
        let (mut producer, mut consumer) = lane(BYTES);
        let writer = thread::spawn(move || {
            let accepted: Vec<u8> =
                (1..=4).filter(|number| producer.push(&[&record(*number)])).collect();
            producer.flush();
            accepted
        });
        let mut seen = Vec::new();
        consumer.drain(4, |record| seen.push(record[0]));
        let accepted = writer.join().expect("the writer ends");
        consumer.drain(4, |record| seen.push(record[0]));
        assert_eq!(seen, accepted);
        assert!(accepted.len() >= 2, "two fit in any case");
    });
}

/// A shard sleeps when its lanes are empty, and is woken when a flush says that there was
/// something. A wake-up that got lost would leave the model waiting for ever, which loom reports.
#[test]
fn no_wake_up_is_lost() {
    check(|| {
        let (mut producer, mut consumer) = lane(BYTES);
        let waker = Arc::new(Notify::new());
        let sleeper = Arc::clone(&waker);
        let reader = thread::spawn(move || {
            let mut seen = 0;
            while seen < 2 {
                sleeper.wait();
                seen += consumer.drain(8, |_| {});
            }
        });
        for number in 1..=2 {
            assert!(producer.push(&[&record(number)]));
            if producer.flush() {
                waker.notify();
            }
        }
        reader.join().expect("the reader ends");
    });
}
