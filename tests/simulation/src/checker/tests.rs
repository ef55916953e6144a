//! What the checker would notice, shown by histories that no code under test has made.

use std::collections::HashMap;

use realtime_engine::wire::Frame;
use realtime_engine::{Covered, LoadOn};

use super::{Checker, Invariant, Missing, Rules, ServerRules, To, direct};

const V1: Rules =
    Rules { plain: false, inbox_bytes: 1000, queue_messages: 100, send_timeout: None, heartbeat_timeout: 20_000_000 };

fn checker(server: ServerRules) -> Checker {
    let mut checker = Checker::new(vec![V1; 3], server);
    checker.subscribed(0, 0);
    checker
}

fn durable() -> ServerRules {
    ServerRules { durable: true, application: true, ..ServerRules::default() }
}

fn payload(n: u64) -> String {
    format!("{{\"c\":1,\"n\":{n},\"pad\":\"\"}}")
}

/// Client 1 sends it, it is stored and acknowledged; client 0 gets it.
fn delivered(checker: &mut Checker, n: u64) {
    stored(checker, n);
    checker.delivered(0, 0, "a", n, payload(n).as_bytes());
}

fn stored(checker: &mut Checker, n: u64) {
    checker.published(1, n, To::Channel(0));
    checker.stored("a", n, payload(n).as_bytes());
    checker.receipt(1, n, true, Some(("a", n)), false);
}

fn missing(from: u64, to: u64) -> Missing {
    Missing { epoch: "a".into(), from: Some(from), to: Some(to), ..Missing::default() }
}

fn another_epoch(to: Option<u64>) -> Missing {
    let (epoch, previous_epoch) = ("b".into(), Some("a".into()));
    Missing { epoch, previous_epoch, from: to.map(|_| 1), to, initial: false }
}

fn covered(offset: u64) -> Covered {
    Covered { epoch: Some("a".into()), offset }
}

/// What the checker says of this history.
fn noticed(server: ServerRules, history: impl FnOnce(&mut Checker)) -> Vec<Invariant> {
    let mut checker = checker(server);
    history(&mut checker);
    checker.settled();
    checker.violations.iter().map(|violation| violation.invariant).collect()
}

/// The application of client 0 has got 1, was told that 2 to 5 are missing, and wants to load.
fn after_a_gap(checker: &mut Checker) {
    checker.loads_on(0, 0, LoadOn::Gap);
    delivered(checker, 1);
    (2..10).for_each(|n| stored(checker, n));
    checker.gap(0, 0, &missing(2, 5));
}

fn get(checker: &mut Checker, offset: u64) {
    checker.delivered(0, 0, "a", offset, payload(offset).as_bytes());
}

const EVICTS: ServerRules = ServerRules {
    evicts: true,
    durable: false,
    application: true,
    guarded: false,
    stutters: false,
    collections: 1,
    verifies: false,
    grace: 10_000_000,
};

