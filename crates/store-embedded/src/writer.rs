//! The one thread that changes the store.
//!
//! Requests wait in a bounded queue. The writer takes what is there, decides each over what the ones before it leave,
//! writes all that comes of it as one batch, persists once for all of them, and only then publishes and answers. While
//! it waits for the disk the next group gathers, so that a slower disk makes larger groups and not a longer line
//! (group commit: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984).
//!
//! A write that fails ends all writing until the store is opened again: after a failed `fsync` the system may have
//! dropped the very pages that were not written, and a second `fsync` that succeeds says nothing about them (Rebello et
//! al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use cloakroom_session::{Principal, StoreKey, Timestamp};
use cloakroom_store::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, EndOutcome, RotateOutcome, RotateRequest, StoreError,
    TouchOutcome, TouchRequest,
};
use tokio::sync::oneshot;

use crate::change::View;
use crate::entry::{Totals, parse_expiry_key};
use crate::settings::{Settings, Sync, add};
use crate::shared::Shared;
use crate::storage::{Persistence, Space};

/// Most requests in one group: bounds the memory of a batch and the time its first request waits for its last.
const GROUP_MAX: usize = 1024;
/// Entries of the expiry keyspace in one step of the sweeper, which holds up the next group.
const SWEEP_STEP: usize = 256;
/// How often epochs that have served their time are looked for.
const EPOCH_SWEEP_INTERVAL_MS: u64 = 60 * 60 * 1000;

pub(crate) type Reply<Answer> = oneshot::Sender<Result<Answer, StoreError>>;

/// What is asked of the writer.
pub(crate) enum Message {
    Create(CreateRequest, Reply<CreateOutcome>),
    Commit(CommitRequest, Reply<CommitOutcome>),
    Touch(TouchRequest, Reply<TouchOutcome>),
    Rotate(RotateRequest, Reply<RotateOutcome>),
    End(StoreKey, Timestamp, Reply<EndOutcome>),
    EndAll(Principal, Option<StoreKey>, Timestamp, Reply<u64>),
    /// Sweeps all that is due.
    Sweep(Reply<()>),
    /// Nothing is sent after it but what was already under way.
    Close(Reply<()>),
}

