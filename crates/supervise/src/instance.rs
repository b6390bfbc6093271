//! The life of one instance, as a task of its own: run, crash, wait, start again, until it is ended.

use crate::{
    backoff::Backoff,
    error::InstanceError,
    output::Printer,
    process::Process,
    settings::Settings,
    supervisor::{Event, EventKind},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// What the handles and the tasks both see.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) slots: Vec<Slot>,
}

/// What is known about one instance.
pub(crate) struct Slot {
    pub(crate) address: SocketAddr,
    /// 0 while there is no process.
    pub(crate) pid: AtomicU32,
    pub(crate) incarnation: AtomicU32,
}

/// What all instances are meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Stop,
}

/// Answers a request to restart once the new process has been started.
pub(crate) type RestartReply = oneshot::Sender<Result<(), InstanceError>>;

/// One instance's task.
pub(crate) struct Instance {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) printer: Option<Printer>,
    pub(crate) wish: watch::Receiver<Wish>,
    pub(crate) restarts: mpsc::Receiver<RestartReply>,
    pub(crate) backoff: Backoff,
}

enum State {
    Running(Box<Process>),
    Waiting(Duration),
    Starting(Option<RestartReply>),
    Ended,
}

/// What interrupts running and waiting alike.
enum Order {
    Restart(RestartReply),
    Stop,
    /// Nobody holds a handle any more.
    Abandoned,
}

impl Instance {
    /// Looks after the instance until it is stopped or abandoned.
    pub(crate) async fn supervise(mut self, first: Process) {
        let mut state = State::Running(Box::new(first));
        loop {
            state = match state {
                State::Running(process) => self.run(*process).await,
                State::Waiting(delay) => self.wait(delay).await,
                State::Starting(reply) => self.start(reply),
                State::Ended => break,
            };
        }
        self.publish(EventKind::Stopped);
    }

    fn started(&self, process: Process) -> State {
        let slot = &self.shared.slots[self.index];
        slot.pid.store(process.pid(), Ordering::Release);
        let incarnation = slot.incarnation.fetch_add(1, Ordering::AcqRel) + 1;
        self.publish(EventKind::Started { pid: process.pid(), incarnation });
        State::Running(Box::new(process))
    }

    async fn run(&mut self, mut process: Process) -> State {
        let order = tokio::select! {
            () = process.exited() => None,
            order = self.order() => Some(order),
        };
        match order {
            None => {
                let lived = process.age();
                self.no_process();
                // What a crashed wrapper leaves behind would still hold the port.
                process.kill().await;
                self.crashed(process, lived)
            }
            Some(Order::Restart(reply)) => {
                self.terminate(process).await;
                self.backoff.reset();
                State::Starting(Some(reply))
            }
            Some(Order::Stop) => {
                self.terminate(process).await;
                State::Ended
            }
            Some(Order::Abandoned) => {
                self.no_process();
                State::Ended
            }
        }
    }

    async fn wait(&mut self, delay: Duration) -> State {
        let order = tokio::select! {
            () = tokio::time::sleep(delay) => return State::Starting(None),
            order = self.order() => order,
        };
        match order {
            Order::Restart(reply) => {
                self.backoff.reset();
                State::Starting(Some(reply))
            }
            Order::Stop | Order::Abandoned => State::Ended,
        }
    }

    fn start(&mut self, reply: Option<RestartReply>) -> State {
        // A stop that came while the old process was leaving; the dropped reply tells whoever asked for a restart.
        if *self.wish.borrow() == Wish::Stop {
            return State::Ended;
        }
        let address = self.shared.slots[self.index].address;
        match Process::start(&self.shared.settings, self.index, address, self.printer.as_ref()) {
            Ok(process) => {
                let state = self.started(process);
                reply.map(|reply| reply.send(Ok(())));
                state
            }
            Err(source) => {
                let error = source.to_string();
                let delay = self.backoff.after_crash(Duration::ZERO, self.seed(0));
                let delay_ms = delay.as_millis();
                tracing::warn!(instance = self.index + 1, error, delay_ms, "an instance did not start");
                self.publish(EventKind::StartFailed { error });
                self.publish(EventKind::Restarting { after: delay });
                let instance = self.index;
                reply.map(|reply| reply.send(Err(InstanceError::Start { instance, source })));
                State::Waiting(delay)
            }
        }
    }

    fn crashed(&mut self, process: Process, lived: Duration) -> State {
        let delay = self.backoff.after_crash(lived, self.seed(process.pid()));
        let (status, delay_ms) = (process.status(), delay.as_millis());
        let lived_ms = lived.as_millis();
        tracing::warn!(instance = self.index + 1, status, lived_ms, delay_ms, "an instance exited");
        self.publish(EventKind::Exited { status });
        self.publish(EventKind::Restarting { after: delay });
        State::Waiting(delay)
    }

    async fn terminate(&self, mut process: Process) {
        process.terminate(self.shared.settings.stop_deadline).await;
        self.no_process();
        self.publish(EventKind::Exited { status: process.status() });
    }

    /// The next order. May be dropped and called again.
    async fn order(&mut self) -> Order {
        tokio::select! {
            wish = self.wish.wait_for(|wish| *wish == Wish::Stop) => match wish {
                Ok(_) => Order::Stop,
                Err(_) => Order::Abandoned,
            },
            reply = self.restarts.recv() => reply.map_or(Order::Abandoned, Order::Restart),
        }
    }

    fn no_process(&self) {
        self.shared.slots[self.index].pid.store(0, Ordering::Release);
    }

    fn seed(&self, pid: u32) -> u64 {
        let incarnation = self.shared.slots[self.index].incarnation.load(Ordering::Acquire);
        (u64::from(pid) << 32) ^ u64::from(incarnation) ^ ((self.index as u64) << 24)
    }

    fn publish(&self, kind: EventKind) {
        // Without subscribers there is nobody to tell.
        let _ = self.shared.events.send(Event { instance: self.index, kind });
    }
}
