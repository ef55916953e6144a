use crate::world::{Event, SECOND, World};

impl World {
    /// Breaks something.
    pub(crate) fn fault(&mut self) {
        let links: Vec<u64> = self.links.keys().copied().collect();
        let client = self.rng.usize(0..self.clients.len());
        let Some(one) = self.rng.choice(links.iter().copied()) else { return };
        let name = match self.rng.u32(0..100) {
            0..35 => {
                self.cut(one);
                "cut"
            }
            35..45 => {
                links.into_iter().for_each(|link| self.cut(link));
                "cut of all"
            }
            45..70 => {
                let wait = self.rng.u64(0..100) * SECOND;
                if let Some(link) = self.links.get_mut(&one) {
                    link.stalled = true;
                }
                self.at(wait, Event::Heal(one));
                "stall"
            }
            70..76 => {
                // The clock jumps for it when it wakes.
                let wait = self.rng.u64(1..300) * SECOND;
                let until = self.clients[client].asleep_until.max(self.now + wait);
                self.clients[client].asleep_until = until;
                self.checker.asleep(client, until);
                self.at(until - self.now, Event::Wake(client));
                "sleeping machine"
            }
            76..79 if self.profile.durable => {
                let wait = self.rng.u64(0..30) * SECOND;
                self.disk.fails_until(self.now + wait);
                "failing disk"
            }
            76..82 => {
                self.clients[client].busy_until = self.now + self.rng.u64(1..120) * SECOND;
                "busy application"
            }
            82..86 => {
                if let Some((attempt, _)) = self.clients[client].link {
                    self.at(0, Event::Backlog { client, attempt, bytes: 2 << 20 });
                }
                "full driver"
            }
            86..91 if self.server_up => {
                self.restart(true);
                "restart with history"
            }
            91..95 if (self.profile.restarts || self.profile.durable) && self.server_up && !self.hub.is_draining() => {
                self.hub.drain(self.now / 1000, 1000, 5000);
                self.drain_hub();
                self.at(6 * SECOND, Event::Restart);
                "drain"
            }
            95.. if (self.profile.restarts || self.profile.durable) && self.server_up => {
                self.restart(false);
                if self.profile.durable { "kill of a durable server" } else { "restart without history" }
            }
            _ => {
                self.cut(one);
                "cut"
            }
        };
        self.trace(|| format!("FAULT {name}, link {one}, client {client}"));
        self.count(name);
    }
}
