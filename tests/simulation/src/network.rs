//! Links: latency, stalls and cuts, and the buffers at their ends.

use realtime_engine::Input;
use realtime_engine::wire::{CloseCode, Frame, ServerMessage, lines};
use realtime_server::hub::{self, ConnectionId};

use crate::link::{Direction, Packet};
use crate::present::untracks;
use crate::world::{Event, MILLI, SECOND, World};

impl World {
    pub(crate) fn send(&mut self, id: u64, direction: Direction, packet: Packet) {
        let jitter = self.rng.u64(0..20) * MILLI;
        let twice = direction == Direction::Down && self.profile.stutter && self.rng.u32(0..20) == 0;
        let Some(link) = self.links.get_mut(&id) else { return };
        let twice = twice && !self.clients[link.client].plain;
        let arrival = &mut link.arrival[direction as usize];
        *arrival = (*arrival).max(self.now + link.latency + jitter);
        let wait = *arrival - self.now;
        if direction == Direction::Down {
            link.down_bytes += packet.bytes();
        }
        if twice && matches!(packet, Packet::Frame(_)) {
            link.down_bytes += packet.bytes();
            self.count("said twice");
            self.at(wait, Event::Arrive { link: id, direction, packet: packet.clone() });
        }
        self.at(wait, Event::Arrive { link: id, direction, packet });
    }

