//! Kernels compiled for a device, which every executor on it shares.

use crate::device::ProductTuning;
use crate::plan::Op;
use carat_format::Encoding;
use carat_shaders::{Access, Kernel};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A kernel compiled with its constants.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// What tells pipelines apart: the kernel and everything that its constants depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PipelineKey {
    kernel: &'static str,
    encoding: Option<Encoding>,
    /// Of products.
    product: Option<ProductTuning>,
    /// Of kernels of heads.
    lanes: Option<u32>,
    /// Of gated units.
    activation: Option<u32>,
    /// Of kernels that know the cache.
    narrow: Option<u32>,
}

impl PipelineKey {
    pub fn new(op: &Op, product: &ProductTuning, lanes: u32) -> Self {
        Self {
            kernel: op.kernel(),
            encoding: op.encoding(),
            product: op.is_product().then_some(*product),
            lanes: op.is_of_heads().then_some(lanes),
            activation: op.activation(),
            narrow: op.narrow(),
        }
    }

    /// The pipeline constants.
    pub fn constants(&self, op: &Op) -> Vec<(&'static str, f64)> {
        let mut constants: Vec<(&str, f64)> = Vec::new();
        if let Some(encoding) = self.encoding {
            constants.push(("CODES", encoding.codes().into()));
        }
        if let Some(lanes) = self.lanes {
            constants.push(("LANES", lanes.into()));
        }
        if let Some(activation) = self.activation {
            constants.push(("ACTIVATION", activation.into()));
        }
        if let Some(narrow) = self.narrow {
            constants.push(("NARROW", narrow.into()));
        }
        if let Some(t) = self.product {
            constants.push(("SLICES", t.slices.into()));
            constants.push(("ROWS", t.rows.into()));
            if matches!(op, Op::LinearTile(..)) {
                constants.push(("TILES", t.tiles.into()));
            }
            if t.biased {
                constants.push(("BIAS", 128.0));
            }
            if t.pairs && self.encoding == Some(Encoding::Pow4) {
                let tables = if matches!(op, Op::LinearGated(..)) {
                    2
                } else {
                    1
                };
                constants.push(("PAIRS", f64::from(256 * tables)));
            }
        }
        constants
    }
}

/// Those of a device that have run once: drivers compile at the first dispatch.
#[derive(Default)]
pub(crate) struct Pipelines(Mutex<HashMap<PipelineKey, Pipeline>>);

impl Pipelines {
    pub(super) fn get(&self, key: &PipelineKey) -> Option<Pipeline> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned()
    }

    pub(super) fn keep(&self, key: PipelineKey, pipeline: &Pipeline) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, pipeline.clone());
    }
}

pub(super) fn compile(
    device: &wgpu::Device,
    kernel: &Kernel,
    constants: &[(&str, f64)],
) -> Pipeline {
    let entries: Vec<wgpu::BindGroupLayoutEntry> = kernel
        .bindings
        .iter()
        .enumerate()
        .map(|(i, b)| wgpu::BindGroupLayoutEntry {
            binding: i as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match b.access {
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name),
        entries: &entries,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(kernel.name),
        source: wgpu::ShaderSource::Wgsl(kernel.wgsl.into()),
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            ..Default::default()
        },
        cache: None,
    });
    Pipeline { pipeline, layout }
}