/// An answer that waits for the group to be persisted.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    settings: Settings,
    messages: Receiver<Message>,
    totals: Totals,
    /// Everything filed up to this key is swept, so that a sweep does not wade through what earlier ones removed.
    swept_to: Vec<u8>,
    epochs_swept_at: Timestamp,
    sweep_at: Instant,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, settings: Settings, messages: Receiver<Message>, totals: Totals) -> Self {
        let sweep_at = Instant::now() + settings.sweep_interval;
        let epochs_swept_at = Timestamp::default();
        Self { shared, settings, messages, totals, swept_to: Vec::new(), epochs_swept_at, sweep_at }
    }

    /// Serves until it is told to close or the store is dropped.
    pub(crate) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        let mut closing: Option<Reply<()>> = None;
        while closing.is_none() {
            match self.messages.recv_timeout(self.sweep_at.saturating_duration_since(Instant::now())) {
                Ok(first) => group.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            closing = self.serve(&mut group);
            if closing.is_none() && Instant::now() >= self.sweep_at {
                let step = self.sweep_step();
                let is_behind = matches!(step, Ok(taken) if taken == SWEEP_STEP);
                self.sweep_at =
                    Instant::now() + if is_behind { Default::default() } else { self.settings.sweep_interval };
            }
        }
        // What was sent while the store closed is carried out too: its senders wait.
        while let Ok(first) = self.messages.try_recv() {
            group.push(first);
            drop(self.serve(&mut group));
        }
        let outcome = self.shared.storage.persist_all().map_err(StoreError::from);
        if let Some(reply) = closing {
            // Nobody may be waiting any more.
            drop(reply.send(outcome));
        }
    }

    /// Fills the group up with whatever waits, and carries it out. Answers who asked to close, if anyone did.
    fn serve(&mut self, group: &mut Vec<Message>) -> Option<Reply<()>> {
        let (mut closing, mut sweeps) = (None, Vec::new());
        let mut waiting = Vec::with_capacity(group.len());
        while group.len() + waiting.len() < GROUP_MAX {
            match self.messages.try_recv() {
                Ok(message) => waiting.push(message),
                Err(_) => break,
            }
        }
        let changes = group.drain(..).chain(waiting).filter_map(|message| match message {
            Message::Close(reply) => {
                closing = Some(reply);
                None
            }
            Message::Sweep(reply) => {
                sweeps.push(reply);
                None
            }
            change => Some(change),
        });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            self.write_group(changes);
        }
        for reply in sweeps {
            drop(reply.send(self.sweep_all()));
        }
        closing
    }

    fn write_group(&mut self, changes: Vec<Message>) {
        let count = changes.len() as u64;
        let shared = Arc::clone(&self.shared);
        let mut view = View::new(&shared, self.totals);
        let answers: Vec<Answer> = changes.into_iter().filter_map(|change| decide(&mut view, change)).collect();
        let persisted = self.write(view);
        let counters = &self.shared.counters;
        add(&counters.groups, 1);
        add(&counters.changes, count);
        counters.largest_group.fetch_max(count, Ordering::Relaxed);
        for answer in answers {
            answer(persisted.clone());
        }
    }

    /// Writes, persists, publishes.
    fn write(&mut self, view: View<'_>) -> Result<(), StoreError> {
        self.check_writable()?;
        let changes = view.finish();
        if changes.batch.0.is_empty() {
            return Ok(());
        }
        let persistence = match self.settings.sync {
            Sync::Disk => changes.persistence,
            Sync::Os => Persistence::OperatingSystem,
        };
        if let Err(error) = self.shared.storage.apply(changes.batch, persistence) {
            tracing::error!(%error, "the session store can't be written any more; it must be opened again");
            // Only the first failure counts, and this thread is the only one to set it.
            drop(self.shared.failure.set(error.0));
            return self.check_writable();
        }
        if persistence == Persistence::Disk {
            add(&self.shared.counters.persists, 1);
        }
        // Records before epochs: see `Shared::resolve`.
        for (key, entry) in changes.entries {
            self.shared.near.publish(key, entry);
        }
        if !changes.epochs.is_empty() {
            self.shared.epochs.publish(changes.epochs);
        }
        self.totals = changes.totals;
        self.shared.sessions.store(self.totals.sessions, Ordering::Relaxed);
        if let Some(first) = changes.filed_first {
            let first = first.as_millis().to_be_bytes();
            if first.as_slice() < self.swept_to.as_slice() {
                self.swept_to = first.to_vec();
            }
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        match self.shared.failure.get() {
            None => Ok(()),
            Some(failure) => Err(StoreError::Unavailable {
                reason: format!("a write failed, and nothing is written until the gateway is started again: {failure}"),
            }),
        }
    }

    fn sweep_all(&mut self) -> Result<(), StoreError> {
        while self.sweep_step()? == SWEEP_STEP {}
        Ok(())
    }

    /// Looks after up to [`SWEEP_STEP`] entries that are due; answers how many there were. Its changes need not reach the
    /// disk: what a power failure undoes is swept again.
    fn sweep_step(&mut self) -> Result<usize, StoreError> {
        self.check_writable()?;
        let now = (self.settings.clock)();
        // Both deadlines are exclusive: what is filed under this very millisecond is due.
        let until = now.as_millis().saturating_add(1).to_be_bytes().to_vec();
        if self.swept_to >= until {
            return Ok(0);
        }
        let range = (Bound::Excluded(self.swept_to.clone()), Bound::Excluded(until));
        let due = self.shared.storage.scan(Space::Expiry, range, SWEEP_STEP)?;
        let shared = Arc::clone(&self.shared);
        let mut view = View::new(&shared, self.totals);
        let mut removed = 0;
        for (bytes, _) in &due {
            let Some((filed_at, key)) = parse_expiry_key(bytes) else { continue };
            match view.sweep(filed_at, key, now) {
                Ok(count) => removed += count,
                // Left as it is, and passed over until the store is opened again.
                Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if now.since(self.epochs_swept_at).as_millis() >= u128::from(EPOCH_SWEEP_INTERVAL_MS) {
            self.epochs_swept_at = now;
            for (principal, epoch) in self.shared.epochs.served(now, SWEEP_STEP) {
                view.forget_epoch(principal, epoch);
            }
        }
        // Before the write, which moves it back where something is filed anew before it.
        if let Some((last, _)) = due.last() {
            self.swept_to = last.to_vec();
        }
        self.write(view)?;
        add(&self.shared.counters.swept, removed);
        Ok(due.len())
    }
}

/// Decides one change, and leaves its answer to be given when the group is persisted.
fn decide(view: &mut View<'_>, message: Message) -> Option<Answer> {
    match message {
        Message::Create(request, reply) => Some(later(view.create(request), reply)),
        Message::Commit(request, reply) => Some(later(view.commit(&request), reply)),
        Message::Touch(request, reply) => Some(later(view.touch(&request), reply)),
        Message::Rotate(request, reply) => Some(later(view.rotate(request), reply)),
        Message::End(key, now, reply) => Some(later(view.end(key, now), reply)),
        Message::EndAll(principal, except, now, reply) => Some(later(view.end_all(&principal, except, now), reply)),
        Message::Sweep(_) | Message::Close(_) => None,
    }
}

fn later<Outcome: Send + 'static>(outcome: Result<Outcome, StoreError>, reply: Reply<Outcome>) -> Answer {
    Box::new(move |persisted| {
        // A caller that has gone away wants no answer; its change stands.
        drop(reply.send(persisted.and(outcome)));
    })
}
