//! GPU adapters: what there is, which one to take, and an opened device.

mod limits;
#[cfg_attr(
    not(all(feature = "rasteriser", target_os = "linux")),
    path = "rasteriser/none.rs"
)]
mod rasteriser;
mod tuning;
mod wait;

pub use limits::{Limit, limits};
pub use tuning::{ProductTuning, Tuned, Tuning, tune};

use crate::error::Error;
use crate::exec::gpu::Pipelines;
use crate::plan::DEFAULT_BINDING;
use crate::session::DeviceChoice;
use std::sync::{Arc, Mutex, PoisonError};

/// What an adapter is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU given to a virtual machine.
    Virtual,
    /// A browser's GPU, of which no more is told.
    Browser,
    /// Nothing is known of it.
    Unknown,
    /// Mesa's rasteriser on the processor, which is made of vectors of eight lanes.
    Llvmpipe,
    /// Another rasteriser on the processor.
    Software,
    /// A browser's rasteriser, which WebGPU calls a fallback adapter.
    Fallback,
}

impl Kind {
    /// Whether `auto` may take it: a GPU, no rasteriser.
    pub fn is_hardware(self) -> bool {
        !self.is_native_rasteriser() && !matches!(self, Kind::Fallback | Kind::Unknown)
    }

    /// Whether it is a rasteriser of this process, on the processor.
    fn is_native_rasteriser(self) -> bool {
        matches!(self, Kind::Llvmpipe | Kind::Software)
    }
}

/// An adapter that the system offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its name; may be empty in a browser.
    pub name: String,
    /// Driver and interface, e.g. `llvmpipe, Vulkan`.
    pub driver: String,
    /// The driver's version, in its own words; may be empty.
    pub version: String,
    /// What it is.
    pub kind: Kind,
}

/// Names of rasterisers, in lower case; some report another device type.
const SOFTWARE: [(&str, Kind); 5] = [
    ("llvmpipe", Kind::Llvmpipe),
    ("lavapipe", Kind::Llvmpipe),
    ("swiftshader", Kind::Software),
    ("warp", Kind::Software),
    ("basic render", Kind::Software),
];

impl Kind {
    /// By what wgpu tells of an adapter; `names` are its name and its driver's.
    fn of(device: wgpu::DeviceType, backend: wgpu::Backend, names: &str) -> Self {
        use wgpu::DeviceType as D;
        let names = names.to_lowercase();
        let named = SOFTWARE.iter().find(|(name, _)| names.contains(name));
        let browser = backend == wgpu::Backend::BrowserWebGpu;
        match (device, named) {
            (D::Cpu, _) if browser => Kind::Fallback,
            (_, Some((_, kind))) => *kind,
            (D::Cpu, None) => Kind::Software,
            (D::DiscreteGpu, None) => Kind::Discrete,
            (D::IntegratedGpu, None) => Kind::Integrated,
            (D::VirtualGpu, None) => Kind::Virtual,
            (D::Other, None) if browser => Kind::Browser,
            (D::Other, None) => Kind::Unknown,
        }
    }
}

impl Adapter {
    fn new(info: &wgpu::AdapterInfo) -> Self {
        let names = [&info.name, &info.driver, &info.driver_info];
        let names = names.map(String::as_str).join(" ");
        let kind = Kind::of(info.device_type, info.backend, &names);
        Self {
            name: info.name.clone(),
            driver: format!("{}, {}", info.driver, info.backend),
            version: info.driver_info.clone(),
            kind,
        }
    }

