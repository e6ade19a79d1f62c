//! What adapters can do beside what Carat needs of them: WebGPU's default limits.

use super::{Adapter, instance};

/// One limit of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// WebGPU's name of it.
    pub name: &'static str,
    /// What the adapter has.
    pub has: u64,
    /// WebGPU's default.
    pub needs: u64,
    /// Whether smaller is better, as for alignments.
    pub alignment: bool,
}

impl Limit {
    /// Whether the adapter is at least as good as the default.
    pub fn is_met(&self) -> bool {
        if self.alignment {
            self.has <= self.needs
        } else {
            self.has >= self.needs
        }
    }
}

/// Every adapter with its limits, in the order of [`super::adapters`].
pub async fn limits() -> Vec<(Adapter, Vec<Limit>)> {
    let found = instance().enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let needs = values(&wgpu::Limits::default());
    let of = |a: &wgpu::Adapter| {
        let has = values(&a.limits());
        let pairs = has.into_iter().zip(needs);
        pairs
            .map(|((name, has, alignment), (_, needs, _))| Limit {
                name,
                has,
                needs,
                alignment,
            })
            .collect()
    };
    found
        .iter()
        .map(|a| (Adapter::new(&a.get_info()), of(a)))
        .collect()
}

/// (name, value, whether it is an alignment) of the limits that compute work meets.
fn values(l: &wgpu::Limits) -> [(&'static str, u64, bool); 12] {
    let n = |x: u32| u64::from(x);
    [
        ("maxBufferSize", l.max_buffer_size, false),
        (
            "maxStorageBufferBindingSize",
            l.max_storage_buffer_binding_size,
            false,
        ),
        (
            "maxStorageBuffersPerShaderStage",
            n(l.max_storage_buffers_per_shader_stage),
            false,
        ),
        (
            "maxUniformBufferBindingSize",
            l.max_uniform_buffer_binding_size,
            false,
        ),
        (
            "maxComputeWorkgroupStorageSize",
            n(l.max_compute_workgroup_storage_size),
            false,
        ),
        (
            "maxComputeInvocationsPerWorkgroup",
            n(l.max_compute_invocations_per_workgroup),
            false,
        ),
        (
            "maxComputeWorkgroupSizeX",
            n(l.max_compute_workgroup_size_x),
            false,
        ),
        (
            "maxComputeWorkgroupSizeY",
            n(l.max_compute_workgroup_size_y),
            false,
        ),
        (
            "maxComputeWorkgroupSizeZ",
            n(l.max_compute_workgroup_size_z),
            false,
        ),
        (
            "maxComputeWorkgroupsPerDimension",
            n(l.max_compute_workgroups_per_dimension),
            false,
        ),
        (
            "minStorageBufferOffsetAlignment",
            n(l.min_storage_buffer_offset_alignment),
            true,
        ),
        (
            "minUniformBufferOffsetAlignment",
            n(l.min_uniform_buffer_offset_alignment),
            true,
        ),
    ]
}
