//! Runs a kernel on the software Vulkan drivers and compares it with its CPU twin.
#![allow(dead_code)]

use carat_shaders::{Access, kernel};
use std::collections::HashMap;
use std::process::Command;
use wgpu::*;

#[path = "../../../tests/src/drivers.rs"]
mod drivers;
use drivers::{Driver, VULKAN};
mod random;
pub use random::*;

const CHILD: &str = "CARAT_TEST_DRIVER";

/// Runs `body` on every driver, each in a child process because the Vulkan loader reads its drivers from
/// the environment. `test` is the name of the calling test.
pub fn on_each_driver(test: &str, body: impl FnOnce(&mut Gpu)) {
    if let Ok(name) = std::env::var(CHILD) {
        let driver = VULKAN.iter().find(|d| d.name == name).unwrap();
        let mut gpu = Gpu::open(driver.adapter);
        body(&mut gpu);
        assert!(gpu.dispatches > 0, "{test}: nothing ran on {name}");
        println!(
            "RAN {test} on {}: {} dispatches",
            gpu.adapter, gpu.dispatches
        );
        return;
    }
    for driver in &VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .envs(Driver::environment(manifest))
            .env(CHILD, driver.name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success(),
            "{test} on {}:\n{text}\n{}",
            driver.name,
            String::from_utf8_lossy(&child.stderr)
        );
        let ran = text.lines().find(|l| l.contains("RAN "));
        println!(
            "{}",
            ran.unwrap_or_else(|| panic!("{test} did not run:\n{text}"))
        );
    }
}

pub struct Gpu {
    device: Device,
    queue: Queue,
    pub adapter: String,
    pub dispatches: u32,
    pipelines: HashMap<String, (ComputePipeline, BindGroupLayout)>,
}

