use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use realtime_client::{Error, Gap, Receipt};

/// What the service was told, one event a line, in the order of the events.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    file: Arc<Mutex<BufWriter<File>>>,
}

impl Journal {
    pub(crate) fn create(path: &str) -> io::Result<Self> {
        Ok(Self { file: Arc::new(Mutex::new(BufWriter::with_capacity(1 << 20, File::create(path)?))) })
    }

    pub(crate) fn sent(&self, channel: usize, number: u64, outcome: &Result<Receipt, Error>) {
        match outcome {
            Ok(receipt) => {
                let (epoch, offset) = (receipt.epoch.as_deref().unwrap_or("-"), receipt.offset.unwrap_or(0));
                self.write(format_args!("r {channel} {number} {epoch} {offset}\n"));
            }
            Err(error) => self.write(format_args!("e {channel} {number} {}\n", error.kind)),
        }
    }

    pub(crate) fn message(&self, channel: usize, offset: u64, sender: &str, number: u64) {
        self.write(format_args!("m {channel} {offset} {sender} {number}\n"));
    }

    pub(crate) fn gap(&self, channel: usize, gap: &Gap) {
        let offset = |offset: Option<u64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        let previous = gap.previous_epoch.as_deref().unwrap_or("-");
        let (from, to) = (offset(gap.from), offset(gap.to));
        self.write(format_args!("g {channel} {} {} {previous} {from} {to}\n", gap.reason, gap.epoch));
    }

    pub(crate) fn flush(&self) {
        self.lock().flush().expect("the journal can be written");
    }

    fn write(&self, line: std::fmt::Arguments<'_>) {
        self.lock().write_fmt(line).expect("the journal can be written");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BufWriter<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
