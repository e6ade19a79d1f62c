//! Prints, uncaptured, which drivers the suite ran on and how to install those that are absent.

use carat_tests::drivers;

fn main() {
    // What cargo's test runners ask a target without libtest for.
    if std::env::args().any(|a| a == "--list") {
        if !std::env::args().any(|a| a == "--ignored") {
            println!("drivers: test");
        }
        return;
    }
    println!("\nDevices of this run:");
    let line = |name: &str, found: bool, install: &str| {
        println!(
            "  {name:<12} {}",
            if found {
                "present".into()
            } else {
                format!("ABSENT: {install}")
            }
        );
    };
    println!("  {:<12} present", "cpu");
    for d in &drivers::VULKAN {
        line(d.name, d.manifest().is_some(), d.install);
    }
    line("qemu-aarch64", drivers::qemu(), drivers::QEMU_INSTALL);
    let shared = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/oracles")
        .exists();
    println!(
        "  {:<12} {}",
        "oracles",
        if shared {
            "present"
        } else {
            "ABSENT: checks against other programs' results were left out"
        }
    );
}
