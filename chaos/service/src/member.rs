use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use realtime_client::{
    ChangeKind, Client, Collection, CollectionEvent, CollectionEvents, Error, Presence, PresenceEvent, PresenceStatus,
    PresenceWatch, User,
};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::Notify;

const AT_A_TIME: usize = 100;
const CLAIMS: usize = 60;
const RECORDS: usize = 300;

/// What `chaos.py` wants of a member.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MemberJob {
    channel: String,
    /// Who it is, in this life and in those before.
    member: String,
    life: String,
    journal: String,
    members: Vec<String>,
    /// Between two changes, in milliseconds.
    pause: u64,
}

/// Changes the records that all services share, and is present among them. Writes down what it asks for and is told.
#[derive(Debug)]
pub(crate) struct Member {
    job: MemberJob,
    journal: RefCell<File>,
    records: Collection<Box<RawValue>>,
    presence: Presence,
    /// What the events have told: who is present, and the records that there are.
    users: RefCell<Vec<User>>,
    ids: RefCell<BTreeSet<String>>,
    number: Cell<u64>,
    open: Cell<usize>,
    is_editing: Cell<bool>,
    changed: Notify,
    dice: Cell<u64>,
}

impl Member {
    pub(crate) async fn start(job: MemberJob, client: &Client) -> Result<Rc<Self>, Box<dyn std::error::Error>> {
        let channel = client.channel(&job.channel)?;
        let records = channel.collection::<Box<RawValue>>("records")?;
        let events = records.events();
        records.ready().await?;
        let presence = channel.presence()?;
        let people = presence.watch().await?;
        let state = json!({"life": job.life, "ended": false});
        presence.track(Some(&job.member), PresenceStatus::Online, &state).await?;
        let dice = std::time::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_nanos() as u64);
        let member = Rc::new(Self {
            journal: RefCell::new(File::create(&job.journal)?),
            users: RefCell::new(people.users()),
            ids: RefCell::default(),
            number: Cell::new(0),
            open: Cell::new(0),
            is_editing: Cell::new(true),
            changed: Notify::new(),
            dice: Cell::new(dice),
            job,
            records,
            presence,
        });
        for id in member.shown()? {
            member.ids.borrow_mut().insert(id);
        }
        tokio::task::spawn_local(Rc::clone(&member).watch_records(events));
        tokio::task::spawn_local(Rc::clone(&member).watch_people(people));
        Ok(member)
    }

    /// Changes records until `quiet()`.
    pub(crate) async fn edit(self: Rc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.job.pause)).await;
            if !self.is_editing.get() {
                return;
            }
            if self.open.get() < AT_A_TIME {
                self.edit_one();
            }
        }
    }

    /// Waits until everything that was asked for has ended.
    pub(crate) async fn quiet(&self) {
        self.is_editing.set(false);
        self.until(|| self.open.get() == 0).await;
    }

    /// Puts a mark behind what it has done, and waits until those of all are there, and all members as they should be.
    pub(crate) async fn complete(self: Rc<Self>) -> Result<(), Error> {
        self.change("i", format!("end-{}", self.job.member), false);
        self.until(|| self.open.get() == 0).await;
        self.presence.update(&json!({"ended": true})).await?;
        self.until(|| self.is_complete()).await;
        Ok(())
    }

    /// Writes down the records and the members.
    pub(crate) fn show(&self) -> Result<(), Box<dyn std::error::Error>> {
        for (id, record) in self.shown()?.iter().zip(self.records.records()?) {
            self.write(format_args!("r {id} {} {}", or_none(self.records.revision(id)), record.get()));
        }
        for user in self.users.borrow().iter() {
            let state: Box<RawValue> = user.state()?;
            self.write(format_args!("p {} {} {}", user.id, user.connections, state.get()));
        }
        Ok(())
    }

    fn edit_one(self: &Rc<Self>) {
        let (claims, others, all) = {
            let ids = self.ids.borrow();
            let is_claim = |id: &&String| id.starts_with("claim-");
            let is_mark = |id: &&String| id.starts_with("end-");
            let claims: Vec<_> = ids.iter().filter(is_claim).cloned().collect();
            let others: Vec<_> = ids.iter().filter(|id| !is_claim(id) && !is_mark(id)).cloned().collect();
            (claims, others, ids.len())
        };
        let at = self.draw(100);
        if at < 5 {
            // Others want the same.
            self.change("i", format!("claim-{:02}", claims.len() % CLAIMS), false);
        } else if others.is_empty() || at < 30 && all < RECORDS {
            self.change("i", format!("{}-{}", self.job.life, self.number.get() + 1), false);
        } else if at < 40 {
            self.change("x", self.one_of(&others), self.draw(100) < 50);
        } else {
            let some = if !claims.is_empty() && self.draw(100) < 40 { &claims } else { &others };
            self.change("u", self.one_of(some), self.draw(100) < 30);
        }
        if self.number.get().is_multiple_of(100) {
            let is_online = self.number.get().is_multiple_of(200);
            let status = if is_online { PresenceStatus::Online } else { PresenceStatus::Away };
            let member = Rc::clone(self);
            tokio::task::spawn_local(async move {
                if let Err(error) = member.presence.set_status(status).await {
                    member.write(format_args!("t {}", error.kind));
                }
            });
        }
    }

    fn change(self: &Rc<Self>, kind: &str, id: String, is_sure: bool) {
        let number = self.number.get() + 1;
        self.number.set(number);
        let mark = format!("{} {number}", self.job.life);
        let revision = if is_sure { self.records.revision(&id) } else { None };
        if kind == "i" {
            self.write(format_args!("i {number} {id}"));
            let record = json!({"id": id, "mark": mark, "title": format!("grüße {number}")});
            return self.note(number, self.records.insert(&record));
        }
        self.write(format_args!("{kind} {number} {id} {}", or_none(revision)));
        let patch = json!({"mark": mark, &self.job.life: number});
        match (kind, revision) {
            ("u", Some(revision)) => self.note(number, self.records.update_if(&id, &patch, revision)),
            ("u", None) => self.note(number, self.records.update(&id, &patch)),
            (_, Some(revision)) => self.note(number, self.records.remove_if(&id, revision)),
            (_, None) => self.note(number, self.records.remove(&id)),
        }
    }

    /// Writes down what becomes of it.
    fn note<T: 'static>(self: &Rc<Self>, number: u64, outcome: impl Future<Output = Result<T, Error>> + 'static) {
        self.open.set(self.open.get() + 1);
        let member = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match outcome.await {
                Ok(_) => member.write(format_args!("k {number}")),
                Err(error) => member.write(format_args!("f {number} {} {}", error.kind, or_none(error.revision))),
            }
            member.open.set(member.open.get() - 1);
            member.changed.notify_waiters();
        });
    }

    async fn watch_records(self: Rc<Self>, mut events: CollectionEvents<Box<RawValue>>) {
        let (mut last, mut has_snapshot) = (0, false);
        while let Some(event) = events.recv().await {
            if let CollectionEvent::Changed(change) = &event
                && let Some(revision) = change.revision().filter(|_| !change.is_local())
            {
                // Changes come in their order, what a snapshot has changed in that of the ids.
                has_snapshot |= revision < last;
                last = revision;
            }
            match event {
                CollectionEvent::Changed(change) if change.kind() == ChangeKind::Delete => {
                    self.ids.borrow_mut().remove(change.id());
                }
                CollectionEvent::Changed(change) => {
                    self.ids.borrow_mut().insert(change.id().to_owned());
                }
                CollectionEvent::Synced { .. } if std::mem::take(&mut has_snapshot) => self.write(format_args!("s")),
                CollectionEvent::Diverged { offset } => self.write(format_args!("v {offset}")),
                _ => {}
            }
            self.changed.notify_waiters();
        }
    }

    async fn watch_people(self: Rc<Self>, mut events: PresenceWatch) {
        while let Some(event) = events.recv().await {
            if matches!(event, PresenceEvent::Synced) {
                *self.users.borrow_mut() = events.users();
                self.changed.notify_waiters();
            }
        }
    }

    /// The ids of the records, in their order.
    fn shown(&self) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        #[derive(Deserialize)]
        struct Identified {
            id: String,
        }
        let id_of = |record: &RawValue| serde_json::from_str(record.get()).map(|Identified { id }| id);
        Ok(self.records.records()?.iter().map(|record| id_of(record)).collect::<Result<_, _>>()?)
    }

    fn is_complete(&self) -> bool {
        #[derive(Deserialize)]
        struct State {
            ended: bool,
        }
        let users = self.users.borrow();
        let is_there = |member: &String| {
            let is_ended = |state: Result<State, Error>| state.is_ok_and(|state| state.ended);
            users.iter().any(|user| user.id == *member && user.connections == 1 && is_ended(user.state()))
        };
        let ids = self.ids.borrow();
        let members = &self.job.members;
        users.len() == members.len()
            && members.iter().all(|member| is_there(member) && ids.contains(&format!("end-{member}")))
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    fn one_of(&self, ids: &[String]) -> String {
        ids[self.draw(ids.len() as u64) as usize].clone()
    }

    /// A number below `end`.
    fn draw(&self, end: u64) -> u64 {
        // SplitMix64.
        let state = self.dice.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.dice.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn write(&self, line: std::fmt::Arguments<'_>) {
        // At once: the service may be killed.
        self.journal.borrow_mut().write_all(format!("{line}\n").as_bytes()).expect("the journal can be written");
    }
}

fn or_none(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
