//! Test tools of realtime-client: a fault-injecting TCP proxy.
