//! A session on a GPU whose weights arrive while it is opened.

use super::{GPU_BATCH, Loaded, Session, SessionOptions};
use crate::device::Gpu;
use crate::error::Error;
use crate::exec::Executor;
use crate::exec::gpu::{Loading, Upload};
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
        let Some(gpu) = options.open_device(&model).await? else {
            return Err(Error::NoDevice {
                asked: "gpu".into(),
                available: "cpu".into(),
            });
        };
        Self::on(model, options, gpu, Arc::default()).await
    }

    /// The same on a device that is open already; `loading` tells another thread how far it is, and takes its wish to end it.
    ///
    /// Errors: a context that cannot be held, a device that refuses; cancelled, as all that follows.
    pub async fn on(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: Gpu,
        loading: Arc<Loading>,
    ) -> Result<Self, Error> {
        let plan = options.plan_by(&model, GPU_BATCH, gpu.binding())?;
        let upload = Upload::begin(&plan, gpu, loading).await?;
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

    /// Copies all of a file in memory to the device. With `release` a mapped file's pages are given back: nobody reads
    /// them beside.
    ///
    /// Errors: a tensor that is not there, a lost device; as [`Model::intact`].
    pub async fn put_all(&mut self, model: &Model, release: bool) -> Result<(), Error> {
        self.upload.put_all(model, release).await
    }

    /// Compiles the kernels and opens the session.
    ///
    /// Errors: a tensor that has not arrived as a whole, a kernel that the device refuses.
    pub async fn finish(self) -> Result<Session, Error> {
        Ok(self.loaded().await?.into())
    }

    /// Compiles the kernels and gives the model on its device.
    ///
    /// Errors: as of [`Delivery::finish`].
    pub async fn loaded(self) -> Result<Loaded, Error> {
        let executor = self.upload.finish(&self.plan).await?;
        let executor = Executor::Gpu(Box::new(executor));
        Ok(Loaded::with(self.model, self.plan, executor))
    }
}
