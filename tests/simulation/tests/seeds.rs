//! A fixed set of seeds, which covers every profile, and a fresh one.

use std::time::{SystemTime, UNIX_EPOCH};

use realtime_simulation::{Report, run};

fn hold(report: &Report) {
    assert!(report.violations.is_empty(), "seed {}: {:#?}", report.seed, report.violations);
    assert!(report.deliveries > 0 && !report.faults.is_empty(), "seed {} tested nothing: {report:?}", report.seed);
}

#[test]
fn invariants_hold_over_faults() {
    (1..=100).for_each(|seed| hold(&run(seed)));
}

#[test]
fn invariants_hold_over_what_nobody_tried_before() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    for seed in now..now + 50 {
        println!("seed {seed}");
        let report = run(seed);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    }
}

#[test]
fn a_seed_replays_exactly() {
    let (first, second) = (run(151), run(151));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}
