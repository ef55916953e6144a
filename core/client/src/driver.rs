use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use realtime_engine::wire::CloseCode;
use realtime_engine::{Attempt, Config, Error, ErrorKind, Event, Input, Output, Session, Status};
use tokio::task::JoinSet;

use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::dial::Dialer;
use crate::durable::Durable;
use crate::handle::Handle;
use crate::host::Host;
use crate::outlet::{Link, Outlet, SEND_BYTES};
use crate::shared::Shared;
use crate::socket::Socket;
use crate::transport::Transport;

/// A turn reads at most so many frames and bytes, so that a batch for the host is bounded and other clients get theirs.
const TURN_FRAMES: usize = 256;
const TURN_BYTES: usize = 96 << 10;
/// It ends after so many rounds also where other threads keep it busy with sends.
const TURN_ROUNDS: usize = 16;
/// A cork holds sends back no longer than this.
const CORK_TIME: Duration = Duration::from_millis(2);
/// A change of the backlog by less is not told.
const BACKLOG_STEP: usize = 64 << 10;

/// Runs one client: owns its socket and its timers, and feeds its session.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = realtime_server::Server::default().start().await?;
/// # let url = server.url();
/// use realtime_client::{Config, Data, Driver, Event, Host, RequestId, Transport};
/// use tokio::sync::mpsc;
///
/// /// Hands on whole batches of events.
/// struct Batches(Vec<Event>, mpsc::UnboundedSender<Vec<Event>>);
///
/// impl Host for Batches {
///     fn event(&mut self, event: Event) {
///         self.0.push(event);
///     }
///     fn token(&mut self, _request: u64) {}
///     fn flush(&mut self) {
///         let _ = self.1.send(std::mem::take(&mut self.0));
///     }
/// }
///
/// let (sender, mut batches) = mpsc::unbounded_channel();
/// let handle = Driver::spawn(Config::new(url), Transport::default(), Batches(Vec::new(), sender))?;
/// handle.connect()?;
/// let room = handle.channel("room")?;
/// handle.publish(RequestId(1), room, "greeting".into(), Data::Json("\"hello\"".into()))?;
/// 'receipt: while let Some(batch) = batches.recv().await {
///     for event in batch {
///         if let Event::Receipt(receipt) = event {
///             assert_eq!(receipt.request, RequestId(1));
///             break 'receipt;
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Driver<H> {
    shared: Arc<Shared>,
    host: H,
    dialer: Dialer,
    /// Sockets that say goodbye.
    closing: JoinSet<()>,
    alarm: Alarm,
    /// Ends what a cork holds back.
    cork: Alarm,
    inputs: Vec<Input>,
    outputs: VecDeque<Output>,
    wants_read: bool,
    /// The backlog that the session knows.
    backlog: usize,
    /// The host was told something in this turn.
    told: bool,
    ending: bool,
    error_report: Option<PathBuf>,
}

impl<H: Host> Driver<H> {
    /// Starts a driver on the current tokio runtime, of either kind; it is idle until [`Handle::connect`].
    ///
    /// Fails with `invalid_option`, `invalid_url` or `unsupported` where the configuration or the transport cannot be
    /// used, and with `outbox_in_use`, `outbox_damaged` or `storage_failed` where the file of a durable outbox cannot.
    /// Must be called within the context of a runtime.
    pub fn spawn(config: Config, transport: Transport, host: H) -> Result<Handle, Error> {
        let (handle, driver) = Self::new(config, transport, host)?;
        drop(tokio::spawn(driver.run()));
        Ok(handle)
    }

    /// The same without a runtime: the caller runs [`Driver::run`] where it likes.
    pub fn new(mut config: Config, transport: Transport, host: H) -> Result<(Handle, Self), Error> {
        config.validate()?;
        let dialer = Dialer::new(&transport, &config)?;
        if config.session.is_empty() {
            config.session = format!("{:016x}{:016x}", random()?, random()?);
        }
        let clock = Clock::start();
        let when_full = config.when_full;
        let mut session = Session::new(config, clock.now(), random()?)?;
        let durable = transport.outbox.map(|path| Durable::start(path, &mut session, clock.now())).transpose()?;
        let shared = Arc::new(Shared::new(session, durable, clock, when_full));
        let driver = Self {
            shared: Arc::clone(&shared),
            host,
            dialer,
            closing: JoinSet::new(),
            alarm: Alarm::default(),
            cork: Alarm::default(),
            inputs: Vec::new(),
            outputs: VecDeque::new(),
            wants_read: true,
            backlog: 0,
            told: false,
            ending: false,
            error_report: transport.error_report,
        };
        Ok((Handle::new(shared), driver))
    }

