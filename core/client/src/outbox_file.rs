use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use realtime_engine::{Error, ErrorKind, Restored};

/// The file of a durable outbox, which this client alone has.
///
/// What was appended survives the end of the process, however it comes: it is with the operating system. It is not forced to
/// the disk: a power cut may take the last seconds. Files that are written anew are, so that there is always a whole one.
#[derive(Debug)]
pub(crate) struct OutboxFile {
    path: PathBuf,
    /// Locked. A file of its own, since the other one is replaced.
    _lock: File,
    /// Appended to. None before the first [`replace`](Self::replace).
    file: Option<File>,
    /// Where the next record goes.
    length: u64,
    /// The last append was cut short, and what is behind `length` could not be taken away.
    dirty: bool,
}

impl OutboxFile {
    /// Takes the file, or a place for one, and reads what it has. Fails with `outbox_in_use`, `outbox_damaged` or `storage_failed`.
    pub(crate) fn open(path: &Path) -> Result<(Self, Restored), Error> {
        let lock = lock(path)?;
        let mut found = Vec::new();
        let restored = match open(path, OpenOptions::new().read(true)).and_then(|mut file| file.read_to_end(&mut found)) {
            Ok(_) => Restored::decode(&found).map_err(|error| {
                let message = format!(
                    "the outbox file {} cannot be used: {}; nothing was changed. It may hold messages that were never sent: move it \
                     away to start without them, and keep it if they matter",
                    path.display(),
                    error.message
                );
                Error::new(error.kind, message)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Restored::default(),
            Err(error) => return Err(failed(path, "read", &error)),
        };
        if restored.torn() > 0 {
            put_aside(path, &found[restored.whole()..])?;
        }
        Ok((Self { path: path.to_owned(), _lock: lock, file: None, length: 0, dirty: false }, restored))
    }

    /// Appends whole records, or nothing.
    pub(crate) fn append(&mut self, records: &[u8]) -> Result<(), Error> {
        self.try_append(records).map_err(|error| {
            // What is cut short now would stand before what comes later.
            self.dirty = self.file.as_ref().is_some_and(|file| file.set_len(self.length).is_err());
            failed(&self.path, "written", &error)
        })?;
        self.length += records.len() as u64;
        Ok(())
    }

    /// Puts a whole file in place of the one there is, in one step.
    pub(crate) fn replace(&mut self, whole: &[u8]) -> Result<(), Error> {
        self.try_replace(whole).map_err(|error| failed(&self.path, "written", &error))
    }

    /// What is told where the end of the file was not whole.
    pub(crate) fn torn(&self, bytes: usize) -> String {
        let aside = beside(&self.path, ".damaged");
        format!(
            "the last {bytes} bytes of the outbox file {} are no whole record, as a crash in the middle of a write leaves them; the records \
             before them were recovered, and the bytes were added to {}",
            self.path.display(),
            aside.display()
        )
    }

    fn try_append(&mut self, records: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if self.dirty {
            file.set_len(self.length)?;
            self.dirty = false;
        }
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "somebody has removed it; start the client again"));
        }
        file.write_all(records)
    }

    fn try_replace(&mut self, whole: &[u8]) -> io::Result<()> {
        let fresh = beside(&self.path, ".new");
        // Of a run that ended here.
        let _ = std::fs::remove_file(&fresh);
        let mut file = open(&fresh, OpenOptions::new().append(true).create_new(true))?;
        file.write_all(whole)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        (self.file, self.length, self.dirty) = (Some(file), whole.len() as u64, false);
        // The rename itself; a file system without this has it some other way.
        #[cfg(unix)]
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let name = beside(path, ".lock");
    let lock = open(&name, OpenOptions::new().write(true).create(true).truncate(false))
        .map_err(|error| failed(&name, "opened", &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::OutboxInUse,
            format!(
                "the outbox file {} is in use by another client, in this process or another; give each client a path of its own, or \
                 disconnect the other one first",
                path.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(failed(&name, "locked", &error)),
    }
}

fn put_aside(path: &Path, tail: &[u8]) -> Result<(), Error> {
    let aside = beside(path, ".damaged");
    open(&aside, OpenOptions::new().append(true).create(true))
        .and_then(|mut file| file.write_all(tail).and_then(|()| file.sync_all()))
        .map_err(|error| failed(&aside, "written", &error))
}

/// Opens a file that others may not read: it holds messages, and a session's secret.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::StorageFailed, format!("the outbox file {} cannot be {what}: {error}", path.display()))
}