    pub(crate) fn arrive(&mut self, id: u64, direction: Direction, packet: Packet) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.stalled {
            return link.held.push((direction, packet));
        }
        link.unread[direction as usize].push_back(packet);
        match direction {
            Direction::Up => self.read_server(id),
            Direction::Down => self.read_client(id),
        }
    }

    /// The client takes what has arrived, unless its application has to consume first.
    pub(crate) fn read_client(&mut self, id: u64) {
        while let Some(link) = self.links.get_mut(&id).filter(|link| link.client_end) {
            let (client, attempt) = (link.client, link.attempt);
            let newest = self.clients[client].link.is_some_and(|(newest, _)| newest == attempt);
            if self.clients[client].asleep_until > self.now || newest && !self.clients[client].session.wants_read() {
                return;
            }
            let Some(packet) = link.unread[Direction::Down as usize].pop_front() else { return };
            link.down_bytes = link.down_bytes.saturating_sub(packet.bytes());
            let unblocks = link.wants_pull && link.server_end;
            match packet {
                Packet::Frame(frame) => {
                    if newest {
                        self.clients[client].heard_at = self.now;
                    }
                    let frame = self.damage(client, frame);
                    self.clients[client].arrived += frame.len() as u64;
                    self.tell_client(client, Input::Frame { attempt, frame });
                }
                Packet::Close(code) => self.gone(id, Direction::Down, Some(code)),
            }
            if unblocks {
                self.unblock(id);
            }
        }
    }

    /// Sometimes a value in a change of a record is another one when it arrives.
    fn damage(&mut self, client: usize, frame: Frame) -> Frame {
        if !self.profile.corrupts || self.calm || self.clients[client].plain || self.rng.u32(0..30) > 0 {
            return frame;
        }
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = &frame else { return frame };
        let value = lines(bytes).filter(|line| line.starts_with(b"{\"type\":\"change\"")).find_map(|line| {
            let at = line.windows(4).position(|window| window == b"\"x\":")? + 4;
            Some(line.as_ptr() as usize - bytes.as_ptr() as usize + at)
        });
        let Some(at) = value else { return frame };
        let mut damaged = bytes.to_vec();
        damaged[at] = b'0' + (damaged[at] - b'0' + 1) % 10;
        self.checker.corrupted(client);
        self.count("damaged change");
        self.trace(|| format!("DAMAGED for client {client}: {}", String::from_utf8_lossy(&damaged)));
        match frame {
            Frame::Text(_) => Frame::Text(damaged.into()),
            _ => Frame::Binary(damaged.into()),
        }
    }

    /// The server takes what has arrived, unless the client has to take its answers first.
    pub(crate) fn read_server(&mut self, id: u64) {
        let connection = ConnectionId(id);
        while let Some(link) = self.links.get_mut(&id).filter(|link| link.server_end) {
            let unread = &mut link.unread[Direction::Up as usize];
            match unread.front() {
                None => return,
                Some(Packet::Frame(_)) if !self.hub.wants_frames(connection) => return,
                Some(_) => {}
            }
            match unread.pop_front() {
                Some(Packet::Frame(frame)) => {
                    self.trace(|| format!("server  <- {id} {}", shown(&frame)));
                    // One by one where much at a time would be forgotten, or somebody be there again, before anybody looks.
                    for frame in
                        if self.profile.small_history || untracks(&frame) { single(frame) } else { vec![frame] }
                    {
                        self.tell_hub(hub::Input::Frame { connection, frame });
                    }
                }
                Some(Packet::Close(code)) => self.gone(id, Direction::Up, Some(code)),
                None => return,
            }
        }
    }

    /// The end that this direction leads to hears that the link is gone.
    pub(crate) fn gone(&mut self, id: u64, direction: Direction, code: Option<CloseCode>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (client, attempt) = (link.client, link.attempt);
        match direction {
            Direction::Up if std::mem::take(&mut link.server_end) => {
                self.tell_hub(hub::Input::Closed { connection: ConnectionId(id) });
                // TCP tells the other end, if anything still can.
                if self.links.get(&id).is_some_and(|link| link.client_end && !link.cut) {
                    self.send(id, Direction::Down, Packet::Close(code.unwrap_or(CloseCode::ABNORMAL)));
                }
            }
            Direction::Down if std::mem::take(&mut link.client_end) => {
                self.tell_client(client, Input::Closed { attempt, code, reason: String::new() });
                if self.links.get(&id).is_some_and(|link| link.server_end && !link.cut) {
                    self.send(id, Direction::Up, Packet::Close(CloseCode::NORMAL));
                }
            }
            _ => {}
        }
        if self.links.get(&id).is_some_and(|link| !link.client_end && !link.server_end) {
            self.links.remove(&id);
        }
    }

    /// The bytes on the way are lost from some byte on, each way; the ends hear of it now, later, or by their timeouts.
    pub(crate) fn cut(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.cut) else { return };
        (link.stalled, link.cut) = (true, true);
        let held = std::mem::take(&mut link.held);
        for wanted in [Direction::Up, Direction::Down] {
            let mut sent: Vec<(u64, u64)> = Vec::new();
            for (sequence, (at, event)) in &self.events {
                if matches!(event, Event::Arrive { link, direction, .. } if (*link, *direction) == (id, wanted)) {
                    sent.push((*at, *sequence));
                }
            }
            sent.sort_unstable();
            let mut packets: Vec<Packet> =
                held.iter().filter(|(direction, _)| *direction == wanted).map(|(_, packet)| packet.clone()).collect();
            for (_, sequence) in sent {
                if let Some((_, Event::Arrive { packet, .. })) = self.events.remove(&sequence) {
                    packets.push(packet);
                }
            }
            let mut arrived = self.rng.usize(0..=packets.iter().map(Packet::bytes).sum());
            for packet in packets {
                // A frame of which a byte is missing is none, and nothing after it is.
                let Some(rest) = arrived.checked_sub(packet.bytes()) else { break };
                arrived = rest;
                if let Some(link) = self.links.get_mut(&id) {
                    link.unread[wanted as usize].push_back(packet);
                }
            }
        }
        self.read_server(id);
        self.read_client(id);
        for direction in [Direction::Up, Direction::Down] {
            let wait = if self.rng.bool() { 0 } else { self.rng.u64(0..90) * SECOND };
            self.at(wait, Event::Gone { link: id, direction });
        }
    }

    pub(crate) fn heal(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.cut || !std::mem::take(&mut link.stalled) {
            return;
        }
        for (direction, packet) in std::mem::take(&mut link.held) {
            self.arrive(id, direction, packet);
        }
    }
}

/// The lines of a frame as frames of their own.
fn single(frame: Frame) -> Vec<Frame> {
    match frame {
        Frame::Text(bytes) => lines(&bytes).map(|line| Frame::Text(bytes.slice_ref(line))).collect(),
        other => vec![other],
    }
}

/// A frame for a trace.
pub(crate) fn shown(frame: &Frame) -> String {
    match frame {
        Frame::Text(bytes) | Frame::Binary(bytes) if bytes.first() == Some(&b'{') => {
            let lines: Vec<_> = lines(bytes).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
            lines.join("\n                         ")
        }
        Frame::Binary(bytes) => format!("{:?}", ServerMessage::decode_binary(bytes).ok()),
        other => format!("{other:?}"),
    }
}
