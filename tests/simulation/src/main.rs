//! `simulate [SEEDS] [FIRST]`: runs seeds and prints what they came to. Exit status 1 where an invariant was violated.
#![allow(missing_docs)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap_or_else(|_| usage()));
    let seeds = args.next().unwrap_or(100);
    let first = args.next().unwrap_or(1);
    let (mut hours, mut faults, mut messages, mut deliveries, mut gaps, mut violations) = (0.0, 0, 0, 0, 0, 0);
    for seed in first..first + seeds {
        let report = realtime_simulation::run(seed);
        hours += report.virtual_time.as_secs_f64() / 3600.0;
        faults += report.faults;
        messages += report.messages;
        deliveries += report.deliveries;
        gaps += report.gaps;
        violations += report.violations.len();
        if let Some(violation) = report.violations.first() {
            println!("seed {seed}: {} violations, the first: {violation}", report.violations.len());
        }
    }
    println!("deliveries={deliveries} gaps_reported={gaps}");
    println!(
        "simulation: seeds={seeds} virtual_hours={hours:.1} faults={faults} messages={messages} violations={violations}"
    );
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> u64 {
    eprintln!("usage: simulate [SEEDS] [FIRST]");
    std::process::exit(2)
}
