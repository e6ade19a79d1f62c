//! One product alone, to be timed beside others: see `tests/browser/peers`.

use crate::error::{self, coded};
use crate::now;
use carat::internals::exec::Executor;
use carat::internals::plan::Op;
use carat::internals::selftest::Shape;
use carat::internals::{DeviceChoice, Model, Output, Session, SessionOptions, Verify, Want};
use carat_format::Encoding;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// Rows and columns of the product.
const SIZE: u32 = 2048;

/// Milliseconds of a product of one row by a matrix of 2048 × 2048 weights at 4 bits on the GPU, submitted `times` times at once
/// and waited for, in each of so many rounds.
#[wasm_bindgen]
pub async fn product_ms(times: usize, rounds: usize) -> Result<Vec<f64>, JsValue> {
    let shape = Shape {
        dim: SIZE,
        blocks: 1,
        heads: 16,
        kv_heads: 16,
        head_dim: 128,
        encoding: Encoding::Pow4,
        ..Shape::default()
    };
    let model = Model::from_bytes(&shape.bytes(), Verify::Structure).map_err(error::engine)?;
    let options = SessionOptions {
        device: DeviceChoice::GpuIndex(0),
        context: 256,
        ..SessionOptions::default()
    };
    let session = Session::new(Arc::new(model), &options).await;
    let mut session = session.map_err(error::engine)?;
    // A real token first: buffers hold what the kernel usually meets.
    let mut ignore = |_: Output<'_>| ();
    let first = session.forward(&[0], Want::LastResult, &mut ignore);
    first.await.map_err(error::engine)?;
    let (Executor::Gpu(gpu), plan) = session.executor() else {
        return Err(coded("webgpu", "this is no GPU"));
    };
    let square = |op: &Op| matches!(op, Op::LinearTile(p, _) if p.part_rows == SIZE && p.groups * 32 == SIZE);
    let step = plan.steps.iter().position(|s| square(&s.op));
    let step = step.ok_or_else(|| coded("internal", "the plan has no such product"))?;
    let steps = vec![step; times];
    let mut out = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = now();
        let run = gpu.run_steps(plan, &steps, 1, 1);
        run.await.map_err(error::engine)?;
        out.push((now() - begun) / times as f64);
    }
    Ok(out)
}
