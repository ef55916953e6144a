use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::faults::{Controls, Faults};

const CHUNK: usize = 16 * 1024;
/// Bytes on their way through one direction; a full line is not read from, as TCP would have it.
const LINE: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// Moves bytes one way until the end of the stream, under the faults. `Interrupted` means that it is to be cut.
pub(crate) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    controls: &Controls,
) -> io::Result<()> {
    let mut faults = controls.watch();
    let mut line = Line::default();
    let mut buffer = vec![0; CHUNK];
    let mut ended = false;
    loop {
        let now = *faults.borrow_and_update();
        if now.stalled {
            restored(&mut faults).await;
            continue;
        }
        if ended && line.chunks.is_empty() {
            return to.shutdown().await;
        }
        let due = line.due(&now);
        tokio::select! {
            _ = faults.changed() => {}
            read = from.read(&mut buffer), if !ended && line.bytes < LINE => match read? {
                0 => ended = true,
                n => line.push(&buffer[..n]),
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                line.write_front(&mut to, &now, direction, controls).await?;
            }
        }
    }
}

async fn restored(faults: &mut watch::Receiver<Faults>) {
    // An error means that the proxy is gone, and with it this task.
    let _ = faults.wait_for(|faults| !faults.stalled).await;
}

/// Bytes on their way, with the time they came.
#[derive(Debug, Default)]
struct Line {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Until then the line is busy with what was written last.
    busy: Option<Instant>,
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.chunks.push_back((Instant::now(), bytes.to_vec()));
    }

    /// When the front chunk goes out.
    fn due(&self, faults: &Faults) -> Option<Instant> {
        let (came, _) = self.chunks.front()?;
        let due = *came + faults.delay;
        Some(self.busy.filter(|_| faults.limit.is_some()).map_or(due, |busy| busy.max(due)))
    }

    async fn write_front(
        &mut self,
        to: &mut WriteHalf<'_>,
        faults: &Faults,
        direction: Direction,
        controls: &Controls,
    ) -> io::Result<()> {
        let Some((came, mut chunk)) = self.chunks.pop_front() else { return Ok(()) };
        // A slow line moves small pieces, or it would be fast in bursts.
        let most = faults.limit.map_or(chunk.len(), |limit| usize::try_from(limit / 50).unwrap_or(usize::MAX).max(1));
        let mut size = chunk.len().min(most);
        let mut cut = false;
        if direction == Direction::ToClient {
            (size, cut) = controls.pass(size);
        }
        to.write_all(&chunk[..size]).await?;
        if cut {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.bytes -= size;
        if let Some(limit) = faults.limit {
            let start = self.busy.map_or_else(Instant::now, |busy| busy.max(Instant::now()));
            self.busy = Some(start + Duration::from_secs_f64(size as f64 / limit as f64));
        }
        if size < chunk.len() {
            chunk.drain(..size);
            self.chunks.push_front((came, chunk));
        }
        Ok(())
    }
}
