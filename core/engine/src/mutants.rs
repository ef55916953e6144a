//! Deliberately broken behaviours, one at a time and by name, so that the simulation can show that it would notice.

use std::cell::Cell;

thread_local! {
    static ACTIVE: Cell<&'static str> = const { Cell::new("") };
}

/// Breaks one behaviour on this thread, and mends the one before.
pub fn activate(name: &'static str) {
    ACTIVE.set(name);
}

/// Whether this behaviour is broken.
pub fn is_active(name: &str) -> bool {
    ACTIVE.get() == name
}
