use realtime_engine::Event;

/// Takes what a [`Driver`](crate::Driver) has for its application.
///
/// Every method runs on the I/O task, with no lock held: it must not block, and may call a
/// [`Handle`](crate::Handle). A host must not own a `Handle`, since the driver ends once they are all dropped; it may
/// own a [`WeakHandle`](crate::WeakHandle).
pub trait Host: Send + 'static {
    /// Takes the next event, in order.
    fn event(&mut self, event: Event);

    /// Asks for a token; [`Handle::answer_token`](crate::Handle::answer_token) answers it.
    fn token(&mut self, request: u64);

    /// Ends a batch: nothing more comes in this turn of the driver. Called only after at least one event or token request.
    fn flush(&mut self);

    /// The driver has ended: nothing follows, and every pending send has had its outcome. Not called where the runtime
    /// is shut down around the driver; then the host is only dropped.
    fn stopped(&mut self) {}
}
