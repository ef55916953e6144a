//! The load client of the fan-out bench: drives a server under test in its own dialect, from one thread.
//!
//! Lines on standard output say where it is (`open`, `begin`, `end`), so that who started it can look at the server's processor
//! time and memory at that moment; the last line is the result as JSON. Every subscriber compares each message with the one
//! that it expects: what is lost, repeated, swapped or changed ends the run with an error.

mod dialect;
mod fan;
mod frame;
mod idle;
mod progress;
mod socket;
mod template;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::task::LocalSet;

use crate::dialect::Dialect;
use crate::fan::{Fan, Pace};

#[derive(Debug, Parser)]
struct Options {
    /// What the server speaks.
    #[arg(value_enum)]
    dialect: Dialect,
    /// Where it listens.
    server: SocketAddr,
    #[command(subcommand)]
    case: Case,
}

#[derive(Debug, Subcommand)]
enum Case {
    /// Publishes as fast as the slowest subscriber takes it.
    Flood {
        #[arg(long)]
        subscribers: usize,
        /// Messages that are on their way to somebody.
        #[arg(long, default_value_t = 256)]
        window: u64,
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Publishes so many a second, and measures how long each delivery takes.
    Paced {
        #[arg(long)]
        subscribers: usize,
        /// Publishes a second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Holds connections that do nothing but give signs of life.
    Idle {
        #[arg(long)]
        connections: usize,
        /// How often each gives a sign of life, or waits for the server's.
        #[arg(long, default_value_t = 4)]
        beats: u32,
        /// Between two of them.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, run(&options)));
    match result {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> io::Result<serde_json::Value> {
    let Options { dialect, server, .. } = *options;
    match options.case {
        Case::Flood { subscribers, window, seconds } => {
            let pace = Pace::Window(window);
            Fan { dialect, server, subscribers, pace, time: Duration::from_secs_f64(seconds) }.run().await
        }
        Case::Paced { subscribers, rate, seconds } => {
            let pace = Pace::Rate(rate);
            Fan { dialect, server, subscribers, pace, time: Duration::from_secs_f64(seconds) }.run().await
        }
        Case::Idle { connections, beats, seconds } => {
            idle::run(dialect, server, connections, beats, Duration::from_secs_f64(seconds)).await
        }
    }
}

/// Says where the run is.
pub(crate) fn say(place: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{place}")?;
    out.flush()
}
