use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::wal::{self, Damage};
use super::{Store, StoreError, codec};
use crate::hub::{Batch, Record, RestoreError};

const FILE: &str = "realtime.db";
const LOG: &str = "realtime.db-wal";
/// Marks the file as ours: "rtv1".
const APPLICATION: i64 = 0x7274_7631;
/// 2 can hold collections.
const FORMAT: i64 = 2;
const OLDEST: i64 = 1;
/// The smallest file that SQLite makes of our tables.
const SMALLEST: u64 = 4096;

const RESTORE_A_COPY: &str =
    "Restore the directory from a copy, or move it away to begin with empty histories, which clients are told as gaps.";

/// A [`Store`] in a SQLite database with a write-ahead log; a commit is one `fsync` of the log.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    scratch: Vec<u8>,
}

impl SqliteStore {
    /// Opens the store in this directory, or makes both. It belongs to this process until it is dropped.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let log = directory.join(LOG);
        let io = |error: std::io::Error| StoreError::Failed { path: directory.into(), problem: error.to_string() };
        fs::create_dir_all(directory).map_err(io)?;
        match fs::metadata(&path) {
            Ok(file) if file.len() < SMALLEST => {
                return Err(damaged(&path, format!("it has only {} bytes", file.len())));
            }
            Ok(_) => {}
            Err(_) if log.exists() => return Err(damaged(&path, format!("it is missing, but {LOG} is there"))),
            Err(_) => create(directory, &path)?,
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|error| refused(&path, &error))?;
        let store = Self { path, connection, scratch: Vec::new() };
        store.prepare(&log)?;
        Ok(store)
    }

    /// Takes the lock and looks whether all is whole; until then nothing is written.
    fn prepare(&self, log: &Path) -> Result<(), StoreError> {
        let sqlite = &self.connection;
        let fail = |error: rusqlite::Error| refused(&self.path, &error);
        let number = |sql: &str| sqlite.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fail);
        // Closing must not tidy up what turns out to be damaged.
        sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fail)?;
        sqlite.busy_timeout(std::time::Duration::ZERO).map_err(fail)?;
        configure(sqlite).map_err(fail)?;
        sqlite.execute_batch("BEGIN IMMEDIATE; COMMIT").map_err(fail)?;
        let damage =
            wal::check(log).map_err(|error| StoreError::Failed { path: log.into(), problem: error.to_string() })?;
        if let Some(damage) = damage {
            return Err(log_damage(log, &damage));
        }
        let (application, format) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
        if application != APPLICATION {
            return Err(damaged(&self.path, "it is not a store of this server".into()));
        }
        if !(OLDEST..=FORMAT).contains(&format) {
            return Err(StoreError::Format { path: self.path.clone(), found: format, known: FORMAT });
        }
        let verdict: String = sqlite.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fail)?;
        if verdict != "ok" {
            return Err(damaged(&self.path, verdict));
        }
        Ok(())
    }

    fn write(&mut self, batches: &[Arc<Batch>]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare("INSERT OR REPLACE INTO record (number, body) VALUES (?1, ?2)")?;
            let mut delete = transaction.prepare("DELETE FROM record WHERE number = ?1")?;
            for (number, change) in batches.iter().flat_map(|batch| &batch.changes) {
                // Numbers count from 1 and never come near the sign.
                let key = number.cast_signed();
                match change {
                    Some(record) => {
                        codec::encode(*number, record, &mut self.scratch);
                        put.execute((key, &self.scratch))?;
                    }
                    None => drop(delete.execute((key,))?),
                }
            }
            if batches.iter().all(|batch| batch.changes.is_empty()) {
                transaction.execute("UPDATE probe SET count = count + 1", [])?;
            }
        }
        self.scratch.shrink_to(64 << 10);
        transaction.commit()
    }
}

impl Store for SqliteStore {
    fn load(&mut self, each: &mut dyn FnMut(u64, Record) -> Result<(), RestoreError>) -> Result<(), StoreError> {
        let fail = |error: rusqlite::Error| refused(&self.path, &error);
        let mut select = self.connection.prepare("SELECT number, body FROM record ORDER BY number").map_err(fail)?;
        let mut rows = select.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let number = row.get::<_, i64>(0).map_err(fail)?.cast_unsigned();
            let body = row.get_ref(1).map_err(fail)?;
            let record = body.as_blob().ok().and_then(|body| codec::decode(number, body));
            let Some(record) = record else {
                return Err(damaged(&self.path, format!("record {number} has a wrong checksum")));
            };
            each(number, record).map_err(|error| damaged(&self.path, error.to_string()))?;
        }
        // All is whole: from now on an older version must not read it, and closing may tidy up.
        let format: i64 = self.connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if format != FORMAT {
            self.connection.pragma_update(None, "user_version", FORMAT).map_err(fail)?;
        }
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop).map_err(fail)
    }

    fn commit(&mut self, batches: &[Arc<Batch>]) -> Result<(), StoreError> {
        self.write(batches).map_err(|error| refused(&self.path, &error))
    }
}

/// Makes a whole file under another name first: a crash leaves none, or all of it.
fn create(directory: &Path, path: &Path) -> Result<(), StoreError> {
    let new = directory.join(format!("{FILE}.{}.new", std::process::id()));
    let io = |error: std::io::Error| StoreError::Failed { path: directory.into(), problem: error.to_string() };
    let _ = fs::remove_file(&new);
    let made = Connection::open(&new).and_then(|sqlite| {
        configure(&sqlite)?;
        sqlite.pragma_update(None, "application_id", APPLICATION)?;
        sqlite.pragma_update(None, "user_version", FORMAT)?;
        sqlite.execute_batch(
            "CREATE TABLE record (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
             CREATE TABLE probe (count INTEGER NOT NULL);
             INSERT INTO probe VALUES (0);",
        )?;
        sqlite.close().map_err(|(_, error)| error)
    });
    let named = made.map_err(|error| refused(&new, &error)).and_then(|()| {
        File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
        match fs::hard_link(&new, path) {
            Ok(()) => Ok(()),
            // Another server was faster: the lock will tell.
            Err(_) if path.exists() => Ok(()),
            // A file system without links.
            Err(_) => fs::rename(&new, path).map_err(io),
        }
    });
    let _ = fs::remove_file(&new);
    named?;
    #[cfg(unix)]
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
    Ok(())
}

fn configure(sqlite: &Connection) -> rusqlite::Result<()> {
    // Alone on the file, so that a second server is refused; every commit on the disk itself, also on macOS.
    sqlite.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA journal_size_limit = 67108864;",
    )
}

fn damaged(path: &Path, problem: String) -> StoreError {
    StoreError::Damaged { path: path.into(), problem, advice: RESTORE_A_COPY.into() }
}

fn log_damage(log: &Path, damage: &Damage) -> StoreError {
    let (problem, advice) = match damage {
        Damage::Header => (
            "its beginning cannot be read".to_owned(),
            format!("Move it away to go on without what was published last, or: {RESTORE_A_COPY}"),
        ),
        Damage::Middle { good, lost } => (
            format!("something in its middle cannot be read, and {lost} transactions follow"),
            format!("Cut it to {good} bytes (truncate -s {good}) to go on with what is whole, or: {RESTORE_A_COPY}"),
        ),
    };
    StoreError::Damaged { path: log.into(), problem, advice }
}

fn refused(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path: path.into() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, error.to_string()),
        _ => StoreError::Failed { path: path.into(), problem: error.to_string() },
    }
}
