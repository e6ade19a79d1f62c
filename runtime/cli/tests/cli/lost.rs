//! A model's file that another process shortens while it is used.

use crate::support::model;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A copy of the model.
struct Copy {
    _directory: TempDir,
    path: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy.gguf");
        fs::copy(model(), &path).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    /// The program with the copy.
    fn spawn(&self, command: &str, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_carat"))
            .arg(command)
            .arg(&self.path)
            .args(["--device", "cpu"])
            .args(args)
            .env("NO_COLOR", "1")
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn halve(&self) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }

    /// The program fails as with other damage: code 1, and this as the last of its lines.
    fn expect(&self, child: Child) -> String {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let path = self.path.display().to_string();
        let last = stderr.lines().last().unwrap();
        assert!(last.starts_with(&format!("error: {path}: ")), "{stderr}");
        assert_eq!(last.matches(&path).count(), 1, "{stderr}");
        assert!(last.contains("shortened"), "{stderr}");
        stderr
    }
}

#[test]
fn a_run_ends_with_one_line() {
    for flags in [&["--no-verify"][..], &[], &["--stream-json"]] {
        let copy = Copy::new();
        let endless = ["-p", "The sea", "-n", "-1", "--ignore-eos"];
        let mut child = copy.spawn("run", &[&endless, flags].concat());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = vec![0; 20];
        stdout.read_exact(&mut text).unwrap();
        copy.halve();
        stdout.read_to_end(&mut text).unwrap();
        let stderr = copy.expect(child);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        if flags == ["--stream-json"] {
            let text = String::from_utf8(text.split_off(20)).unwrap();
            let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(last["error"]["code"], "damaged", "{last}");
            let hint = "restore the file and open it again";
            assert_eq!(last["error"]["hint"], hint, "{last}");
        }
    }
}

#[test]
fn a_chat_ends() {
    let copy = Copy::new();
    let mut child = copy.spawn("chat", &["--json", "-n", "4"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, "Hello").unwrap();
    let event =
        |line: std::io::Result<String>| -> Value { serde_json::from_str(&line.unwrap()).unwrap() };
    let mut events = stdout.by_ref().map(event);
    assert!(events.any(|e| e["event"] == "end"));
    copy.halve();
    writeln!(stdin, "And then?").unwrap();
    drop(stdin);
    let last = events.last().unwrap();
    assert_eq!(last["error"]["code"], "damaged", "{last}");
    copy.expect(child);
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_goes_on_with_errors() {
    let copy = Copy::new();
    let mut server = Running(copy.spawn("serve", &["--port", "0", "--json"]));
    let mut stdout = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let listens: Value = serde_json::from_str(&line).unwrap();
    let address = listens["address"].as_str().unwrap();
    let ask = |path: &str, body: &str| -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let (method, len) = (["GET", "POST"][usize::from(!body.is_empty())], body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let complete = || {
        ask(
            "/v1/completions",
            r#"{"prompt": "The sea", "max_tokens": 8}"#,
        )
    };
    let before = complete();
    assert!(before.starts_with("HTTP/1.1 200"), "{before}");
    copy.halve();
    for _ in 0..2 {
        let after = complete();
        assert!(after.starts_with("HTTP/1.1 500"), "{after}");
        assert!(after.contains("shortened"), "{after}");
    }
    let health = ask("/health", "");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
}
