//! What a session on the CPU allocates is what its account says it will.
#![allow(clippy::unwrap_used)]

mod counting;

use carat::internals::{CacheBits, DeviceChoice, Model, Session, SessionOptions, Verify, Want};
use carat_format::Encoding;
use carat_tests::synth::Shape;
use std::sync::Arc;

/// Not in the account: the plan, names of its steps, the thread pool.
const BESIDE: u64 = 128 << 10;
/// Tokens of the prompt.
const PROMPT: u32 = 600;

/// One test alone: the counter is the process's.
#[test]
fn a_session_allocates_what_its_account_says() {
    let [wide, values, _, both] = CacheBits::ALL;
    for (encoding, threads, outputs, cache) in [
        (Encoding::Pow4, 1, 1, wide),
        (Encoding::Pow2, 2, 1, wide),
        (Encoding::Ternary, 2, 7, wide),
        (Encoding::Pow4, 1, 1, values),
        (Encoding::Pow2, 2, 1, both),
    ] {
        let shape = Shape {
            dim: 352,
            heads: 8,
            kv_heads: 4,
            head_dim: 64,
            ff: 1056,
            vocab: 4000,
            encoding,
            ..Shape::default()
        };
        let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Structure).unwrap());
        let options = SessionOptions {
            device: DeviceChoice::Cpu,
            context: 1000,
            threads: Some(threads),
            outputs,
            cache,
            ..SessionOptions::default()
        };
        let memory = options.memory(&model).unwrap();
        let account = memory.cache + memory.work;
        let prompt: Vec<u32> = (0..PROMPT).map(|i| i * 7 % shape.vocab).collect();
        let run = || {
            let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
            for want in [
                Want::Last,
                Want::From(PROMPT as usize - outputs as usize),
                Want::Last,
            ] {
                session.truncate(0);
                let mut ignore = |_: carat::internals::Output<'_>| ();
                let forward = session.forward(&prompt, want, &mut ignore);
                pollster::block_on(forward).unwrap();
            }
        };
        let ((), peak, _) = counting::measured(run);
        let what = format!(
            "{encoding:?}, {cache:?}, {threads} threads: {peak} bytes, {account} in the account"
        );
        assert!(peak as u64 <= account + BESIDE, "{what}");
        assert!(peak as u64 >= account / 10 * 9, "{what}");
    }
}
