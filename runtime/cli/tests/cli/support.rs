//! What the tests share: the program, the bundled model as checkpoint and as Carat file.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

/// The program without anything of this machine's terminal.
pub fn carat() -> Command {
    let mut command = Command::cargo_bin("carat").unwrap();
    command.env("NO_COLOR", "1").env_remove("CARAT_LOG");
    // Not the user's.
    command.env(
        "CARAT_CACHE",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    );
    // As in a container: nothing may be said of it.
    command.env_remove("XDG_RUNTIME_DIR");
    command
}

/// The bundled checkpoint.
pub fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/facet-6m")
}

/// A short text.
pub fn text() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../converter/texts/demo.txt")
}

/// The bundled model at 4 bits, converted by this very program: once, even where every test is a process
/// of its own.
pub fn model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let program = fs::metadata(env!("CARGO_BIN_EXE_carat")).unwrap();
        let built = program
            .modified()
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("carat-cli");
        fs::create_dir_all(&directory).unwrap();
        let model = directory.join(format!("{built}.gguf"));
        if !model.exists() {
            // Left by programs built before.
            for old in fs::read_dir(&directory).unwrap().flatten() {
                let stem = old
                    .path()
                    .file_stem()
                    .and_then(|s| s.to_str()?.parse::<u128>().ok());
                if stem.is_some_and(|s| s != built) {
                    let _ = fs::remove_file(old.path());
                }
            }
            let own = directory.join(format!("{}-{built}.gguf", std::process::id()));
            carat()
                .arg("convert")
                .arg(checkpoint())
                .arg("-o")
                .arg(&own)
                .args(["--method", "none"])
                .assert()
                .success();
            fs::rename(&own, &model).unwrap();
        }
        model
    })
}

/// The only line of stdout, as JSON.
pub fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        stdout.matches('\n').count(),
        1,
        "one object in one line: {stdout}"
    );
    serde_json::from_str(&stdout).unwrap()
}

/// The one line on stderr of a command that must fail; nothing on stdout, but for the failure as JSON where that is asked
/// for.
pub fn failure(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    if command.get_args().any(|a| a == "--json") {
        let told: Value = serde_json::from_str(&stdout).unwrap();
        let message = told["error"]["message"].as_str().unwrap();
        let first = message.split_whitespace().next().unwrap();
        assert!(stderr.contains(first), "{message} {stderr}");
    } else {
        assert!(stdout.is_empty(), "{stdout}");
    }
    assert!(
        stderr.starts_with("error: ") || stderr.contains("\nerror: "),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    if code == 1 {
        assert_eq!(
            stderr.trim_end().matches('\n').count(),
            stderr.matches("warning: ").count(),
            "{stderr}"
        );
    }
    stderr
}

/// A GGUF file of another architecture.
pub fn foreign(path: &Path) {
    let mut writer = carat_gguf::Writer::new();
    writer.kv("general.architecture", "gpt2").unwrap();
    writer.kv("general.name", "other").unwrap();
    writer
        .tensor("wte.weight", &[4, 2], carat_gguf::TensorType::F32, 32)
        .unwrap();
    let layout = writer.finish().unwrap();
    let mut bytes = layout.header.clone();
    bytes.resize(layout.file_len as usize, 0);
    fs::write(path, bytes).unwrap();
}