    /// Drives the client until the last handle is dropped, or [`Handle::shutdown`].
    pub async fn run(mut self) {
        let ended = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| self.turn(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        if let Err(panic) = ended.await {
            self.fail(panic.as_ref());
        }
        self.shared.stop();
        let _ = catch_unwind(AssertUnwindSafe(|| self.shared.end_session()));
        self.host.stopped();
    }

    /// Does what can be done now. Ready when the driver is to end.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.sleep_until_woken(cx.waker());
        if self.shared.is_released() && !std::mem::replace(&mut self.ending, true) {
            self.shared.session().disconnect(self.shared.clock.now(), Duration::ZERO);
        }
        self.tend_cork(cx);
        let shared = Arc::clone(&self.shared);
        let mut outlet = shared.outlet();
        let mut quota = Quota { frames: TURN_FRAMES, bytes: TURN_BYTES };
        let mut rounds = TURN_ROUNDS;
        loop {
            self.poll_link(&mut outlet, cx, &mut quota);
            if self.alarm.poll(cx) {
                self.inputs.push(Input::Tick);
            }
            rounds -= 1;
            if !self.exchange(&mut outlet) || rounds == 0 {
                break;
            }
        }
        while let Poll::Ready(Some(_)) = self.closing.poll_join_next(cx) {}
        let idle = matches!(outlet.link, Link::None) && self.closing.is_empty();
        // Before the host hears, which may send at once.
        drop(outlet);
        self.shared.set_idle(idle);
        if std::mem::take(&mut self.told) {
            self.host.flush();
        }
        if quota.is_spent() || rounds == 0 {
            cx.waker().wake_by_ref();
        }
        if self.ending && idle { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sees that a cork lets go in time, also where the thread that has to pull it is busy. What it holds goes in this turn.
    fn tend_cork(&mut self, cx: &mut Context<'_>) {
        if self.cork.is_off() && self.shared.cork.is_shut() {
            self.cork.set(Some(self.shared.clock.now() + CORK_TIME), &self.shared.clock);
        }
        if self.cork.poll(cx) {
            self.shared.cork.loosen();
        }
    }

    /// Moves what the socket has, both ways.
    fn poll_link(&mut self, outlet: &mut Outlet, cx: &mut Context<'_>, quota: &mut Quota) {
        match &mut outlet.link {
            Link::None => {}
            Link::Opening { attempt, opening } => {
                let attempt = *attempt;
                match opening.as_mut().poll(cx) {
                    Poll::Ready(Ok((stream, protocol))) => {
                        outlet.link = Link::Open(Box::new(Socket::new(attempt, stream)));
                        self.backlog = 0;
                        self.inputs.push(Input::Opened { attempt, protocol });
                    }
                    Poll::Ready(Err(error)) => {
                        outlet.link = Link::None;
                        self.inputs.push(Input::OpenFailed { attempt, error });
                    }
                    Poll::Pending => {}
                }
            }
            Link::Open(socket) => {
                let attempt = socket.attempt;
                let written = socket.poll_write(cx);
                let backlog = socket.backlog();
                if backlog.abs_diff(self.backlog) >= BACKLOG_STEP || (backlog == 0 && self.backlog > 0) {
                    self.backlog = backlog;
                    self.inputs.push(Input::Backlog { attempt, bytes: backlog });
                }
                let mut end = match written {
                    Poll::Ready(Ok(true)) => {
                        outlet.flushed = Some(attempt);
                        None
                    }
                    Poll::Ready(Err(end)) => Some(end),
                    Poll::Ready(Ok(false)) | Poll::Pending => None,
                };
                // Also after a failed write: what the peer said before it hung up is still there.
                while self.wants_read && !quota.is_spent() {
                    match socket.poll_read(cx) {
                        Poll::Ready(Ok(frame)) => {
                            quota.spend(frame.len());
                            self.inputs.push(Input::Frame { attempt, frame });
                        }
                        Poll::Ready(Err(said)) => {
                            end = Some(end.filter(|_| said.code.is_none()).unwrap_or(said));
                            break;
                        }
                        Poll::Pending => break,
                    }
                }
                if let Some(end) = end {
                    self.inputs.push(Input::Closed { attempt, code: end.code, reason: end.reason.clone() });
                    if let Link::Open(socket) = std::mem::replace(&mut outlet.link, Link::None) {
                        self.closing.spawn(socket.finish(end));
                    }
                }
            }
        }
    }

    /// Tells the session what happened and does what it says. `false` where there was nothing of either.
    fn exchange(&mut self, outlet: &mut Outlet) -> bool {
        let flushed = outlet.flushed.take();
        let mut progress = !self.inputs.is_empty() || flushed.is_some();
        let deadline = {
            let mut session = self.shared.session();
            let now = self.shared.clock.now();
            if let Some(attempt) = flushed {
                session.handle(now, Input::Flushed { attempt });
            }
            for input in self.inputs.drain(..) {
                session.handle(now, input);
            }
            let sent = drain(&mut session, &mut self.outputs);
            // The session takes no notice while it has outputs, which another thread may have caused just now.
            if let Some(attempt) = flushed
                && !sent
            {
                session.handle(now, Input::Flushed { attempt });
                drain(&mut session, &mut self.outputs);
            }
            // The outputs so far may stand on what is written now; what has to wait for it is not among them.
            if let Ok(true) = self.shared.write_outbox(&mut session) {
                progress = true;
                drain(&mut session, &mut self.outputs);
            }
            self.shared.tend_outbox(&mut session);
            let wanted = std::mem::replace(&mut self.wants_read, session.wants_read());
            progress |= !self.outputs.is_empty() || (self.wants_read && !wanted);
            session.deadline()
        };
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            self.obey(outlet, output);
        }
        self.outputs = outputs;
        self.alarm.set(deadline, &self.shared.clock);
        outlet.armed = deadline;
        progress
    }

    fn obey(&mut self, outlet: &mut Outlet, output: Output) {
        match output {
            Output::Open(request) => {
                let attempt = request.attempt;
                self.leave(outlet, None);
                let opening = Box::pin(self.dialer.clone().open(request));
                outlet.link = Link::Opening { attempt, opening };
            }
            Output::Send { attempt, frame } => match &mut outlet.link {
                Link::Open(socket) if socket.attempt == attempt => socket.send(frame),
                _ => {}
            },
            Output::Close { attempt, code, reason } => self.leave(outlet, Some((attempt, code, reason))),
            Output::RequestToken { request } => {
                self.told = true;
                self.host.token(request);
            }
            Output::Event(event) => {
                self.told = true;
                if matches!(event, Event::Status { status: Status::Error, retry_in: None, .. }) {
                    self.report_error();
                }
                self.host.event(event);
            }
            // An engine that is newer than this driver does not happen: they are built together.
            _ => {}
        }
    }

    /// Writes the report of an error that ends the client, where one is wanted.
    fn report_error(&mut self) {
        let Some(path) = &self.error_report else { return };
        let dump = self.shared.session().dump();
        // Some tens of KiB, once, when there is nothing else to do.
        if let Err(error) = std::fs::write(path, dump) {
            let message = format!("the error report could not be written to {}: {error}", path.display());
            self.host.event(Event::Error(Error::new(ErrorKind::InvalidOption, message)));
        }
    }

    /// Gives up the socket: the one that is named, or whichever there is.
    fn leave(&mut self, outlet: &mut Outlet, close: Option<(Attempt, CloseCode, String)>) {
        let current = match &outlet.link {
            Link::None => return,
            Link::Opening { attempt, .. } => *attempt,
            Link::Open(socket) => socket.attempt,
        };
        let (attempt, code, reason) = close.unwrap_or((current, CloseCode::NORMAL, String::new()));
        if attempt != current {
            return;
        }
        if let Link::Open(socket) = std::mem::replace(&mut outlet.link, Link::None) {
            self.closing.spawn(socket.close(code, reason));
        }
    }

    /// Something in here panicked: nobody may be left waiting for it.
    fn fail(&mut self, panic: &(dyn Any + Send)) {
        let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = what, "the driver of a client panicked");
        let error = Error::new(ErrorKind::Closed, format!("the client stopped by a fault of its own: {what}"));
        self.shared.shutdown();
        // The session, or the host, may be what is broken; then there is nothing more to do.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut events = Vec::new();
            let mut session = self.shared.session();
            session.disconnect(self.shared.clock.now(), Duration::ZERO);
            while let Some(output) = session.poll() {
                if let Output::Event(Event::SendFailed { request, error: told }) = output {
                    let kept = told.kind == ErrorKind::Deferred;
                    events.push(Event::SendFailed { request, error: if kept { told } else { error.clone() } });
                }
            }
            drop(session);
            events.push(Event::Status { status: Status::Error, reason: Some(error.clone()), retry_in: None });
            for event in events {
                self.host.event(event);
            }
            self.host.flush();
        }));
        self.shared.set_idle(true);
    }
}

