//! Presence and collections.

use napi::{Env, JsString, Result};
use napi_derive::napi;
use realtime_bridge::{Change, ChangeKind, ErrorKind};

use crate::batch::{push_string, text};
use crate::client::Client;
use crate::error::thrown;

#[napi]
impl Client {
    #[napi]
    pub fn presence(&self, channel: String) -> Result<u32> {
        self.connection.presence(&channel).map_err(thrown)
    }

    #[napi]
    pub fn collection(&self, channel: String, name: String) -> Result<u32> {
        self.connection.collection(&channel, &name).map_err(thrown)
    }

    #[napi]
    pub fn watch(&self, stream: u32) -> Result<()> {
        self.connection.watch(stream).map_err(thrown)
    }

    #[napi]
    pub fn seed<'env>(&self, env: &'env Env, collection: u32, records: String) -> Result<JsString<'env>> {
        let changes = self.connection.seed(collection, records.as_bytes()).map_err(thrown)?;
        let mut json = vec![b'['];
        for change in &changes {
            if json.len() > 1 {
                json.push(b',');
            }
            push_change(&mut json, change);
        }
        json.push(b']');
        text(env, &json)
    }

    #[napi]
    pub fn track(&self, request: f64, presence: u32, key: Option<String>, status: String, state: String) -> Result<()> {
        self.connection.track(request as u64, presence, key.as_deref(), &status, state.as_bytes()).map_err(thrown)
    }

    #[napi]
    pub fn update_presence(
        &self,
        request: f64,
        presence: u32,
        status: Option<String>,
        patch: Option<String>,
    ) -> Result<()> {
        let patch = patch.as_deref().map(str::as_bytes);
        self.connection.update_presence(request as u64, presence, status.as_deref(), patch).map_err(thrown)
    }

    #[napi]
    pub fn untrack(&self, request: f64, presence: u32) -> Result<()> {
        self.connection.untrack(request as u64, presence).map_err(thrown)
    }

    #[napi]
    pub fn is_tracked(&self, presence: u32) -> bool {
        self.connection.is_tracked(presence)
    }

    #[napi]
    #[allow(clippy::too_many_arguments)]
    pub fn mutate<'env>(
        &self,
        env: &'env Env,
        request: f64,
        collection: u32,
        op: String,
        id: Option<String>,
        payload: Option<String>,
        if_revision: Option<f64>,
        wait: bool,
    ) -> Result<Option<JsString<'env>>> {
        let payload = payload.as_deref().unwrap_or_default().as_bytes();
        let if_revision = if_revision.map(|revision| revision as u64);
        match self.connection.mutate(request as u64, collection, &op, id.as_deref(), payload, if_revision) {
            Ok(change) => {
                let mut json = Vec::new();
                push_change(&mut json, &change);
                text(env, &json).map(Some)
            }
            Err(error) if wait && error.kind == ErrorKind::QueueFull => Ok(None),
            Err(error) => Err(thrown(error)),
        }
    }
}

fn push_change(json: &mut Vec<u8>, change: &Change) {
    json.extend_from_slice(br#"{"id":"#);
    push_string(json, change.key.as_bytes());
    json.extend_from_slice(format!(r#","version":{}"#, change.version).as_bytes());
    if change.kind == ChangeKind::Confirm {
        json.extend_from_slice(br#","confirms":true"#);
    }
    if let Some(revision) = change.revision {
        json.extend_from_slice(format!(r#","revision":{revision}"#).as_bytes());
    }
    if let Some(record) = &change.record {
        json.extend_from_slice(br#","record":"#);
        json.extend_from_slice(record);
    }
    json.push(b'}');
}
