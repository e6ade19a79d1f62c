//! Weights on their way to the device: a whole file at once, or its bytes as they arrive.

use super::{GpuExecutor, Loading};
use crate::device::Gpu;
use crate::error::Error;
use crate::model::Model;
use crate::plan::{Content, Plan};
use std::sync::Arc;

/// Bytes of one write to the device.
const WRITE_BYTES: usize = 4 << 20;
/// Bytes of writes that may be under way, which the system's memory holds meanwhile.
pub const STAGED_BYTES: u64 = 16 << 20;

/// A buffer whose content is in the file.
struct Part {
    name: String,
    /// Index among the plan's buffers.
    buffer: usize,
    offset: u64,
    bytes: u64,
    arrived: u64,
}

/// A GPU executor's buffers while they are filled.
pub struct Upload {
    executor: GpuExecutor,
    parts: Vec<Part>,
    pending: usize,
}

impl Upload {
    /// Allocates the plan's buffers and writes those that do not come from the file. `loading` tells how far it is, and
    /// ends it.
    ///
    /// Errors: the device refuses an allocation; cancelled.
    pub async fn begin(plan: &Plan, gpu: Gpu, loading: Arc<Loading>) -> Result<Self, Error> {
        let mut this = Self {
            executor: GpuExecutor::with_buffers(plan, gpu, loading).await?,
            parts: Vec::new(),
            pending: 0,
        };
        for (buffer, declared) in plan.buffers.iter().enumerate() {
            match &declared.content {
                Content::Work | Content::RowTable | Content::PageTable | Content::Strengths => {}
                Content::Constant(words) => {
                    this.write(buffer, 0, bytemuck::cast_slice(words)).await?;
                }
                Content::Adapter(words) => {
                    this.write(buffer, 0, bytemuck::cast_slice(words)).await?;
                }
                Content::File { offset } => this.parts.push(Part {
                    name: declared.name.clone(),
                    buffer,
                    offset: *offset,
                    bytes: declared.words * 4,
                    arrived: 0,
                }),
            }
        }
        Ok(this)
    }

    async fn write(&mut self, buffer: usize, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let gpu = &self.executor.gpu;
        let target = &self.executor.buffers[buffer];
        for (i, chunk) in bytes.chunks(WRITE_BYTES).enumerate() {
            let at = at + (i * WRITE_BYTES) as u64;
            self.executor.loading.check()?;
            if (self.pending + chunk.len()) as u64 > STAGED_BYTES {
                gpu.submit(None);
                gpu.idle().await?;
                self.pending = 0;
            }
            gpu.queue.write_buffer(target, at, chunk);
            self.pending += chunk.len();
        }
        Ok(())
    }

    /// Copies every part from a file in memory. With `release` a mapped file's pages need not stay there.
    ///
    /// Errors: a tensor that is not there, a lost device; as [`Model::intact`]; cancelled.
    pub async fn put_all(&mut self, model: &Model, release: bool) -> Result<(), Error> {
        for i in 0..self.parts.len() {
            let Part {
                buffer,
                offset,
                bytes,
                ..
            } = self.parts[i];
            let words = model.words(offset, bytes / 4);
            self.parts[i].arrived = words.len() as u64 * 4;
            self.write(buffer, 0, bytemuck::cast_slice(words)).await?;
            // From here on the device has its copy, whatever becomes of the file.
            model.intact()?;
            self.executor.loading.uploaded(words.len() as u64 * 4);
            if release {
                model.release(offset, bytes);
            }
        }
        Ok(())
    }

    /// Copies the bytes of the file from `offset` on to where they belong. Each byte of a tensor is given once, in any
    /// order, whole words at a time.
    ///
    /// Errors: a range that cuts a word, a lost device.
    pub async fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let end = offset + bytes.len() as u64;
        for i in 0..self.parts.len() {
            let part = &mut self.parts[i];
            let from = offset.max(part.offset);
            let to = end.min(part.offset + part.bytes);
            if from >= to {
                continue;
            }
            if !from.is_multiple_of(4) || !to.is_multiple_of(4) {
                let reason = format!("bytes {from} to {to} of '{}' cut a word", part.name);
                return Err(self.executor.gpu.error(reason));
            }
            part.arrived += to - from;
            let (buffer, at) = (part.buffer, from - part.offset);
            let range = (from - offset) as usize..(to - offset) as usize;
            self.write(buffer, at, &bytes[range]).await?;
            self.executor.loading.uploaded(to - from);
        }
        Ok(())
    }

    /// The executor, with its kernels compiled.
    ///
    /// Errors: a tensor that has not arrived as a whole, a kernel that the device refuses.
    pub async fn finish(self, plan: &Plan) -> Result<GpuExecutor, Error> {
        if let Some(part) = self.parts.into_iter().find(|p| p.arrived != p.bytes) {
            return Err(Error::MissingTensor(part.name));
        }
        let gpu = &self.executor.gpu;
        gpu.submit(None);
        gpu.idle().await?;
        gpu.check()?;
        self.executor.ready(plan).await
    }
}
