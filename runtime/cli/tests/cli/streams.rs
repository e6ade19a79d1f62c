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
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
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
