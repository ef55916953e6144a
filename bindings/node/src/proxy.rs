use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;
use realtime_bridge::EmbeddedProxy;

use crate::error::thrown;
use crate::server::{Slot, Started, not_started};

/// The embedded fault proxy.
#[napi(js_name = "Proxy")]
pub struct Proxy {
    target: String,
    slot: Arc<Slot<EmbeddedProxy>>,
}

#[napi]
impl Proxy {
    #[napi(constructor)]
    pub fn new(target: String) -> Self {
        Self { target, slot: Arc::default() }
    }

    #[napi(ts_return_type = "Promise<string>")]
    pub fn start(&self) -> AsyncTask<StartProxy> {
        AsyncTask::new(StartProxy { target: self.target.clone(), slot: Arc::clone(&self.slot) })
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn stop(&self) -> AsyncTask<StopProxy> {
        AsyncTask::new(StopProxy { slot: Arc::clone(&self.slot) })
    }

    #[napi]
    pub fn cut(&self) -> Result<()> {
        self.with(EmbeddedProxy::cut)
    }

    #[napi]
    pub fn cut_connections(&self) -> Result<()> {
        self.with(EmbeddedProxy::cut_connections)
    }

    #[napi]
    pub fn stall(&self) -> Result<()> {
        self.with(EmbeddedProxy::stall)
    }

    #[napi]
    pub fn restore(&self) -> Result<()> {
        self.with(EmbeddedProxy::restore)
    }

    #[napi]
    pub fn delay(&self, ms: u32) -> Result<()> {
        self.with(|proxy| proxy.delay(Duration::from_millis(ms.into())))
    }

    #[napi]
    pub fn limit(&self, bytes_per_second: f64) -> Result<()> {
        self.with(|proxy| proxy.limit(bytes_per_second as u64))
    }

    #[napi]
    pub fn drop_after(&self, bytes: f64) -> Result<()> {
        self.with(|proxy| proxy.drop_after(bytes as u64))
    }

    #[napi]
    pub fn connections(&self) -> Result<f64> {
        self.with(|proxy| proxy.connections() as f64)
    }

    #[napi]
    pub fn cuts(&self) -> Result<f64> {
        self.with(|proxy| proxy.cuts() as f64)
    }

    fn with<T>(&self, call: impl FnOnce(&EmbeddedProxy) -> T) -> Result<T> {
        self.slot.running(call).ok_or_else(|| not_started("the proxy"))
    }
}

#[derive(Debug)]
pub struct StartProxy {
    target: String,
    slot: Arc<Slot<EmbeddedProxy>>,
}

impl Task for StartProxy {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let proxy = EmbeddedProxy::start(&self.target).map_err(thrown)?;
        let url = proxy.url().to_owned();
        self.slot.put(proxy, "the proxy").map(|Started| url)
    }

    fn resolve(&mut self, _: Env, url: String) -> Result<String> {
        Ok(url)
    }
}

#[derive(Debug)]
pub struct StopProxy {
    slot: Arc<Slot<EmbeddedProxy>>,
}

impl Task for StopProxy {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        if let Some(proxy) = self.slot.take() {
            proxy.stop();
        }
        Ok(())
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}