impl Gpu {
    /// A device with WebGPU's default limits and no feature on the adapter whose name contains `name`.
    fn open(name: &str) -> Self {
        let mut descriptor = InstanceDescriptor::new_without_display_handle();
        descriptor.backends = Backends::VULKAN;
        descriptor.flags = InstanceFlags::empty();
        let instance = Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(Backends::VULKAN));
        let adapter = adapters
            .into_iter()
            .find(|a| a.get_info().name.contains(name))
            .unwrap_or_else(|| panic!("no adapter named {name}"));
        let limits = Limits::default();
        // The values of the WebGPU specification.
        assert_eq!(limits.max_storage_buffers_per_shader_stage, 8);
        assert_eq!(limits.max_storage_buffer_binding_size, 128 << 20);
        assert_eq!(limits.max_buffer_size, 256 << 20);
        assert_eq!(limits.max_compute_invocations_per_workgroup, 256);
        assert_eq!(limits.max_compute_workgroup_storage_size, 16_384);
        assert_eq!(limits.max_compute_workgroups_per_dimension, 65_535);
        let (device, queue) = pollster::block_on(adapter.request_device(&DeviceDescriptor {
            required_features: Features::empty(),
            required_limits: limits,
            ..Default::default()
        }))
        .unwrap();
        Self {
            device,
            queue,
            adapter: adapter.get_info().name,
            dispatches: 0,
            pipelines: HashMap::new(),
        }
    }

    fn buffer(&self, words: &[u32], usage: BufferUsages) -> Buffer {
        let buffer = self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: (words.len().max(4) * 4) as u64,
            usage: usage | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue
            .write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    /// Runs a kernel of the crate; `buffers` in the order of its storage bindings. Written buffers come
    /// back in place.
    pub fn kernel(
        &mut self,
        name: &str,
        constants: &[(&str, f64)],
        params: &[u8],
        buffers: &mut [&mut [u32]],
        grid: [u32; 3],
    ) {
        let kernel = kernel(name).unwrap_or_else(|| panic!("no kernel {name}"));
        let access: Vec<Access> = kernel.bindings.iter().map(|b| b.access).collect();
        let params = bytemuck::pod_collect_to_vec(params);
        self.run(
            name,
            kernel.wgsl,
            constants,
            &access,
            &params,
            buffers,
            grid,
        );
    }

    /// Runs any module with those bindings; binding 0 is the uniform where `access` says so.
    pub fn run(
        &mut self,
        name: &str,
        wgsl: &str,
        constants: &[(&str, f64)],
        access: &[Access],
        params: &[u32],
        buffers: &mut [&mut [u32]],
        grid: [u32; 3],
    ) {
        let device = &self.device;
        let key = format!("{name} {constants:?}");
        let (pipeline, layout) = self.pipelines.entry(key).or_insert_with(|| {
            let entries: Vec<BindGroupLayoutEntry> = access
                .iter()
                .enumerate()
                .map(|(i, a)| BindGroupLayoutEntry {
                    binding: i as u32,
                    visibility: ShaderStages::COMPUTE,
                    ty: BindingType::Buffer {
                        ty: match a {
                            Access::Uniform => BufferBindingType::Uniform,
                            Access::Read => BufferBindingType::Storage { read_only: true },
                            Access::ReadWrite => BufferBindingType::Storage { read_only: false },
                        },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                })
                .collect();
            let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let module = device.create_shader_module(ShaderModuleDescriptor {
                label: Some(name),
                source: ShaderSource::Wgsl(wgsl.into()),
            });
            let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&device.create_pipeline_layout(&PipelineLayoutDescriptor {
                    label: None,
                    bind_group_layouts: &[Some(&layout)],
                    immediate_size: 0,
                })),
                module: &module,
                entry_point: Some("main"),
                compilation_options: PipelineCompilationOptions {
                    constants,
                    ..Default::default()
                },
                cache: None,
            });
            (pipeline, layout)
        });
        let (pipeline, layout) = (pipeline.clone(), layout.clone());
        let mut bound = Vec::new();
        let mut given = buffers.iter();
        for a in access {
            bound.push(match a {
                Access::Uniform => self.buffer(params, BufferUsages::UNIFORM),
                _ => self.buffer(
                    given.next().unwrap(),
                    BufferUsages::STORAGE | BufferUsages::COPY_SRC,
                ),
            });
        }
        assert!(given.next().is_none(), "{name}: more buffers than bindings");
        let entries: Vec<BindGroupEntry<'_>> = bound
            .iter()
            .enumerate()
            .map(|(i, b)| BindGroupEntry {
                binding: i as u32,
                resource: b.as_entire_binding(),
            })
            .collect();
        let group = self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
        }
        self.dispatches += 1;
        let storage = access
            .iter()
            .zip(&bound)
            .filter(|(a, _)| **a != Access::Uniform);
        let mut reads = Vec::new();
        for (i, (a, buffer)) in storage.enumerate() {
            if *a == Access::ReadWrite {
                let read = self.device.create_buffer(&BufferDescriptor {
                    label: None,
                    size: buffer.size(),
                    usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                encoder.copy_buffer_to_buffer(buffer, 0, &read, 0, buffer.size());
                reads.push((i, read));
            }
        }
        self.queue.submit([encoder.finish()]);
        for (_, read) in &reads {
            read.slice(..).map_async(MapMode::Read, |r| r.unwrap());
        }
        self.device.poll(PollType::wait_indefinitely()).unwrap();
        for (i, read) in reads {
            let view = read.slice(..).get_mapped_range().unwrap();
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&view[..]);
            let n = buffers[i].len();
            buffers[i].copy_from_slice(&words[..n]);
        }
    }
}

/// `==` with a useful message.
pub fn same(what: &str, gpu: &[u32], cpu: &[u32]) {
    if gpu == cpu {
        return;
    }
    let bad: Vec<usize> = (0..cpu.len()).filter(|i| gpu[*i] != cpu[*i]).collect();
    let i = bad[0];
    panic!(
        "{what}: {} of {} words differ; word {i}: device {} ({:#x}), twin {} ({:#x})",
        bad.len(),
        cpu.len(),
        gpu[i] as i32,
        gpu[i],
        cpu[i] as i32,
        cpu[i]
    );
}

/// Signed view.
pub fn signed(words: &mut [u32]) -> &mut [i32] {
    bytemuck::cast_slice_mut(words)
}

/// Lanes of a workgroup for which kernels of heads are tested: no result depends on them.
pub const LANES: [u32; 3] = [4, 8, 64];

/// The pipeline constants.
pub fn lanes(n: u32) -> [(&'static str, f64); 1] {
    [("LANES", f64::from(n))]
}
