//! Readers that go away, Ctrl-C, and what goes to which stream.

use crate::support::{carat, checkpoint, model};
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

fn spawn(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_carat"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn text_alone_on_stdout() {
    let output = carat()
        .arg("run")
        .arg(model())
        .args(["-p", "The sea", "-n", "12", "--device", "cpu"])
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(out.ends_with('\n') && !out.contains("tokens"), "{out}");
    assert!(err.contains("12 tokens") && !err.contains('\x1b'), "{err}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let model = model().to_str().unwrap();
    for args in [
        &[
            "run", model, "-p", "The sea", "-n", "900", "--device", "cpu",
        ][..],
        &["inspect", model, "--tensors"],
        &["inspect", model, "--json"],
        &[
            "logits",
            model,
            "--tokens",
            "1,2,3,4,5,6,7,8,9",
            "--json",
            "--device",
            "cpu",
        ],
        &["run", "--help"],
    ] {
        let mut child = spawn(args);
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{args:?}: {status} {stderr}");
        assert!(
            !stderr.contains("error") && !stderr.contains("panicked"),
            "{args:?}: {stderr}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    for args in [
        &["run", "-p", "The sea", "-n", "4"][..],
        &["inspect", "--json"],
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_carat"))
            .arg(args[0])
            .arg(model())
            .args(&args[1..])
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
    }
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    signal(child, "-INT");
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_text() {
    let mut child = spawn(&[
        "run",
        model().to_str().unwrap(),
        "-p",
        "The sea",
        "-n",
        "-1",
        "--ctx",
        "9000",
        "--device",
        "cpu",
    ]);
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 8];
    stdout.read_exact(&mut first).unwrap();
    interrupt(&child);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        rest.ends_with(b"\n") && stderr.contains("ended by cancelled"),
        "{stderr}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("m.gguf");
    let child = spawn(&[
        "convert",
        checkpoint().to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--method",
        "none",
        "--threads",
        "1",
    ]);
    // The temporary file shows that the conversion is under way and listens.
    let started = std::time::Instant::now();
    while fs::read_dir(&directory).unwrap().next().is_none() {
        assert!(started.elapsed().as_secs() < 20, "no conversion begins");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("nothing was written"), "{stderr}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

/// Names of what is in a directory, and below it.
#[cfg(unix)]
fn all(directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.push(entry.file_name().to_string_lossy().into_owned());
        found.extend(all(&entry.path()));
    }
    found
}

/// Starts a command, sends it the signal once a file appears that `begun` knows, and waits for its end: exit code and what
/// it said.
#[cfg(unix)]
fn ended_by(
    name: &str,
    command: &mut Command,
    folder: &std::path::Path,
    begun: &str,
) -> (Option<i32>, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What it makes first shows that it is under way and listens.
    let started = std::time::Instant::now();
    while !all(folder).iter().any(|n| n.contains(begun)) {
        assert!(started.elapsed().as_secs() < 60, "nothing begins");
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

#[cfg(unix)]
#[test]
fn a_conversion_that_is_terminated_leaves_no_file() {
    for (method, begun) in [(Some("none"), ".part"), (None, ".partial")] {
        for (name, expected) in [("-TERM", 143), ("-INT", 130)] {
            let directory = tempfile::tempdir().unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_carat"));
            command.arg("convert").arg(checkpoint()).arg("-o");
            command.arg(directory.path().join("m.gguf"));
            command.args(["--threads", "1"]);
            // A long card gives the signal seconds to come.
            let text = checkpoint().join("../../text/calibration.txt");
            command
                .args(["--card-tokens", "8192", "--card-text"])
                .arg(text);
            if let Some(method) = method {
                command.args(["--method", method]);
            }
            let (code, stderr) = ended_by(name, &mut command, directory.path(), begun);
            assert_eq!(code, Some(expected), "{stderr}");
            // What was kept of a calibrated one may stay.
            let left = fs::read_dir(&directory).unwrap().flatten();
            let left: Vec<_> = left.map(|e| e.file_name()).collect();
            assert!(left.iter().all(|n| n == "m.gguf.partial"), "{left:?}");
            assert!(method.is_none() || left.is_empty(), "{left:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_terminated_while_it_converts_leaves_no_file() {
    for (extra, begun) in [(&[][..], ".partial"), (&["--no-cache"], "carat-")] {
        let directory = tempfile::tempdir().unwrap();
        let (cache, temporary) = (directory.path().join("cache"), directory.path().join("tmp"));
        fs::create_dir(&temporary).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_carat"));
        command.env("CARAT_CACHE", &cache).env("TMPDIR", &temporary);
        command.arg("run").arg(checkpoint());
        command.args([
            "-p",
            "The sea",
            "-n",
            "2",
            "--device",
            "cpu",
            "--threads",
            "1",
        ]);
        command.args(extra);
        let (code, stderr) = ended_by("-TERM", &mut command, directory.path(), begun);
        assert_eq!(code, Some(143), "{extra:?}: {stderr}");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{extra:?}");
        let models = fs::read_dir(cache.join("models")).into_iter().flatten();
        let left: Vec<_> = models.flatten().map(|e| e.file_name()).collect();
        let kept = |n: &std::ffi::OsString| n.to_string_lossy().ends_with(".partial");
        assert!(left.iter().all(kept), "{extra:?}: {left:?}");
    }
}

/// What `nohup` has ignored stays ignored.
#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_counts_unless_it_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("m.gguf");
    let convert = |shell: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", shell, env!("CARGO_BIN_EXE_carat")]);
        command.arg(checkpoint()).arg(&out);
        command
    };
    let end = r#""$0" convert "$1" -o "$2" --force --method none --threads 1"#;
    // The tests themselves may run under nohup, and a shell cannot take back what it began with.
    let long = format!(
        "exec env --default-signal=HUP {end} --card-tokens 8192 --card-text \"$1/../../text/calibration.txt\""
    );
    let (code, stderr) = ended_by("-HUP", &mut convert(&long), directory.path(), ".part");
    assert_eq!(code, Some(129), "{stderr}");
    let ignored = format!("trap '' HUP; exec {end}");
    let (code, stderr) = ended_by("-HUP", &mut convert(&ignored), directory.path(), ".part");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(all(directory.path()), ["m.gguf"]);
}
