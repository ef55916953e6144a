use std::path::PathBuf;

use realtime_engine::{Error, ErrorKind, Session, Timestamp};

use crate::outbox_file::OutboxFile;

/// A durable outbox: brings what the session notes into its file.
///
/// Locked after the session, and only with it, so that the file has the order of what happened.
#[derive(Debug)]
pub(crate) struct Durable {
    path: PathBuf,
    /// None while the client is disconnected: another one may have it then.
    file: Option<OutboxFile>,
}

impl Durable {
    /// Opens the file for a new session. Fails with `outbox_in_use`, `outbox_damaged` or `storage_failed`.
    pub(crate) fn start(path: PathBuf, session: &mut Session, now: Timestamp) -> Result<Self, Error> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let mut durable = Self { path, file: None };
        durable.open(session, now)?;
        Ok(durable)
    }

    /// Opens the file, where it is not: the session then has what the file has.
    pub(crate) fn open(&mut self, session: &mut Session, now: Timestamp) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        let (mut file, restored) = OutboxFile::open(&self.path)?;
        let torn = restored.torn();
        session.restore(now, restored);
        let whole = session.journal_snapshot();
        file.replace(&whole)?;
        session.journal_replaced(whole.len());
        if torn > 0 {
            let message = file.torn(torn);
            tracing::warn!("{message}");
            session.outbox_torn(now, torn as u64, message);
        }
        self.file = Some(file);
        Ok(())
    }

    /// Writes what the session has noted; whether there was something.
    pub(crate) fn write(&mut self, session: &mut Session, now: Timestamp) -> Result<bool, Error> {
        if session.journal().is_empty() {
            return Ok(false);
        }
        let result = match &mut self.file {
            Some(file) => file.append(session.journal()),
            None => Err(Error::new(ErrorKind::Closed, "the client is closed")),
        };
        session.journaled(now, result.clone());
        result.map(|()| true)
    }

    /// Keeps the file small, and gives it back where the client does not use it.
    pub(crate) fn tend(&mut self, session: &mut Session, now: Timestamp) {
        if session.is_at_rest() {
            self.file = None;
        } else if session.wants_journal_snapshot()
            && let Some(file) = &mut self.file
        {
            let whole = session.journal_snapshot();
            let result = file.replace(&whole);
            // Also where it failed: it is tried again once as much has come together.
            session.journal_replaced(whole.len());
            if let Err(error) = result {
                session.journaled(now, Err(error));
            }
        }
    }

    /// Gives the file back, for good.
    pub(crate) fn close(&mut self, session: &mut Session, now: Timestamp) {
        // What cannot be written now is sent once more by whoever comes next: the server knows it.
        let _ = self.write(session, now);
        self.file = None;
    }
}
