use std::cell::RefCell;
use std::time::Duration;

use napi::bindgen_prelude::{Buffer, BufferSlice, Float64ArraySlice, Function, Uint32Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Env, JsString, Result};
use napi_derive::napi;
use realtime_bridge::{Connection, Options};

use crate::batch::Converter;
use crate::burst;
use crate::error::thrown;

/// One connection. Owned by one JavaScript environment; collected or torn down with it, which closes the socket.
#[napi(js_name = "Client")]
pub struct Client {
    pub(crate) connection: Connection,
    converter: RefCell<Converter>,
}

#[napi]
impl Client {
    /// `wake` is called once when there is something to drain, and not again until a drain has found nothing.
    #[napi(constructor)]
    pub fn new(options: String, wake: Function<'_, (), ()>) -> Result<Self> {
        let options = Options::parse(&options).map_err(thrown)?;
        // Weak: what keeps the process alive is decided in JavaScript. One place: a wake that finds it taken is not needed.
        let wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .max_queue_size::<1>()
            .build()?;
        let connection = Connection::open(options, move || {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        })
        .map_err(thrown)?;
        Ok(Self { connection, converter: RefCell::default() })
    }

    #[napi]
    pub fn connect(&self) -> Result<()> {
        self.connection.connect().map_err(thrown)
    }

    #[napi]
    pub fn disconnect(&self, flush: u32) -> Result<()> {
        self.connection.disconnect(Duration::from_millis(flush.into())).map_err(thrown)
    }

    #[napi]
    pub fn channel(&self, name: String) -> Result<u32> {
        self.connection.channel(&name).map_err(thrown)
    }

    #[napi]
    pub fn subscribe(&self, name: String) -> Result<u32> {
        self.connection.subscribe(&name).map_err(thrown)
    }

    #[napi]
    pub fn unsubscribe(&self, channel: u32) -> Result<()> {
        self.connection.unsubscribe(channel).map_err(thrown)
    }

    #[napi]
    pub fn send(&self, first: f64, lines: String, binaries: Vec<Buffer>, wait: bool) -> Option<String> {
        burst::send(&self.connection, first as u64, &lines, binaries, wait)
    }

    #[napi]
    pub fn wait_in_line(&self, messages: u32, waiting: f64, bytes: f64) -> Result<()> {
        self.connection.wait_in_line(messages as usize, waiting as usize, bytes as usize).map_err(thrown)
    }

    #[napi]
    pub fn drain<'env>(&self, env: &'env Env, mut records: Float64ArraySlice<'_>) -> Result<Option<JsString<'env>>> {
        let mut converter = self.converter.borrow_mut();
        if converter.is_done() {
            let next = self.connection.drain();
            let drained = next.is_none();
            self.connection.recycle(converter.replace(next.unwrap_or_default()));
            if drained {
                return Ok(None);
            }
        }
        // SAFETY: the array belongs to the caller, which is this thread and waits for us.
        let numbers = unsafe { records.as_mut() };
        converter.convert(env, numbers).map(Some)
    }

    /// Memory that is shared, to be asked for once.
    #[napi]
    pub fn overdue(&self) -> Uint32Array {
        let overdue = self.connection.overdue().clone();
        let word = overdue.word().as_ptr();
        // SAFETY: the clone keeps the memory until the array is collected. JavaScript writes one aligned word, as atomics do.
        unsafe { Uint32Array::with_external_data(word, 1, move |_, _| drop(overdue)) }
    }

    #[napi]
    pub fn binaries<'env>(&self, env: &'env Env) -> Result<Vec<BufferSlice<'env>>> {
        self.converter.borrow().binaries(env)
    }

    #[napi]
    pub fn texts<'env>(&self, env: &'env Env) -> Result<Vec<JsString<'env>>> {
        self.converter.borrow().texts(env)
    }

    #[napi]
    pub fn consumed(&self, pairs: Vec<f64>) {
        let pairs = pairs.chunks_exact(2);
        self.connection.consumed_all(pairs.map(|pair| ((pair[0] >= 0.0).then_some(pair[0] as u32), pair[1] as u64)));
    }

    #[napi]
    pub fn load_on(&self, channel: u32, gaps: bool, initial: bool) -> Result<()> {
        self.connection.load_on(channel, gaps, initial).map_err(thrown)
    }

    #[napi]
    pub fn loaded(&self, channel: u32, load: f64, epoch: Option<String>, offset: Option<f64>) {
        self.connection.loaded(channel, load as u64, epoch, offset.map(|offset| offset as u64));
    }

    #[napi]
    pub fn answer_token(&self, request: f64, token: Option<String>, error: Option<String>) {
        self.connection.answer_token(request as u64, error.map_or(Ok(token), Err));
    }

    #[napi]
    pub fn dump(&self) -> Result<String> {
        self.connection.dump().map_err(thrown)
    }

    #[napi]
    pub fn stats(&self) -> Result<String> {
        self.connection.stats_json().map_err(thrown)
    }
}
