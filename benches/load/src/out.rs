use crate::frame::{self, BINARY, TEXT};

/// A frame of several messages ends once it is this large.
const FRAME: usize = 64 << 10;
/// Bytes of a frame's header that is filled in later: the form with a length of eight bytes.
const RESERVED: usize = 10;

/// What waits for the socket.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    /// Puts waiting messages into one frame, one a line.
    pub(crate) joins: bool,
    /// Frames are binary.
    pub(crate) binary: bool,
    /// Where the open frame of several messages begins.
    open: Option<usize>,
}

impl Out {
    /// Appends a message: a frame of its own, or a line of the open one.
    pub(crate) fn push(&mut self, message: &[u8]) {
        if !self.joins {
            let opcode = self.opcode();
            frame::header(&mut self.bytes, opcode, message.len());
            self.bytes.extend_from_slice(message);
            return;
        }
        match self.open {
            Some(_) => self.bytes.push(b'\n'),
            None => {
                self.open = Some(self.bytes.len());
                self.bytes.extend_from_slice(&[0; RESERVED]);
            }
        }
        self.bytes.extend_from_slice(message);
        if self.open.is_some_and(|begin| self.bytes.len() - begin >= FRAME) {
            self.finish();
        }
    }

    /// Appends a frame by itself.
    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.finish();
        frame::header(&mut self.bytes, opcode, payload.len());
        self.bytes.extend_from_slice(payload);
    }

    /// Ends the open frame.
    pub(crate) fn finish(&mut self) {
        let Some(begin) = self.open.take() else { return };
        let length = self.bytes.len() - begin - RESERVED;
        let mut header = Vec::with_capacity(RESERVED);
        frame::header(&mut header, self.opcode(), length);
        let unused = RESERVED - header.len();
        self.bytes[begin + unused..begin + RESERVED].copy_from_slice(&header);
        self.bytes.drain(begin..begin + unused);
    }

    fn opcode(&self) -> u8 {
        if self.binary { BINARY } else { TEXT }
    }
}
