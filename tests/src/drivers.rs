//! The drivers and emulators that the suite uses, and what installs them.
#![allow(dead_code)]

use std::path::Path;
use std::process::Command;

/// Something the suite runs on that a machine may lack.
pub struct Driver {
    /// Its name in messages.
    pub name: &'static str,
    /// Part of the Vulkan adapter's name.
    pub adapter: &'static str,
    /// Where its Vulkan manifest may be.
    manifests: &'static [&'static str],
    /// What installs it on Debian.
    pub install: &'static str,
}

/// The software Vulkan drivers.
pub const VULKAN: [Driver; 2] = [
    Driver {
        name: "lavapipe",
        adapter: "llvmpipe",
        manifests: &[
            "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json",
            "/usr/share/vulkan/icd.d/lvp_icd.aarch64.json",
            "/usr/share/vulkan/icd.d/lvp_icd.json",
        ],
        install: "apt-get install libvulkan1 mesa-vulkan-drivers",
    },
    Driver {
        name: "SwiftShader",
        adapter: "SwiftShader",
        manifests: &["/usr/lib/chromium/vk_swiftshader_icd.json"],
        install: "apt-get install libvulkan1 chromium",
    },
];

impl Driver {
    /// Its manifest, if it is installed.
    pub fn manifest(&self) -> Option<&'static str> {
        self.manifests
            .iter()
            .copied()
            .find(|m| Path::new(m).exists())
    }

    /// Its manifest; where it is absent says so, and fails under `CARAT_REQUIRE_DRIVERS=1`.
    pub fn manifest_or_absent(&self) -> Option<&'static str> {
        let found = self.manifest();
        if found.is_none() {
            absent(self.name, self.install);
        }
        found
    }

    /// Environment under which the Vulkan loader sees this driver alone.
    pub fn environment(manifest: &str) -> [(&'static str, String); 2] {
        [
            ("VK_DRIVER_FILES", manifest.into()),
            ("VK_ICD_FILENAMES", manifest.into()),
        ]
    }
}

/// In a child process, the adapter to run on.
const CHILD: &str = "CARAT_TEST_DRIVER";

/// Calls `body` with an adapter's name in one child process a driver: the Vulkan loader reads its drivers
/// from the environment. `body` returns the dispatches it saw.
pub fn on_each_driver(test: &str, body: impl FnOnce(&str) -> u64) {
    if let Ok(name) = std::env::var(CHILD) {
        let dispatches = body(&name);
        assert!(dispatches > 0, "{test}: nothing ran on {name}");
        println!("RAN {test} on {name}: {dispatches} dispatches");
        return;
    }
    let program = std::env::current_exe().expect("a test knows its own program");
    for driver in &VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let child = Command::new(&program)
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .envs(Driver::environment(manifest))
            .env(CHILD, driver.adapter)
            .output()
            .expect("a test starts its own program");
        let text = String::from_utf8_lossy(&child.stdout);
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(
            child.status.success(),
            "{test} on {}:\n{text}\n{errors}",
            driver.name
        );
        let ran = text.lines().find(|l| l.contains("RAN "));
        println!(
            "{}",
            ran.unwrap_or_else(|| panic!("{test} did not run:\n{text}"))
        );
    }
}

/// What the run under an emulated ARM processor needs.
pub const QEMU_INSTALL: &str = "apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross && rustup target add aarch64-unknown-linux-gnu";

/// Whether the emulator, the linker and Rust's library for ARM are here.
pub fn qemu() -> bool {
    let runs = |program: &str, arg: &str| {
        Command::new(program)
            .arg(arg)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let library = Command::new("rustc")
        .args([
            "--print",
            "target-libdir",
            "--target",
            "aarch64-unknown-linux-gnu",
        ])
        .output();
    let library =
        library.is_ok_and(|o| Path::new(String::from_utf8_lossy(&o.stdout).trim()).exists());
    runs("qemu-aarch64", "--version") && runs("aarch64-linux-gnu-gcc", "--version") && library
}

/// Says that something is absent and how to install it; fails under `CARAT_REQUIRE_DRIVERS=1`.
pub fn absent(name: &str, install: &str) {
    eprintln!("ABSENT: {name} ({install})");
    assert!(
        !required(),
        "{name} is required (CARAT_REQUIRE_DRIVERS=1) and absent: {install}"
    );
}

/// Whether absence fails.
pub fn required() -> bool {
    std::env::var_os("CARAT_REQUIRE_DRIVERS").is_some_and(|v| v == "1")
}
