//! Composes every kernel's WGSL, validates it with naga and reflects its bindings; fails hard.
//!
//! A kernel file holds its bindings and `fn main`; `//#import NAME` takes in `wgsl/shared/NAME.wgsl`, and `//#import kv` the
//! layout that `src/kv.rs` declares.
//! The prelude (constants and `struct Params`) is written from `src/params.rs`.

#[path = "build/bare.rs"]
mod bare;

use bare::bare;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[allow(dead_code, missing_docs)]
#[path = "src/params.rs"]
mod params;

#[allow(dead_code, missing_docs)]
#[path = "src/kv.rs"]
mod kv;

type Result<T> = std::result::Result<T, String>;

fn main() {
    println!("cargo::rerun-if-changed=build/bare.rs");
    println!("cargo::rerun-if-changed=wgsl");
    println!("cargo::rerun-if-changed=src/params.rs");
    println!("cargo::rerun-if-changed=src/kv.rs");
    // Where products have a version in wide vectors: see src/cpu/simd.
    println!("cargo::rustc-check-cfg=cfg(wide_isa)");
    let cfg = |name: &str| env::var(name).unwrap_or_default();
    let wide = match cfg("CARGO_CFG_TARGET_ARCH").as_str() {
        "x86_64" | "aarch64" => true,
        "wasm32" => cfg("CARGO_CFG_TARGET_FEATURE").contains("simd128"),
        _ => false,
    };
    if wide {
        println!("cargo::rustc-cfg=wide_isa");
    }
    if let Err(e) = build() {
        // A kernel that does not compile must stop the build, with its own diagnostics.
        eprintln!("{e}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    let root =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?).join("wgsl");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&root).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|e| e == "wgsl") {
            names.push(
                path.file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    names.sort();
    let mut table = String::from("/// Every kernel, by name.\npub const KERNELS: &[Kernel] = &[\n");
    let mut places = String::from(
        "/// Places of each kernel's storage buffers: those of its bindings, the uniform left out.\n\
         #[allow(missing_docs)]\npub mod places {\n",
    );
    for name in &names {
        let source = compose(&root, name)?;
        let bindings = reflect(name, &source)?;
        let bare = bare(&source);
        // Nothing that it needs was left out.
        if reflect(name, &bare)? != bindings {
            return Err(format!(
                "{name}: without what nobody needs it has other bindings"
            ));
        }
        let storage = bindings.iter().filter(|b| b.1 != "Uniform");
        writeln!(places, "    pub mod {name} {{").map_err(|e| e.to_string())?;
        for (i, (binding, _)) in storage.enumerate() {
            let constant = binding.to_uppercase();
            writeln!(places, "        pub const {constant}: usize = {i};")
                .map_err(|e| e.to_string())?;
        }
        places.push_str("    }\n");
        let listed = |(name, access): &(String, &str)| {
            format!("Binding {{ name: {name:?}, access: Access::{access} }}")
        };
        let bindings = bindings.iter().map(listed).collect::<Vec<_>>().join(", ");
        let has_codes = source.contains("override CODES");
        let file = out.join(format!("{name}.wgsl"));
        fs::write(&file, bare).map_err(|e| e.to_string())?;
        writeln!(
            table,
            "    Kernel {{ name: {name:?}, wgsl: include_str!({:?}), bindings: &[{bindings}], has_codes: {has_codes} }},",
            file.display().to_string()
        )
        .map_err(|e| e.to_string())?;
    }
    table.push_str("];\n");
    places.push_str("}\n");
    table.push_str(&places);
    fs::write(out.join("kernels.rs"), table).map_err(|e| e.to_string())
}

/// The prelude, the imports and the kernel itself.
fn compose(root: &Path, name: &str) -> Result<String> {
    let mut text = String::new();
    for (constant, value) in params::WGSL_CONSTANTS {
        text.push_str(&format!("const {constant}: u32 = {value}u;\n"));
    }
    for (constant, value) in params::WGSL_SIGNED_CONSTANTS {
        text.push_str(&format!("const {constant}: i32 = {value}i;\n"));
    }
    let (_, fields) = params::WGSL_PARAMS
        .iter()
        .find(|(kernels, _)| kernels.contains(&name))
        .ok_or_else(|| format!("{name}: no uniform is declared for it in src/params.rs"))?;
    text.push_str("struct Params {\n");
    for (field, ty) in *fields {
        text.push_str(&format!("    {field}: {ty},\n"));
    }
    text.push_str("}\n");
    let source =
        fs::read_to_string(root.join(format!("{name}.wgsl"))).map_err(|e| e.to_string())?;
    for line in source.lines() {
        if let Some(import) = line.strip_prefix("//#import ") {
            let file = root.join("shared").join(format!("{}.wgsl", import.trim()));
            let read = || fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()));
            text.push_str(&match import.trim() {
                "kv" => kv::wgsl(),
                _ => read()?,
            });
        }
    }
    text.push_str(&source);
    Ok(text)
}

/// No float, and no more workgroup memory or invocations than every WebGPU device has.
fn check_limits(name: &str, module: &naga::Module) -> Result<()> {
    let float = |t: &naga::Type| match t.inner {
        naga::TypeInner::Scalar(s)
        | naga::TypeInner::Vector { scalar: s, .. }
        | naga::TypeInner::Atomic(s)
        | naga::TypeInner::Matrix { scalar: s, .. } => s.kind == naga::ScalarKind::Float,
        _ => false,
    };
    if module.types.iter().any(|(_, t)| float(t)) {
        return Err(format!(
            "{name}: floats differ between devices; kernels hold none"
        ));
    }
    let workgroup = module
        .global_variables
        .iter()
        .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
        .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
        .sum::<u32>();
    if workgroup > 16_384 {
        return Err(format!(
            "{name}: {workgroup} bytes of workgroup memory; WebGPU's default limit is 16384"
        ));
    }
    // Where an override sets a size, the pipeline's creation checks it.
    for entry in &module.entry_points {
        let invocations: u32 = entry.workgroup_size.iter().product();
        if invocations > 256 {
            return Err(format!(
                "{name}: {invocations} invocations; WebGPU's default limit is 256"
            ));
        }
    }
    Ok(())
}

/// Validates the module and lists its bindings in order: names and accesses.
fn reflect(name: &str, source: &str) -> Result<Vec<(String, &'static str)>> {
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|e| e.emit_to_string_with_path(source, name))?;
    // No optional capability: only what every WebGPU device has.
    naga::valid::Validator::new(
        naga::valid::ValidationFlags::all(),
        naga::valid::Capabilities::empty(),
    )
    .validate(&module)
    .map_err(|e| e.emit_to_string_with_path(source, name))?;
    if !module.entry_points.iter().any(|e| e.name == "main") {
        return Err(format!("{name}: no entry point 'main'"));
    }
    check_limits(name, &module)?;
    let mut found: Vec<(u32, String, &str)> = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else {
            continue;
        };
        let access = match variable.space {
            naga::AddressSpace::Uniform => "Uniform",
            naga::AddressSpace::Storage { access }
                if access.contains(naga::StorageAccess::STORE) =>
            {
                "ReadWrite"
            }
            naga::AddressSpace::Storage { .. } => "Read",
            other => return Err(format!("{name}: binding in {other:?}")),
        };
        let variable = variable.name.clone().unwrap_or_default();
        found.push((binding.binding, variable, access));
    }
    found.sort();
    if found.iter().enumerate().any(|(i, b)| i as u32 != b.0) {
        return Err(format!("{name}: bindings are not numbered 0, 1, 2, …"));
    }
    let storage = found.iter().filter(|b| b.2 != "Uniform").count();
    if storage > 8 {
        return Err(format!(
            "{name}: {storage} storage buffers; WebGPU's default limit is 8"
        ));
    }
    Ok(found
        .into_iter()
        .map(|(_, name, access)| (name, access))
        .collect())
}
