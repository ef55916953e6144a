//! What the Python and Node bindings share: runtime ownership, batch queue, wake-up, shutdown.
