//! `simulate --seeds 200`: runs seeds and prints what they came to. Exit status 1 where an invariant was violated.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use realtime_simulation::{Profile, Report, World};

const USAGE: &str = "usage: simulate [--seeds N] [--first SEED] | --seed SEED [--trace] | --mutants | --replay FILE";

#[derive(Debug, Default)]
struct Options {
    seeds: Option<u64>,
    first: Option<u64>,
    seed: Option<u64>,
    trace: bool,
    mutants: bool,
    replay: Option<String>,
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if options.mutants {
        return mutants();
    }
    if let Some(file) = &options.replay {
        return replay(file);
    }
    match options.seed {
        Some(seed) => one(seed, options.trace),
        None => many(options.first.unwrap_or(1), options.seeds.unwrap_or(100)),
    }
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match &*arg {
                "--seeds" => options.seeds = Some(args.next()?.parse().ok()?),
                "--first" => options.first = Some(args.next()?.parse().ok()?),
                "--seed" => options.seed = Some(args.next()?.parse().ok()?),
                "--trace" => options.trace = true,
                "--mutants" => options.mutants = true,
                "--replay" => options.replay = Some(args.next()?),
                _ => return None,
            }
        }
        Some(options)
    }
}

fn one(seed: u64, trace: bool) -> ExitCode {
    let world = World::new(seed, Profile::of_seed(seed));
    let report = if trace { world.traced().run() } else { world.run() };
    report.violations.iter().for_each(|violation| println!("{violation}"));
    let mut totals = Totals::default();
    totals.add(&report);
    totals.print(1)
}

/// Replays the dump, or the error report, of a client.
fn replay(file: &str) -> ExitCode {
    let dump = std::fs::read(file).map_err(|error| error.to_string());
    let dump = dump.and_then(|dump| serde_json::from_slice(&dump).map_err(|error| error.to_string()));
    match dump.and_then(|dump| realtime_simulation::replay::replay(&dump)) {
        Ok(replayed) => {
            replayed.print();
            if replayed.differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{file} cannot be replayed: {error}");
            ExitCode::from(2)
        }
    }
}

fn many(first: u64, seeds: u64) -> ExitCode {
    let (next, totals, start) = (AtomicU64::new(first), Mutex::new(Totals::default()), Instant::now());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            let report = realtime_simulation::run(seed);
            let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(violation) = report.violations.first() {
                println!("seed {seed}: {} violations, the first: {violation}", report.violations.len());
                println!("  replay: simulate --seed {seed} --trace");
            }
            totals.add(&report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("a minute: {:.0} seeds, {:.0} virtual hours", seeds as f64 / minutes, totals.hours / minutes);
    totals.print(seeds)
}

#[derive(Debug, Default)]
struct Totals {
    hours: f64,
    faults: BTreeMap<&'static str, u64>,
    messages: u64,
    mutations: u64,
    tracked: u64,
    deliveries: u64,
    changes: u64,
    diverged: u64,
    gaps: u64,
    violations: usize,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.hours += report.virtual_time.as_secs_f64() / 3600.0;
        for (fault, count) in &report.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.messages += report.messages;
        self.mutations += report.mutations;
        self.tracked += report.tracked;
        self.deliveries += report.deliveries;
        self.changes += report.changes;
        self.diverged += report.diverged;
        self.gaps += report.gaps;
        self.violations += report.violations.len();
    }

    fn print(&self, seeds: u64) -> ExitCode {
        for (fault, count) in &self.faults {
            println!("  {count:>8}  {fault}");
        }
        println!("deliveries={} gaps_reported={}", self.deliveries, self.gaps);
        println!(
            "mutations={} tracked={} changes={} diverged={}",
            self.mutations, self.tracked, self.changes, self.diverged
        );
        println!(
            "simulation: seeds={seeds} virtual_hours={:.1} faults={} messages={} violations={}",
            self.hours,
            self.faults.values().sum::<u64>(),
            self.messages,
            self.violations
        );
        if self.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs seeds with each mutant until one is caught.
#[cfg(feature = "mutants")]
fn mutants() -> ExitCode {
    const SEEDS: u64 = 2000;
    let mut caught = 0;
    println!("{:<22} {:>5}  {:<16} the first violation", "mutant", "seed", "invariant");
    for name in realtime_simulation::MUTANTS {
        realtime_engine::mutants::activate(name);
        let found = (1..=SEEDS).find_map(|seed| {
            let report = realtime_simulation::run(seed);
            report.violations.into_iter().next().map(|violation| (seed, violation))
        });
        match found {
            Some((seed, violation)) => {
                caught += 1;
                let what: String = violation.what.chars().take(90).collect();
                println!("{name:<22} {seed:>5}  {:<16} {what}", violation.invariant.as_str());
            }
            None => println!("{name:<22} {:>5}  NOT CAUGHT in {SEEDS} seeds", "-"),
        }
    }
    println!("mutants: caught={caught} of={}", realtime_simulation::MUTANTS.len());
    if caught == realtime_simulation::MUTANTS.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "mutants"))]
fn mutants() -> ExitCode {
    eprintln!("simulate --mutants needs a build with the feature mutants: make simulate-mutants");
    ExitCode::from(2)
}
