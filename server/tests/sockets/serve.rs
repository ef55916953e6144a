#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;

use crate::support::Client;

/// The binary as a child process.
pub struct Serve {
    pub child: Child,
    pub addr: String,
}

impl Serve {
    pub fn start(flags: &[&str]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_realtime")).args(["serve", "--port", "0"]).args(flags))
    }

    /// Runs a command that becomes the binary.
    pub fn run(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.strip_prefix("realtime listening on ws://").expect(&line).trim().to_owned();
        Self { child, addr }
    }

    pub async fn v1(&self) -> Client {
        let stream = TcpStream::connect(&self.addr).await.unwrap();
        let mut client = Client::over(stream, "/", &[("sec-websocket-protocol", "realtime.v1")]).await.unwrap();
        client.hello("alice").await;
        client
    }

    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
