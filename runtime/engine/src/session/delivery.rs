//! A session on a GPU whose weights arrive while it is opened.

use super::{GPU_BATCH, Session, SessionOptions};
use crate::device;
use crate::error::Error;
use crate::exec::Executor;
use crate::exec::gpu::Upload;
use crate::model::Model;
use crate::plan::Plan;
use std::sync::Arc;

/// The buffers of a session to be: see [`Delivery::put`].
pub struct Delivery {
    model: Arc<Model>,
    plan: Plan,
    upload: Upload,
}

impl Delivery {
    /// Plans and allocates; nothing of the model but its header has to be in memory.
    ///
    /// Errors: no such device, a context that cannot be held, a device that refuses.
    pub async fn begin(model: Arc<Model>, options: &SessionOptions) -> Result<Self, Error> {
        let Some(gpu) = device::choose(&options.device).await? else {
            return Err(Error::NoDevice {
                asked: "gpu".into(),
                available: "cpu".into(),
            });
        };
        let plan = options.plan_by(&model, GPU_BATCH)?;
        let upload = Upload::begin(&plan, gpu).await?;
        Ok(Self {
            model,
            plan,
            upload,
        })
    }

    /// Copies the bytes of the file from `offset` on to the device. Each byte of a tensor is given once, in any order.
    ///
    /// Errors: a range that cuts a word of a tensor, a lost device.
    pub async fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.upload.put(offset, bytes).await
    }

    /// Copies all of a file in memory to the device.
    ///
    /// Errors: a tensor that is not there, a lost device.
    pub async fn put_all(&mut self, model: &Model) -> Result<(), Error> {
        self.upload.put_all(model).await
    }

    /// Compiles the kernels and opens the session.
    ///
    /// Errors: a tensor that has not arrived as a whole, a kernel that the device refuses.
    pub async fn finish(self) -> Result<Session, Error> {
        let executor = self.upload.finish(&self.plan).await?;
        let executor = Executor::Gpu(Box::new(executor));
        Ok(Session::with(self.model, self.plan, executor))
    }
}
