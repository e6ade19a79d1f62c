//! A GPU beside a file that is lost.

use super::Case;
use super::files::Copy;
use carat::guard_maps;
use carat::internals::{
    Checksum, Delivery, DeviceChoice, Error, Model, Session, SessionOptions, Verify, Want,
};
use pollster::block_on;
use std::sync::Arc;

pub const LIVE: &[Case] = &[
    ("a_gpu_with_all_weights_goes_on", with_all_weights),
    ("an_upload_ends", an_upload),
];

fn options(device: DeviceChoice) -> SessionOptions {
    SessionOptions {
        device,
        context: 256,
        ..SessionOptions::default()
    }
}

/// What there is on any GPU; `None` where there is no driver.
fn on_gpu<T>(opened: Result<T, Error>) -> Option<T> {
    if let Err(Error::NoDevice { .. }) = &opened {
        eprintln!("ABSENT: any Vulkan driver (apt-get install libvulkan1 mesa-vulkan-drivers)");
        return None;
    }
    Some(opened.unwrap())
}

fn any() -> SessionOptions {
    options(DeviceChoice::GpuNamed(String::new()))
}

fn checksum(session: &mut Session, tokens: &[u32]) -> Checksum {
    let mut found = None;
    let mut sink = |o: carat::internals::Output<'_>| found = Some(o.checksum);
    block_on(session.forward(tokens, Want::LastResult, &mut sink)).unwrap();
    found.unwrap()
}

fn with_all_weights() {
    guard_maps().unwrap();
    let (copy, whole) = (Copy::new(), Copy::new());
    let open = |copy: &Copy| Arc::new(Model::open(&copy.path, Verify::Structure).unwrap());
    let model = open(&copy);
    let Some(mut gpu) = on_gpu(block_on(Session::new(model.clone(), &any()))) else {
        return;
    };
    let cpu = options(DeviceChoice::Cpu);
    let mut cpu = block_on(Session::new(open(&whole), &cpu)).unwrap();
    for tokens in [&[3, 1, 4, 1, 5][..], &[9], &[2, 6]] {
        assert_eq!(checksum(&mut gpu, tokens), checksum(&mut cpu, tokens));
        copy.shorten(0);
        copy.expect(&model.intact().unwrap_err().into());
    }
}

fn an_upload() {
    guard_maps().unwrap();
    for len in Copy::new().lengths() {
        let copy = Copy::new();
        let model = Arc::new(Model::open(&copy.path, Verify::Structure).unwrap());
        let Some(mut delivery) = on_gpu(block_on(Delivery::begin(model.clone(), &any()))) else {
            return;
        };
        copy.shorten(len);
        let put = block_on(delivery.put_all(&model, len == 0));
        copy.expect(&put.unwrap_err().into());
    }
}