    fn has_name(&self, part: &str) -> bool {
        let part = part.to_lowercase();
        self.name.to_lowercase().contains(&part) || self.driver.to_lowercase().contains(&part)
    }
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// Every adapter, in the system's order.
pub async fn adapters() -> Vec<Adapter> {
    let found = instance().enumerate_adapters(wgpu::Backends::PRIMARY).await;
    found.iter().map(|a| Adapter::new(&a.get_info())).collect()
}

/// Index of the adapter to take, or `None` for the CPU.
fn pick(adapters: &[Adapter], choice: &DeviceChoice) -> Result<Option<usize>, Error> {
    let hardware = || {
        let gpus = adapters
            .iter()
            .enumerate()
            .filter(|a| a.1.kind.is_hardware());
        gpus.min_by_key(|a| a.1.kind).map(|a| a.0)
    };
    let (found, asked) = match choice {
        DeviceChoice::Cpu => return Ok(None),
        DeviceChoice::Auto => return Ok(hardware()),
        DeviceChoice::Gpu => (hardware(), "gpu".to_owned()),
        DeviceChoice::GpuNamed(name) => (
            adapters.iter().position(|a| a.has_name(name)),
            format!("gpu:{name}"),
        ),
        DeviceChoice::GpuIndex(i) => (
            Some(*i).filter(|i| *i < adapters.len()),
            format!("adapter {i}"),
        ),
    };
    match found {
        Some(i) => Ok(Some(i)),
        None => {
            let mut available = vec!["cpu".to_owned()];
            available.extend(adapters.iter().map(|a| {
                let software = a.kind.is_native_rasteriser();
                let note = if software { " (software)" } else { "" };
                format!("gpu:{}{note}", a.name)
            }));
            Err(Error::NoDevice {
                asked,
                available: available.join(", "),
            })
        }
    }
}

/// Opens the device of a choice for buffers of `largest` bytes; `None` is the CPU.
///
/// Errors: none matches, it refuses WebGPU's default limits, or it has no buffers of that size. `Auto` falls back to the
/// CPU instead.
pub async fn choose(choice: &DeviceChoice, largest: u64) -> Result<Option<Gpu>, Error> {
    if *choice == DeviceChoice::Cpu {
        return Ok(None);
    }
    let found = instance().enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let adapters: Vec<Adapter> = found.iter().map(|a| Adapter::new(&a.get_info())).collect();
    let Some(index) = pick(&adapters, choice)? else {
        return Ok(None);
    };
    let opened = match found.get(index).zip(adapters.get(index)) {
        Some((handle, adapter)) => Gpu::open(handle, adapter, largest).await,
        None => return Ok(None),
    };
    match opened {
        Ok(gpu) => Ok(Some(gpu)),
        Err(e) if *choice == DeviceChoice::Auto => {
            tracing::warn!("{e}; the CPU is used");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// What the device reported outside a call.
#[derive(Default)]
struct Faults {
    lost: Option<String>,
    error: Option<String>,
}

/// An opened device with WebGPU's default limits, but for larger buffers where a session needs them, and no optional
/// feature. Clones are the same device.
#[derive(Clone)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) pipelines: Arc<Pipelines>,
    adapter: Adapter,
    faults: Arc<Mutex<Faults>>,
    /// Of a rasteriser.
    help: Option<rasteriser::Help>,
}

impl Gpu {
    async fn open(handle: &wgpu::Adapter, adapter: &Adapter, largest: u64) -> Result<Self, Error> {
        let refused = |reason: String| Error::Device {
            device: adapter.name.clone(),
            reason,
        };
        let offered = handle.limits();
        let offered = offered
            .max_storage_buffer_binding_size
            .min(offered.max_buffer_size);
        // A device that lacks the default is refused below, in its own words.
        if largest > offered.max(DEFAULT_BINDING) {
            return Err(refused(format!(
                "the context needs a buffer of {largest} bytes and this device has at most {offered}"
            )));
        }
        let mut required_limits = wgpu::Limits::default();
        let binding = &mut required_limits.max_storage_buffer_binding_size;
        *binding = largest.max(*binding);
        let most = &mut required_limits.max_buffer_size;
        *most = largest.max(*most);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("carat"),
            required_features: wgpu::Features::empty(),
            required_limits,
            ..Default::default()
        };
        let is_rasteriser = adapter.kind.is_native_rasteriser();
        let before = is_rasteriser.then(rasteriser::Before::now);
        let opened = handle.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|e| refused(e.to_string()))?;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let seen = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.lost = Some(format!("{reason:?} {message}"));
        });
        let seen = faults.clone();
        // Without a handler an error outside a scope panics.
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.error.get_or_insert_with(|| e.to_string());
        }));
        Ok(Self {
            device,
            queue,
            pipelines: Arc::default(),
            adapter: adapter.clone(),
            faults,
            help: before.map(rasteriser::Before::opened),
        })
    }

    /// Tells that the buffers are allocated which will be read most, and not yet filled.
    pub(crate) fn allocated(&self) {
        if let Some(help) = &self.help {
            help.allocated();
        }
    }

    /// Waits until a submission is done, `None` for all, or the time is over, and calls back whom that concerns. Takes no
    /// processor time that others want.
    #[cfg(not(target_arch = "wasm32"))]
    fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>, time: std::time::Duration) {
        let wait = || {
            // A timeout is no error here; a lost device is found by `check`.
            let _ = self.device.poll(wgpu::PollType::Wait {
                submission_index,
                timeout: Some(time),
            });
        };
        self.awake(wait);
    }

    /// Submits commands, if any. Drivers may wait here until the submission before is done.
    pub(crate) fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        self.awake(|| self.queue.submit(commands))
    }

    /// Runs what waits for the device, while a processor is kept awake for a rasteriser.
    fn awake<T>(&self, wait: impl FnOnce() -> T) -> T {
        match &self.help {
            Some(help) => help.during(wait),
            None => wait(),
        }
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The numbers for its kernels: those that [`tune`] was given for this adapter, else its class's.
    pub fn tuning(&self) -> Tuning {
        tuning::of_adapter(&self.adapter)
    }

    /// Most bytes of one of its buffers.
    pub fn binding(&self) -> u64 {
        let limits = self.device.limits();
        limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
    }

    /// Name and interface.
    pub fn name(&self) -> String {
        format!("{} ({})", self.adapter.name, self.adapter.driver)
    }

    /// An error of this device.
    pub(crate) fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::Device {
            device: self.adapter.name.clone(),
            reason: reason.to_string(),
        }
    }

    /// Errors: the device was lost, or reported an error since it was opened. Calls on a lost device
    /// succeed silently, so results count only after this.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &faults.lost {
            return Err(Error::DeviceLost {
                device: self.adapter.name.clone(),
                reason: reason.clone(),
            });
        }
        match &faults.error {
            Some(e) => Err(self.error(e)),
            None => Ok(()),
        }
    }

    /// Runs `f` under error scopes. Errors: whatever the device reports of it; `what` names the call.
    pub(crate) async fn scoped<T>(&self, what: &str, f: impl FnOnce() -> T) -> Result<T, Error> {
        // The guards cannot cross an await; popping takes effect at once, only its answer is late.
        let (value, answers) = {
            let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
            let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
            let value = f();
            let validation = validation.pop();
            let internal = internal.pop();
            (value, (validation, internal, memory.pop()))
        };
        let (validation, internal, memory) = answers;
        let (validation, internal, memory) = (validation.await, internal.await, memory.await);
        if let Some(e) = validation.or(internal) {
            return Err(self.error(format!("{what}: {e}")));
        }
        if memory.is_some() {
            return Err(self.error(format!("{what}: out of memory")));
        }
        Ok(value)
    }

    /// Waits until everything submitted is done. Errors: the device was lost.
    pub(crate) async fn idle(&self) -> Result<(), Error> {
        let (sender, wait) = wait::signal(self, None);
        self.queue.on_submitted_work_done(move || sender.send(()));
        wait.await
    }

    /// Maps the first `bytes` bytes of a buffer for reading; `submission` is the last that uses it, `None` for any.
    ///
    /// Errors: lost, or refused.
    pub(crate) async fn map(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        submission: Option<wgpu::SubmissionIndex>,
    ) -> Result<(), Error> {
        let (sender, wait) = wait::signal(self, submission);
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |r| sender.send(r));
        wait.await?.map_err(|e| self.error(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: Kind) -> Adapter {
        Adapter {
            name: name.into(),
            driver: "driver, Vulkan".into(),
            version: String::new(),
            kind,
        }
    }

    fn all() -> Vec<Adapter> {
        vec![
            adapter("llvmpipe (LLVM 15)", Kind::Llvmpipe),
            adapter("Odd thing", Kind::Unknown),
            adapter("Small", Kind::Integrated),
            adapter("Big", Kind::Discrete),
        ]
    }

    #[test]
    fn rasterisers_are_known_by_name_whatever_type_they_report() {
        use wgpu::{Backend as B, DeviceType as D};
        for (device, backend, names, kind) in [
            (
                D::Cpu,
                B::Vulkan,
                "llvmpipe (LLVM 15.0.6) llvmpipe",
                Kind::Llvmpipe,
            ),
            (D::Other, B::Vulkan, "Mesa Lavapipe", Kind::Llvmpipe),
            (
                D::Cpu,
                B::Vulkan,
                "SwiftShader Device (Subzero)",
                Kind::Software,
            ),
            (
                D::IntegratedGpu,
                B::Dx12,
                "Microsoft Basic Render Driver",
                Kind::Software,
            ),
            (D::Cpu, B::Vulkan, "another", Kind::Software),
            (D::Cpu, B::BrowserWebGpu, "SwiftShader", Kind::Fallback),
            (D::Other, B::BrowserWebGpu, "", Kind::Browser),
            (D::Other, B::Vulkan, "", Kind::Unknown),
            (D::DiscreteGpu, B::Vulkan, "NVIDIA H200", Kind::Discrete),
            (D::IntegratedGpu, B::Metal, "Apple M4", Kind::Integrated),
            (D::VirtualGpu, B::Vulkan, "Virtio-GPU Venus", Kind::Virtual),
        ] {
            assert_eq!(Kind::of(device, backend, names), kind, "{names}");
        }
    }

    #[test]
    fn auto_takes_a_gpu_and_never_a_rasteriser() {
        assert_eq!(pick(&all(), &DeviceChoice::Auto).unwrap(), Some(3));
        assert_eq!(pick(&all()[..3], &DeviceChoice::Auto).unwrap(), Some(2));
        assert_eq!(pick(&all()[..2], &DeviceChoice::Auto).unwrap(), None);
        assert_eq!(pick(&all(), &DeviceChoice::Cpu).unwrap(), None);
        assert_eq!(pick(&all(), &DeviceChoice::Gpu).unwrap(), Some(3));
        assert_eq!(pick(&all(), &DeviceChoice::GpuIndex(1)).unwrap(), Some(1));
        assert!(pick(&all(), &DeviceChoice::GpuIndex(4)).is_err());
    }

    #[test]
    fn a_name_takes_any_adapter_in_any_case() {
        let named = |n: &str| pick(&all(), &DeviceChoice::GpuNamed(n.into()));
        assert_eq!(named("LLVMpipe").unwrap(), Some(0));
        assert_eq!(named("small").unwrap(), Some(2));
        let text = named("voodoo").unwrap_err().to_string();
        assert!(text.contains("gpu:voodoo") && text.contains("gpu:llvmpipe (LLVM 15) (software)"));
        let text = pick(&all()[..2], &DeviceChoice::Gpu)
            .unwrap_err()
            .to_string();
        assert!(text.contains("cpu, "), "{text}");
    }

    #[test]
    fn a_lost_device_is_an_error_everywhere() {
        let any = DeviceChoice::GpuNamed(String::new());
        let Ok(Some(gpu)) = pollster::block_on(choose(&any, DEFAULT_BINDING)) else {
            eprintln!("ABSENT: any Vulkan driver (apt-get install mesa-vulkan-drivers)");
            return;
        };
        pollster::block_on(gpu.idle()).unwrap();
        gpu.check().unwrap();
        gpu.device.destroy();
        let lost = |r: Result<(), Error>| matches!(r, Err(Error::DeviceLost { .. }));
        let idle = pollster::block_on(gpu.idle());
        assert!(idle.is_ok() || lost(idle));
        assert!(lost(gpu.check()));
    }

    #[test]
    fn refused_calls_are_errors_that_name_the_call() {
        let any = DeviceChoice::GpuNamed(String::new());
        let Ok(Some(gpu)) = pollster::block_on(choose(&any, DEFAULT_BINDING)) else {
            eprintln!("ABSENT: any Vulkan driver (apt-get install mesa-vulkan-drivers)");
            return;
        };
        let create = |size| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let scoped = |size| pollster::block_on(gpu.scoped("allocating", || create(size)));
        assert!(scoped(256).is_ok());
        // WebGPU's default limit is 256 MiB.
        let text = scoped(1 << 30).unwrap_err().to_string();
        assert!(text.contains("allocating"), "{text}");
        // Outside a scope it is kept for the next check.
        gpu.check().unwrap();
        create(1 << 30);
        assert!(matches!(gpu.check(), Err(Error::Device { .. })));
    }
}