#[test]
fn nothing_leaves_before_it_is_on_disk() {
    let frame = |text: String| Frame::Text(text.into());
    let message = |n| frame(format!(r#"{{"type":"message","channel":"room","payload":{}}}"#, payload(n)));
    let receipt = |n| frame(format!("{{\"type\":\"receipt\",\"id\":9,\"epoch\":\"a\",\"offset\":{n}}}\n{{}}"));
    assert_eq!(
        noticed(durable(), |checker| {
            delivered(checker, 1);
            [message(1), receipt(1)].iter().for_each(|frame| checker.leaves(frame));
        }),
        []
    );
    for early in [message(2), receipt(2), Frame::Binary(payload(2).into())] {
        let history = |checker: &mut Checker| {
            delivered(checker, 1);
            checker.leaves(&early);
        };
        assert_eq!(noticed(durable(), history), [Invariant::DurableFirst], "{early:?}");
    }
}

#[test]
fn what_was_told_is_on_the_disk_in_the_end() {
    let disk = |entries: &[(u64, u64)]| entries.iter().map(|(at, n)| (*at, (1, *n))).collect::<HashMap<_, _>>();
    for (entries, expected) in [
        (vec![(1, 1), (2, 2), (3, 3)], vec![]),
        (vec![(1, 1)], vec![Invariant::DurableFirst]),
        (vec![(1, 2), (2, 1)], vec![Invariant::DurableFirst]),
    ] {
        let history = |checker: &mut Checker| {
            (1..3).for_each(|n| delivered(checker, n));
            checker.found(0, "a", &disk(&entries));
        };
        assert_eq!(noticed(durable(), history), expected, "{entries:?}");
    }
}

#[test]
fn a_kill_takes_no_epoch_that_somebody_has_seen() {
    let kill = |seen: bool| {
        noticed(durable(), move |checker| {
            if seen {
                delivered(checker, 1);
            }
            checker.restarted();
            checker.gap(0, 0, &another_epoch(None));
        })
    };
    assert_eq!((kill(false), kill(true)), (vec![], vec![Invariant::NoSilentGap]));
}

#[test]
fn a_new_epoch_misses_nothing_of_its_own() {
    let restart = |server, to| {
        noticed(server, move |checker| {
            checker.restarted();
            checker.gap(0, 0, &another_epoch(to));
        })
    };
    assert_eq!(restart(ServerRules::default(), None), []);
    assert_eq!(restart(ServerRules::default(), Some(4)), [Invariant::NoSilentGap]);
    assert_eq!(restart(EVICTS, Some(4)), []);
}

#[test]
fn the_application_gets_each_send_once_and_in_order() {
    let send = |n| move |checker: &mut Checker| checker.published(1, n, To::Application);
    let got = |n| move |checker: &mut Checker| checker.received(1, payload(n).as_bytes());
    let told = |n| move |checker: &mut Checker| checker.receipt(1, n, true, None, false);
    let dropped = |n| move |checker: &mut Checker| checker.failed(1, n, "dropped");
    type Step = Box<dyn Fn(&mut Checker)>;
    let both = || -> Vec<Step> { vec![Box::new(send(1)), Box::new(send(2))] };
    let after =
        |steps: Vec<Step>| noticed(EVICTS, |checker| both().iter().chain(&steps).for_each(|step| step(checker)));
    assert_eq!(after(vec![Box::new(got(1)), Box::new(got(2)), Box::new(told(1)), Box::new(told(2))]), []);
    assert_eq!(
        after(vec![Box::new(got(1)), Box::new(got(1)), Box::new(told(1)), Box::new(dropped(2))]),
        [Invariant::ExactlyOnce]
    );
    assert_eq!(
        after(vec![Box::new(got(2)), Box::new(got(1)), Box::new(told(1)), Box::new(told(2))]),
        [Invariant::InOrder]
    );
    assert_eq!(after(vec![Box::new(told(1)), Box::new(dropped(2))]), [Invariant::EverySendEnds]);
    assert_eq!(after(vec![Box::new(dropped(1)), Box::new(got(1)), Box::new(dropped(2))]), [Invariant::EverySendEnds]);
    assert_eq!(after(vec![Box::new(got(3)), Box::new(dropped(1)), Box::new(dropped(2))]), [Invariant::OneHistory]);
    // A repeat that a server without memory cannot know; an application that a kill cut off.
    assert_eq!(
        noticed(EVICTS, |checker| {
            send(1)(checker);
            got(1)(checker);
            checker.restarted();
            got(1)(checker);
            told(1)(checker);
        }),
        []
    );
    assert_eq!(
        noticed(durable(), |checker| {
            send(1)(checker);
            checker.restarted();
            told(1)(checker);
        }),
        []
    );
}

#[test]
fn a_connection_brings_what_the_application_says_in_order() {
    let hear = |heard: &[(u64, u64)]| {
        let heard = heard.to_vec();
        noticed(EVICTS, move |checker| {
            heard.iter().for_each(|(connection, n)| checker.direct(0, direct(*connection, *n).as_bytes()));
        })
    };
    assert_eq!(hear(&[(1, 1), (1, 2), (5, 1)]), []);
    assert_eq!(hear(&[(1, 1), (1, 1)]), [Invariant::ExactlyOnce]);
    assert_eq!(hear(&[(1, 1), (1, 3)]), [Invariant::InOrder]);
    assert_eq!(hear(&[(2, 1), (1, 1)]), [Invariant::ExactlyOnce]);
    assert_eq!(hear(&[(1, 2)]), [Invariant::InOrder]);
}

#[test]
fn a_snapshot_and_what_follows_fit_together() {
    let after = |steps: fn(&mut Checker)| {
        noticed(EVICTS, |checker| {
            after_a_gap(checker);
            steps(checker);
        })
    };
    let fits = [Invariant::SnapshotFits];
    let sound: [fn(&mut Checker); 5] = [
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.loaded(0, 0, 1, Some(&covered(7)));
            (8..10).for_each(|offset| get(checker, offset));
        },
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.loaded(0, 0, 1, None);
            (6..10).for_each(|offset| get(checker, offset));
        },
        // Another gap behind, of which the snapshot contains the beginning.
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.loaded(0, 0, 1, Some(&covered(7)));
            checker.gap(0, 0, &missing(7, 8));
            checker.load(0, 0, 2, &missing(7, 8), false);
            checker.loaded(0, 0, 2, None);
            get(checker, 9);
        },
        |checker| checker.loads_on(0, 0, LoadOn::Never),
        // A snapshot of a history behind the next one: neither has to be loaded.
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.restarted();
            checker.loaded(0, 0, 1, Some(&Covered { epoch: Some("c".into()), offset: 3 }));
            checker.gap(0, 0, &another_epoch(None));
            let (epoch, previous_epoch) = ("c".into(), Some("b".into()));
            checker.gap(0, 0, &Missing { epoch, previous_epoch, ..Missing::default() });
        },
    ];
    for steps in sound {
        assert_eq!(after(steps), []);
    }
    let broken: [fn(&mut Checker); 7] = [
        // Never asked.
        |_| {},
        // Asked too early, twice, or for nothing.
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), true);
            checker.loaded(0, 0, 1, None);
        },
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.load(0, 0, 2, &missing(2, 5), false);
            checker.loaded(0, 0, 2, None);
        },
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.loaded(0, 0, 1, None);
            checker.load(0, 0, 2, &missing(2, 5), false);
        },
        // A message before the snapshot, where another load has ended, and one that it contains.
        |checker| {
            checker.load(0, 0, 2, &missing(2, 5), false);
            checker.loaded(0, 0, 1, Some(&covered(5)));
            get(checker, 6);
            checker.loaded(0, 0, 2, None);
        },
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.loaded(0, 0, 1, Some(&covered(6)));
            get(checker, 6);
        },
        // A gap out of its turn.
        |checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.gap(0, 0, &missing(6, 7));
            checker.loaded(0, 0, 1, Some(&covered(7)));
        },
    ];
    for (index, steps) in broken.into_iter().enumerate() {
        assert_eq!(after(steps)[..1], fits, "{index}");
    }
    // A hole behind the snapshot is a hole.
    assert_eq!(
        after(|checker| {
            checker.load(0, 0, 1, &missing(2, 5), false);
            checker.loaded(0, 0, 1, Some(&covered(6)));
            get(checker, 8);
        }),
        [Invariant::NoSilentGap]
    );
}

#[test]
fn who_may_not_does_not() {
    let guarded = ServerRules { guarded: true, ..EVICTS };
    let publishes = |channel| {
        noticed(guarded, move |checker| {
            checker.subscribed(0, channel);
            checker.published(1, 1, To::Channel(channel));
            checker.receipt(1, 1, true, Some(("a", 1)), false);
            checker.delivered(0, channel, "a", 1, payload(1).as_bytes());
        })
    };
    // guard.rs: client 1 may publish to channel 0, and not to channel 4; it may not subscribe to channel 5.
    assert_eq!((publishes(0), publishes(4)), (vec![], vec![Invariant::Allowed]));
    let refused = |channel| noticed(guarded, move |checker| checker.refused(1, channel, "forbidden"));
    assert_eq!((refused(5), refused(0)), (vec![], vec![Invariant::Allowed]));
}
