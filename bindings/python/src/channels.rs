//! What the drain knows of each channel: its name, and whom to call directly.

use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{PyTraverseError, PyVisit};

/// Stands for messages of no channel.
pub(crate) const DIRECT: u32 = u32::MAX;

/// All channels of a client. Their numbers are small and dense.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    direct: Slot,
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) name: Option<Py<PyString>>,
    /// Few: they are searched one by one.
    routes: Vec<Route>,
    /// Bytes that were consumed in this drain.
    pub(crate) consumed: u64,
}

/// The only listener of an event, a plain function.
#[derive(Debug)]
pub(crate) struct Route {
    event_bytes: Box<[u8]>,
    event: Py<PyString>,
    handler: Py<PyAny>,
    with_message: bool,
}

/// A route on its own, so that nothing is locked while the handler runs.
pub(crate) struct RouteRef {
    pub(crate) event: Py<PyString>,
    pub(crate) handler: Py<PyAny>,
    pub(crate) with_message: bool,
}

impl Channels {
    pub(crate) fn slot(&mut self, channel: u32) -> &mut Slot {
        if channel == DIRECT {
            return &mut self.direct;
        }
        let index = channel as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        &mut self.slots[index]
    }

    /// Takes back what was counted as consumed: the message was put aside.
    pub(crate) fn take_back(&mut self, channel: u32, bytes: u64) {
        let slot = self.slot(channel);
        slot.consumed = slot.consumed.saturating_sub(bytes);
    }

    pub(crate) fn take_consumed(&mut self) -> Vec<(Option<u32>, u64)> {
        let direct = std::mem::take(&mut self.direct.consumed);
        let channels = self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.consumed > 0);
        let mut taken: Vec<_> =
            channels.map(|(index, slot)| (Some(index as u32), std::mem::take(&mut slot.consumed))).collect();
        if direct > 0 {
            taken.push((None, direct));
        }
        taken
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in self.slots.iter().chain([&self.direct]) {
            for route in &slot.routes {
                visit.call(&route.handler)?;
            }
        }
        Ok(())
    }
}

impl Route {
    /// `None` for an event that no message can have: a string that is not UTF-8.
    pub(crate) fn new(event: &Bound<'_, PyString>, handler: Py<PyAny>, with_message: bool) -> Option<Self> {
        let event_bytes = event.to_str().ok()?.as_bytes().into();
        Some(Self { event_bytes, event: event.clone().unbind(), handler, with_message })
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> RouteRef {
        let with_message = self.with_message;
        RouteRef { event: self.event.clone_ref(py), handler: self.handler.clone_ref(py), with_message }
    }
}

impl Slot {
    pub(crate) fn route(&self, event: &[u8]) -> Option<&Route> {
        self.routes.iter().find(|route| *route.event_bytes == *event)
    }

    /// Sets the route of an event and returns the one before, which is to be dropped where nothing is locked: that may
    /// run code of the application.
    #[must_use]
    pub(crate) fn replace_route(&mut self, event: &str, route: Option<Route>) -> Option<Route> {
        let at = self.routes.iter().position(|route| *route.event_bytes == *event.as_bytes());
        let before = at.map(|at| self.routes.swap_remove(at));
        self.routes.extend(route);
        before
    }
}
