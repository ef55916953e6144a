//! Where a server keeps its histories, collections and sessions over restarts. `docs/durability.md` tells the whole story.

mod codec;
mod sqlite;
mod wal;

use std::path::PathBuf;
use std::sync::Arc;

use crate::hub::{Batch, Record, RestoreError};

pub use sqlite::SqliteStore;

/// Keeps records by their numbers.
///
/// It is used by one thread, which it may block for as long as a disk takes.
pub trait Store: Send {
    /// Hands out everything that is stored, in the order of the numbers.
    fn load(&mut self, each: &mut dyn FnMut(u64, Record) -> Result<(), RestoreError>) -> Result<(), StoreError>;

    /// Writes these batches: all of it is on disk when this returns `Ok`, and nothing of it counts otherwise. An empty
    /// batch is written too, so that it shows whether the disk works.
    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), StoreError>;
}

/// Why a store cannot be opened, or did not take something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another server has it.
    #[error("{} is in use by another server: stop that one, or take another directory", path.display())]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// What is stored is not whole. Nothing was changed.
    #[error("{} is damaged: {problem}. Nothing was changed. {advice}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// Made by a later version.
    #[error("{} has the format {found}, this version knows {known}: use a later version", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format of this version.
        known: i64,
    },
    /// The disk or the system refuses.
    #[error("{}: {problem}", path.display())]
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}
