//! A deadline that is moved on every request without touching the timer wheel.
//!
//! Timeouts almost never fire, but are set several times per request. Registering each with the runtime costs a lock
//! and a wheel insertion; here the timer sleeps on towards the earliest time it was ever set to, and looks at the real
//! deadline only when it wakes.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// One deadline of one connection.
pub(crate) struct LazyDeadline {
    timer: Option<Pin<Box<Sleep>>>,
    timer_at: Instant,
    deadline: Option<Instant>,
}

impl LazyDeadline {
    /// No deadline yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { timer: None, timer_at: now, deadline: None }
    }

    /// Sets or moves the deadline.
    pub(crate) fn set(&mut self, now: Instant, after: Duration) {
        let deadline = now + after;
        self.deadline = Some(deadline);
        if deadline < self.timer_at
            && let Some(timer) = &mut self.timer
        {
            timer.as_mut().reset(deadline.into());
            self.timer_at = deadline;
        }
    }

    /// Drops the deadline. The timer may still wake the task once, for nothing.
    pub(crate) fn clear(&mut self) {
        self.deadline = None;
    }

    /// Whether no deadline is set.
    pub(crate) fn is_clear(&self) -> bool {
        self.deadline.is_none()
    }

    /// Ready when the deadline has passed; otherwise the task is woken when it does.
    pub(crate) fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| {
            self.timer_at = deadline;
            Box::pin(tokio::time::sleep_until(deadline.into()))
        });
        while timer.as_mut().poll(context).is_ready() {
            if self.timer_at >= deadline {
                self.deadline = None;
                self.timer = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
            self.timer_at = deadline;
        }
        Poll::Pending
    }
}
