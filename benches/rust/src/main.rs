//! The Rust subjects of the benches: `bench-rust <subject> <kind> <size> <channels> <count> <port>`, one JSON line out.

mod case;
mod measure;
mod ours;
mod tungstenite;

use case::Case;
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
    let mut measure = Measure::default();
    let warm_up = Case { count: case.count.div_ceil(4), ..case.clone() };
    for case in [warm_up, case] {
        measure = match &*subject {
            "ours" => ours::run(&case, Reads::Field).await?,
            "ours-raw" => ours::run(&case, Reads::Raw).await?,
            "tungstenite" => tungstenite::run(&case, Reads::Field).await?,
            "tungstenite-raw" => tungstenite::run(&case, Reads::Raw).await?,
            _ => return Err(format!("{subject} is not a subject").into()),
        };
    }
    println!("{}", measure.to_json()?);
    Ok(())
}
