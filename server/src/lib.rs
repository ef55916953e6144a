//! The embedded server of realtime-client: a pure hub under a thin network layer.
