//! No byte of one message is ever seen by a fresh instance of the next.
//!
//! A guest looks through everything that an instance has: all of its memory, grown as far as the last one grew it, its
//! globals and its table. When all is as it was declared, it fills all of it with the data of its message, and is
//! thrown away. Each next one gets the slot that the last one left.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{
    guest::Guest,
    host::{Host, delivery, succeeded},
};
use tempfile::TempDir;
use wasmill_sandbox::{Delivery, Sandbox, SandboxOptions, Session, StagedState};

/// Deliveries for each kind of guest and each way to clean memory.
const ROUNDS: u64 = 1_000;

/// A guest that grows its memory by so many pages, to so many. Only what it was called with lies in it as yet, from 4,096
/// to its `$heap`.
fn looks_and_spoils(memory: &'static str, grow_pages: u32, grown_pages: u32) -> Guest {
    let end = grown_pages * 65_536;
    Guest::new("(call $look) (call $spoil (local.get $delivery)) (call $ok)").memory(memory).with(&format!(
        r#"(table $table 5000 funcref)
        (elem declare func $kept)
        (func $kept)
        (global $one (mut i64) (i64.const 0)) (global $two (mut i64) (i64.const 0))
        (global $three (mut f64) (f64.const 0))
        (func $look (local $at i32)
          (drop (memory.grow (i32.const {grow_pages})))
          (if (i32.ne (memory.size) (i32.const {grown_pages})) (then (unreachable)))
          (if (i64.ne (i64.or (global.get $one) (global.get $two)) (i64.const 0)) (then (unreachable)))
          (if (f64.ne (global.get $three) (f64.const 0)) (then (unreachable)))
          (loop $low
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $low (i32.lt_u (local.get $at) (i32.const 4096))))
          (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
          (loop $memory
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $memory (i32.lt_u (local.get $at) (i32.const {end}))))
          (local.set $at (i32.const 0))
          (loop $table
            (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then (unreachable)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $table (i32.lt_u (local.get $at) (i32.const 5000)))))
        ;; The address and the length of the data are fields of the delivery.
        (func $spoil (param $delivery i32) (local $at i32) (local $data i32)
          (local.set $data (i32.load offset=48 (local.get $delivery)))
          (local.set $at (i32.const 64))
          (loop $low
            (memory.copy (local.get $at) (local.get $data) (i32.const 64))
            (local.set $at (i32.add (local.get $at) (i32.const 64)))
            (br_if $low (i32.lt_u (local.get $at) (i32.const 4096))))
          (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 63)) (i32.const -64)))
          (loop $memory
            (memory.copy (local.get $at) (local.get $data) (i32.const 64))
            (local.set $at (i32.add (local.get $at) (i32.const 64)))
            (br_if $memory (i32.lt_u (local.get $at) (i32.const {end}))))
          (global.set $one (i64.load (i32.const 65536)))
          (global.set $two (i64.load (i32.const 65544)))
          (global.set $three (f64.load (i32.const 65552)))
          (if (i64.eqz (global.get $one)) (then (unreachable)))
          (table.fill $table (i32.const 0) (ref.func $kept) (i32.const 5000)))"#
    ))
}

fn secret(sequence: u64) -> Delivery {
    let mut delivery = delivery(sequence, 1);
    let byte = u8::try_from(sequence % 255 + 1).unwrap();
    Arc::make_mut(&mut delivery.message).data = Bytes::from(vec![byte; 64]);
    delivery
}

async fn each_is_new_to(pagemap_scan: bool, guest: Guest) {
    let mut host = Host::new();
    host.limits.instance_calls_max = 1;
    let folder = TempDir::new().unwrap();
    // One slot, so that each instance gets what the last one had.
    let options = SandboxOptions { instances_max: 1, pagemap_scan, ..SandboxOptions::new(folder.path()) };
    let sandbox = Sandbox::new(options).unwrap();
    let mut session = Session::new(sandbox.load(&guest.build()).unwrap(), Arc::new(host.context()));
    for sequence in 1..=ROUNDS {
        let attempt = session.run(&secret(sequence), &mut StagedState::default()).await;
        assert!(attempt.fresh_instance);
        succeeded(attempt);
    }
}

/// That the guest would see it: on a warm instance, it does.
async fn it_can_see_to(guest: Guest) {
    let host = Host::new();
    let mut session = host.session(&guest);
    succeeded(session.run(&secret(1), &mut StagedState::default()).await);
    let attempt = session.run(&secret(2), &mut StagedState::default()).await;
    assert!(!attempt.fresh_instance);
    common::host::failed(attempt);
}

#[tokio::test]
async fn the_guest_would_see_what_another_left() {
    it_can_see_to(looks_and_spoils("4", 0, 4)).await;
}

#[tokio::test]
async fn pagemap_scan() {
    each_is_new_to(true, looks_and_spoils("4", 0, 4)).await;
}

#[tokio::test]
async fn pagemap_scan_with_growth() {
    each_is_new_to(true, looks_and_spoils("2", 30, 32)).await;
}

#[tokio::test]
async fn resident() {
    each_is_new_to(false, looks_and_spoils("4", 0, 4)).await;
}

#[tokio::test]
async fn resident_with_growth() {
    each_is_new_to(false, looks_and_spoils("2", 30, 32)).await;
}

#[tokio::test]
async fn resident_with_more_memory_than_is_kept() {
    each_is_new_to(false, looks_and_spoils("2", 62, 64)).await;
}
