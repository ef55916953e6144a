//! A fixed set of seeds, which covers every profile.

use realtime_simulation::{Report, run};

fn hold(report: &Report) {
    assert!(report.violations.is_empty(), "seed {}: {:#?}", report.seed, report.violations);
    assert!(report.deliveries > 0 && report.faults > 0, "seed {} tested nothing: {report:?}", report.seed);
}

#[test]
fn invariants_hold_over_faults() {
    (1..=10).for_each(|seed| hold(&run(seed)));
}

#[test]
fn a_seed_replays_exactly() {
    let (first, second) = (run(11), run(11));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}
