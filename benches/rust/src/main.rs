//! The Rust subjects of the benches: `bench-rust <subject> <kind> <size> <channels> <count> <port>`, one JSON line out.
//! `BENCH_LIMIT`: seconds until a run without an end fails.

mod case;
mod measure;
mod ours;
mod tungstenite;

use std::time::Duration;

use case::{Case, Kind};
use measure::Measure;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How much of a payload the callback reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// Parses it, and reads one field.
    Field,
    /// Takes it as it is, and looks at the number that it begins with.
    Raw,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (subject, case) =
        Case::parse(&arguments).ok_or("bench-rust <subject> <kind> <size> <channels> <count> <port>")?;
    let limit: u64 = std::env::var("BENCH_LIMIT").map_or(Ok(100), |limit| limit.parse())?;
    // What a warm-up leaves behind would hide what connections need.
    if case.kind != Kind::Idle {
        run(&subject, &Case { count: case.count.div_ceil(4), ..case.clone() }, limit).await?;
    }
    let measure = run(&subject, &case, limit).await?;
    println!("{}", measure.to_json()?);
    Ok(())
}

async fn run(subject: &str, case: &Case, limit: u64) -> Result<Measure, Error> {
    let measured = async {
        match subject {
            "ours" => ours::run(case, Reads::Field).await,
            "ours-raw" => ours::run(case, Reads::Raw).await,
            "tungstenite" => tungstenite::run(case, Reads::Field).await,
            "tungstenite-raw" => tungstenite::run(case, Reads::Raw).await,
            _ => Err(format!("{subject} is not a subject").into()),
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(limit), measured).await;
    ended.map_err(|_| format!("{:?} has found no end in {limit} s: a message is missing", case.kind))?
}
