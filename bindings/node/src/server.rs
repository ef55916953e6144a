use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use napi::bindgen_prelude::{AsyncTask, Buffer, Either};
use napi::{Env, Result, Task};
use napi_derive::napi;
use realtime_bridge::{Data, EmbeddedServer, Error, ErrorKind};

use crate::error::thrown;

/// Runs the command line of the server until it ends, and returns its exit code. Blocks.
#[napi]
pub fn run_cli(args: Vec<String>) -> u8 {
    realtime_bridge::run_cli(args)
}

/// The embedded server.
#[napi(js_name = "Server")]
pub struct Server {
    options: String,
    slot: Arc<Slot<EmbeddedServer>>,
}

#[napi]
impl Server {
    #[napi(constructor)]
    pub fn new(options: String) -> Self {
        Self { options, slot: Arc::default() }
    }

    #[napi(ts_return_type = "Promise<string>")]
    pub fn start(&self) -> AsyncTask<StartServer> {
        AsyncTask::new(StartServer { options: self.options.clone(), slot: Arc::clone(&self.slot) })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn stop(&self) -> AsyncTask<StopServer> {
        AsyncTask::new(StopServer { slot: Arc::clone(&self.slot) })
    }

    /// Publishes JSON or bytes as the server itself, and returns the offset.
    #[napi]
    pub fn publish(&self, channel: String, event: String, payload: Either<String, Buffer>) -> Result<f64> {
        let payload = data(payload);
        self.with(|server| server.publish(&channel, &event, payload)).map(|offset| offset as f64)
    }

    /// Sends to every client, outside of any channel, and returns to how many.
    #[napi]
    pub fn send_to_all(&self, event: String, payload: Either<String, Buffer>) -> Result<u32> {
        let payload = data(payload);
        self.with(|server| server.send_to_all(&event, payload)).map(|count| count as u32)
    }

    #[napi]
    pub fn disconnect_all(&self, code: u16) -> Result<()> {
        self.with(|server| server.disconnect_all(code))
    }

    #[napi]
    pub fn connection_count(&self) -> Result<u32> {
        self.with(EmbeddedServer::connection_count).map(|count| count as u32)
    }

    fn with<T>(&self, call: impl FnOnce(&EmbeddedServer) -> std::result::Result<T, Error>) -> Result<T> {
        self.slot.running(call).ok_or_else(|| not_started("the server"))?.map_err(thrown)
    }
}

fn data(payload: Either<String, Buffer>) -> Data {
    match payload {
        Either::A(json) => Data::Json(Bytes::from(json)),
        Either::B(bytes) => Data::Binary(Bytes::copy_from_slice(&bytes)),
    }
}

#[derive(Debug)]
pub struct StartServer {
    options: String,
    slot: Arc<Slot<EmbeddedServer>>,
}

impl Task for StartServer {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let server = EmbeddedServer::start(&self.options).map_err(thrown)?;
        let url = server.url().to_owned();
        self.slot.put(server, "the server").map(|Started| url)
    }

    fn resolve(&mut self, _: Env, url: String) -> Result<String> {
        Ok(url)
    }
}

#[derive(Debug)]
pub struct StopServer {
    slot: Arc<Slot<EmbeddedServer>>,
}

impl Task for StopServer {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        self.slot.take().map_or(Ok(()), |server| server.stop()).map_err(thrown)
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}

/// What was started and not stopped yet. Starting and stopping take their time on another thread, outside the lock.
#[derive(Debug)]
pub(crate) struct Slot<T>(Mutex<Option<T>>);

/// It is in its slot.
#[derive(Debug)]
pub(crate) struct Started;

impl<T> Slot<T> {
    pub(crate) fn put(&self, value: T, what: &str) -> Result<Started> {
        let mut slot = self.lock();
        if slot.is_some() {
            return Err(thrown(Error::new(ErrorKind::Unsupported, format!("{what} is started already"))));
        }
        *slot = Some(value);
        Ok(Started)
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.lock().take()
    }

    pub(crate) fn running<R>(&self, call: impl FnOnce(&T) -> R) -> Option<R> {
        self.lock().as_ref().map(call)
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

pub(crate) fn not_started(what: &str) -> napi::Error {
    thrown(Error::new(ErrorKind::Closed, format!("{what} is not started: await start() first")))
}
