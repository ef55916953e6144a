use std::io;
use std::time::Instant;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::case::{Case, Kind};
use crate::dialect::{Heard, Speaker};
use crate::fault::Fault;
use crate::feed::{self, FIRST, Template};
use crate::frame::{self, BINARY, CLOSE, PING, PONG, TEXT};
use crate::handshake;
use crate::out::Out;

/// Bytes of a stream that are made at once.
const BLOCK: usize = 128 << 10;
const READ: usize = 256 << 10;
/// Messages of a stream before it is cut.
const BEFORE_CUT: u64 = 1_000;

/// Serves one connection to its end.
pub(crate) async fn serve(mut stream: TcpStream, fault: Option<Fault>) -> io::Result<()> {
    let accepted = Instant::now();
    stream.set_nodelay(true)?;
    let (case, input) = handshake::accept(&mut stream).await?;
    let speaker = case.speaker();
    let mut out = Out::default();
    speaker.opened(&mut out);
    let mut connection = Connection {
        stream,
        accepted,
        case,
        fault,
        speaker,
        templates: Vec::new(),
        input,
        out,
        written: 0,
        heard: 0,
        streamed: None,
        resumed: false,
        cut: false,
    };
    // Said before the socket ends, so that whoever sees its end finds the reason.
    if let Err(error) = connection.run().await {
        eprintln!("load: {error}");
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    accepted: Instant,
    case: Case,
    fault: Option<Fault>,
    speaker: Box<dyn Speaker>,
    /// One a channel, in the order of the subscriptions.
    templates: Vec<Template>,
    input: Vec<u8>,
    out: Out,
    /// How much of `out` is with the operating system.
    written: usize,
    /// Messages that the client sent.
    heard: u64,
    /// Messages of the stream that were made, once it was started.
    streamed: Option<u64>,
    /// The client goes on from a position of an earlier connection.
    resumed: bool,
    /// Ends once everything is written.
    cut: bool,
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        if !self.take_input()? {
            return Ok(());
        }
        loop {
            if self.out.bytes.is_empty() {
                self.fill();
            }
            let idle = self.out.bytes.is_empty();
            if idle && self.cut {
                return Ok(());
            }
            let interest = if idle { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            let ready = self.stream.ready(interest).await?;
            if ready.is_readable() && !self.read()? {
                return Ok(());
            }
            if !self.out.bytes.is_empty() {
                self.write()?;
            }
        }
    }

    /// `false` where the client has gone.
    fn read(&mut self) -> io::Result<bool> {
        // Without writing to what is not read into: it would cost 10 µs a round trip, and memory an idle connection.
        self.input.reserve(READ);
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Ok(false),
            Ok(_) => self.take_input(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            // However a client ends is its own affair: its count says whether it had everything.
            Err(_) => Ok(false),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.stream.try_write(&self.out.bytes[self.written..]) {
            Ok(taken) => self.written += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.written == self.out.bytes.len() {
            self.out.bytes.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Handles every frame that is whole; `false` after a close.
    fn take_input(&mut self) -> io::Result<bool> {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(frame) = frame::parse(&mut input, at)? {
            at = frame.payload.end;
            let payload = &input[frame.payload];
            match frame.opcode {
                TEXT | BINARY => self.message(payload)?,
                PING => self.out.frame(PONG, payload),
                CLOSE => {
                    // Blocks for no one: a client that says goodbye reads.
                    self.out.frame(CLOSE, payload);
                    self.write()?;
                    return Ok(false);
                }
                _ => {}
            }
        }
        input.drain(..at);
        self.input = input;
        self.out.finish();
        Ok(true)
    }

    fn message(&mut self, message: &[u8]) -> io::Result<()> {
        // Several a frame, one a line, where the dialect has that.
        let lines = if self.out.joins && message.first() == Some(&b'{') { message } else { &[] };
        if lines.is_empty() {
            return self.one(message);
        }
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).try_for_each(|line| self.one(line))
    }

    fn one(&mut self, message: &[u8]) -> io::Result<()> {
        match self.speaker.hear(message, &mut self.out)? {
            Heard::Nothing => {}
            Heard::Subscribed { channel, since } => {
                let message = self.speaker.message(&channel, self.case.payload);
                let template = Template::new(message, since.unwrap_or(FIRST));
                self.templates.push(template.ok_or_else(|| io::Error::other("a template without seq"))?);
                self.subscribed(since);
            }
            Heard::Published => self.published(message)?,
        }
        Ok(())
    }

    fn subscribed(&mut self, since: Option<u64>) {
        if self.templates.len() != self.case.channels {
            return;
        }
        match (self.case.kind, since) {
            (Kind::Resubscribe, _) => self.push(0, 0, false),
            // Its offsets are its numbers, counted from one.
            (Kind::CatchUp, Some(position)) => {
                self.resumed = true;
                self.streamed = Some(position - FIRST);
            }
            _ => {}
        }
    }

    fn published(&mut self, message: &[u8]) -> io::Result<()> {
        if self.templates.len() != self.case.channels {
            let (is, should) = (self.templates.len(), self.case.channels);
            return Err(io::Error::other(format!("{is} subscriptions instead of {should}")));
        }
        let sequence = feed::sequence(message);
        match (self.case.kind, sequence) {
            (Kind::Receive, _) | (Kind::CatchUp, Some(0)) => self.streamed = self.streamed.or(Some(0)),
            (Kind::Resubscribe, Some(0)) => self.cut = true,
            (Kind::Resubscribe | Kind::CatchUp, Some(1)) => {
                self.push(0, self.accepted.elapsed().as_micros() as u64, false);
            }
            (Kind::Send | Kind::Echo, Some(number)) if number == self.heard => {
                self.heard += 1;
                match self.case.kind {
                    Kind::Echo => self.tell(0, number),
                    _ if self.heard == self.case.count => self.push(0, number, false),
                    _ => {}
                }
            }
            _ => {
                let came = sequence.map_or("one without a number".into(), |number| (FIRST + number).to_string());
                return Err(io::Error::other(format!("message {came} came instead of {}", FIRST + self.heard)));
            }
        }
        Ok(())
    }

    /// Makes the next block of the stream.
    fn fill(&mut self) {
        let Some(mut sequence) = self.streamed else { return };
        let cut_short = self.case.kind == Kind::CatchUp && !self.resumed;
        let end = if cut_short { self.case.count.min(BEFORE_CUT) } else { self.case.count };
        while sequence < end && self.out.bytes.len() < BLOCK {
            let channel = (sequence % self.templates.len() as u64) as usize;
            if !self.speaker.may_send(channel) {
                break;
            }
            self.tell(channel, sequence);
            sequence += 1;
        }
        self.out.finish();
        self.streamed = Some(sequence);
        self.cut |= cut_short && sequence == end;
    }

    /// Appends a message of a stream, or what the fault makes of it.
    fn tell(&mut self, channel: usize, sequence: u64) {
        let Some(fault) = self.fault else { return self.push(channel, sequence, false) };
        let victim = self.case.count / 2;
        for number in fault.instead(sequence, victim, victim + self.case.channels as u64) {
            self.push(channel, number, fault == Fault::Corrupt && number == victim);
        }
    }

    fn push(&mut self, channel: usize, number: u64, spoilt: bool) {
        let template = &mut self.templates[channel];
        self.speaker.sent(channel, template.len() as u64);
        self.out.push(if spoilt { template.next_spoilt(number) } else { template.next(number) });
    }
}