impl<H> Drop for Driver<H> {
    fn drop(&mut self) {
        // Also where the runtime is shut down around it.
        self.shared.stop();
        self.shared.outlet().link = Link::None;
        if !self.ending {
            let shared = &self.shared;
            let _ = catch_unwind(AssertUnwindSafe(|| shared.end_session()));
        }
        self.shared.set_idle(true);
    }
}

impl<H> fmt::Debug for Driver<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("closing", &self.closing.len())
            .field("alarm", &self.alarm)
            .finish_non_exhaustive()
    }
}

/// Takes outputs until there are none, or enough bytes to send; whether there was something to send.
fn drain(session: &mut Session, outputs: &mut VecDeque<Output>) -> bool {
    let (mut bytes, mut sent, mut seen) = (0, false, outputs.len());
    while bytes < SEND_BYTES && session.poll_all(outputs) {
        for output in outputs.range(seen..) {
            if let Output::Send { frame, .. } = output {
                bytes += frame.len();
                sent = true;
            }
        }
        seen = outputs.len();
    }
    sent
}

/// What a turn may still read.
struct Quota {
    frames: usize,
    bytes: usize,
}

impl Quota {
    fn spend(&mut self, bytes: usize) {
        self.frames -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }
}

fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| {
        Error::new(ErrorKind::Unsupported, format!("the operating system gave no random bytes: {error}"))
    })
}
