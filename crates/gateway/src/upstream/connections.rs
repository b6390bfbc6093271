//! Connections to instances that wait for their next request, one stock per worker.

use std::time::{Duration, Instant};

/// What a pooled connection can tell of itself.
pub(crate) trait Reusable {
    /// Whether it can take a request: the former answer is wholly over, and the instance has not closed it.
    fn is_usable(&mut self) -> bool;
}

/// One worker's connections to one pool, by instance.
pub(crate) struct Connections<C> {
    slots: Vec<Slot<C>>,
    open_max: usize,
}

struct Slot<C> {
    /// The last one used is at the end and is used first, so that a shrinking load lets the others idle out.
    idle: Vec<(Instant, C)>,
    /// Connections that were opened and not closed: idle ones and those carrying a request.
    open: usize,
}

impl<C: Reusable> Connections<C> {
    /// No connections yet; at most `open_max` per instance.
    pub(crate) fn new(instances: usize, open_max: usize) -> Self {
        Self { slots: (0..instances).map(|_| Slot { idle: Vec::new(), open: 0 }).collect(), open_max }
    }

    /// An idle connection that can take a request. Others are dropped on the way.
    pub(crate) fn take(&mut self, slot: usize) -> Option<C> {
        let slot = &mut self.slots[slot];
        while let Some((_, mut connection)) = slot.idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
            slot.open -= 1;
        }
        None
    }

    /// Whether one more may be opened; if so it is counted until [`Connections::forget`] or idling out.
    pub(crate) fn reserve(&mut self, slot: usize) -> bool {
        let slot = &mut self.slots[slot];
        let may_open = slot.open < self.open_max;
        slot.open += usize::from(may_open);
        may_open
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&mut self, slot: usize, now: Instant, connection: C) {
        self.slots[slot].idle.push((now, connection));
    }

    /// A connection that was taken or reserved is gone.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.slots[slot].open -= 1;
    }

    /// Drops what idled for longer than `idle_max`, or was closed by the instance.
    pub(crate) fn sweep(&mut self, now: Instant, idle_max: Duration) {
        for slot in &mut self.slots {
            let before = slot.idle.len();
            slot.idle.retain_mut(|(since, connection)| {
                now.saturating_duration_since(*since) < idle_max && connection.is_usable()
            });
            slot.open -= before - slot.idle.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[derive(Clone)]
    struct Fake(u32, Rc<Cell<bool>>);

    impl Fake {
        fn new(id: u32) -> Self {
            Self(id, Rc::new(Cell::new(true)))
        }
    }

    impl Reusable for Fake {
        fn is_usable(&mut self) -> bool {
            self.1.get()
        }
    }

    /// A leaked count would refuse connections to a healthy instance for ever; a lost one would let them grow.
    #[test]
    fn the_count_of_open_connections_stays_true() {
        let now = Instant::now();
        let mut connections = Connections::new(1, 2);
        assert!(connections.reserve(0) && connections.reserve(0) && !connections.reserve(0));
        let (first, second) = (Fake::new(1), Fake::new(2));
        connections.put(0, now, first.clone());
        connections.put(0, now, second.clone());
        assert!(!connections.reserve(0));
        second.1.set(false);
        assert_eq!(connections.take(0).map(|connection| connection.0), Some(1));
        assert!(connections.reserve(0));
        connections.forget(0);
        connections.put(0, now, first.clone());
        connections.sweep(now + Duration::from_secs(9), Duration::from_secs(10));
        assert!(connections.take(0).is_some());
        connections.put(0, now, first);
        connections.sweep(now + Duration::from_secs(10), Duration::from_secs(10));
        assert!(connections.take(0).is_none());
        assert!(connections.reserve(0) && connections.reserve(0) && !connections.reserve(0));
    }
}
