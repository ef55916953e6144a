use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Error;

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
    /// Round trips, receipts, connects, or recoveries.
    pub(crate) times: Vec<Duration>,
    /// Bytes of memory that a connection takes.
    pub(crate) idle: f64,
}

impl Measure {
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        let times: Vec<f64> = self.times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        Ok(serde_json::to_string(&serde_json::json!({
            "count": self.count,
            "seconds": self.elapsed.as_secs_f64(),
            "cpu": self.cpu.as_secs_f64(),
            "rss": peak()?,
            "idle": self.idle,
            "times": times,
        }))?)
    }
}

/// Time and processor time from here on.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    cpu: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu() }
    }

    pub(crate) fn stop(&self, count: u64) -> Measure {
        Measure { count, elapsed: self.begun.elapsed(), cpu: cpu() - self.cpu, ..Measure::default() }
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The memory that this process uses now, in bytes.
pub(crate) fn resident() -> Result<u64, Error> {
    status("VmRSS:")
}

/// The most that it has used.
fn peak() -> Result<u64, Error> {
    status("VmHWM:")
}

/// 0 where the system does not say.
fn status(name: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(line) = status.lines().find(|line| line.starts_with(name)) else { return Ok(0) };
    Ok(line.split_whitespace().nth(1).unwrap_or_default().parse::<u64>()? * 1024)
}
