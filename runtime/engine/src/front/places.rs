//! The devices that an app may choose from.

use crate::session::DeviceChoice;

impl DeviceChoice {
    /// Names of the GPUs that the system offers, rasterisers on the processor included, in the order of
    /// [`Device::GpuIndex`](crate::Device::GpuIndex). Two may have one name. Empty in a build without GPUs.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn gpus() -> Vec<String> {
        #[cfg(feature = "gpu")]
        {
            let found = pollster::block_on(crate::device::adapters());
            found.into_iter().map(|a| a.name).collect()
        }
        #[cfg(not(feature = "gpu"))]
        Vec::new()
    }
}
