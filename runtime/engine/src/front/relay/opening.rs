//! A GPU's session that another thread makes ready.

use super::Observer;
use crate::device::Gpu;
use crate::error::Error;
use crate::exec::gpu::Loading;
use crate::model::Model;
use crate::session::{Delivery, Session, SessionOptions};
use std::any::Any;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Drivers compile on the calling thread, by recursion over a kernel: as much as a main thread usually has.
const STACK_BYTES: usize = 8 << 20;
/// Between two looks at whether it is ready.
const WAIT: Duration = Duration::from_millis(20);

/// A session that is being made ready. Dropped, it is given up: no thread is left inside a driver when the process ends.
pub struct Opening {
    name: String,
    loading: Arc<Loading>,
    /// Held by the thread.
    pub(super) running: Weak<()>,
    thread: Option<JoinHandle<Result<Session, Error>>>,
}

impl Opening {
    /// Begins. `alone` if nobody reads the file beside it.
    ///
    /// Errors: the system gives no thread.
    pub fn start(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: Gpu,
        alone: bool,
    ) -> Result<Self, Error> {
        let name = gpu.adapter().name.clone();
        let loading = Arc::new(Loading::default());
        let (told, options) = (loading.clone(), options.clone());
        let held = Arc::new(());
        let running = Arc::downgrade(&held);
        let open = async move || {
            let mut delivery = Delivery::on(model.clone(), &options, gpu, told).await?;
            delivery.put_all(&model, alone).await?;
            delivery.finish().await
        };
        let thread = std::thread::Builder::new()
            .name("gpu".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _held = held;
                pollster::block_on(open())
            })
            .map_err(|e| Error::Threads {
                threads: 1,
                reason: e.to_string(),
            })?;
        Ok(Self {
            name,
            loading,
            running,
            thread: Some(thread),
        })
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether [`Opening::wait`] returns at once.
    pub fn is_finished(&self) -> bool {
        self.running.strong_count() == 0
    }

    /// Shows how far it is, until the result is dropped.
    pub fn show(&self, observer: &dyn Observer) -> Option<Box<dyn Any + Send>> {
        observer.loading(&self.name, &self.loading)
    }

    /// Tells how far it is.
    pub fn tick(&self, observer: &dyn Observer) {
        observer.tick(&self.loading);
    }

    /// Waits for the session.
    ///
    /// Errors: the device refuses or fails; cancelled.
    pub fn wait(mut self, observer: &dyn Observer) -> Result<Session, Error> {
        let shown = match self.is_finished() {
            true => None,
            false => self.show(observer),
        };
        while !self.is_finished() {
            if observer.is_cancelled() {
                self.loading.cancel();
            }
            self.tick(observer);
            std::thread::sleep(WAIT);
        }
        drop(shown);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(session)) => session,
            // Of the driver, or ours: the CPU can still answer.
            Some(Err(_)) => Err(Error::Device {
                device: std::mem::take(&mut self.name),
                reason: "its thread ended by a panic".into(),
            }),
            None => Err(Error::Cancelled),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.loading.cancel();
        if let Some(thread) = self.thread.take() {
            // Whatever it says, nobody waits for it any more.
            let _ = thread.join();
        }
    }
}
