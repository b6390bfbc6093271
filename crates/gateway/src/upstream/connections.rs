//! Connections to instances that wait for their next request, one stock per worker.

use std::time::{Duration, Instant};

/// What a pooled connection can tell of itself.
pub(crate) trait Reusable {
    /// Whether it can take a request now.
    fn is_ready(&self) -> bool;
    /// Whether it never will again.
    fn is_closed(&self) -> bool;
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

    /// An idle connection that can take a request. Closed ones are dropped on the way.
    pub(crate) fn take(&mut self, slot: usize) -> Option<C> {
        let slot = &mut self.slots[slot];
        let mut index = slot.idle.len();
        while index > 0 {
            index -= 1;
            let connection = &slot.idle[index].1;
            if connection.is_closed() {
                slot.idle.swap_remove(index);
                slot.open -= 1;
            } else if connection.is_ready() {
                return Some(slot.idle.remove(index).1);
            }
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
        if connection.is_closed() {
            self.forget(slot);
        } else {
            self.slots[slot].idle.push((now, connection));
        }
    }

    /// A connection that was taken or reserved is gone.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.slots[slot].open -= 1;
    }

    /// Drops what idled for longer than `idle_max`, or was closed by the instance.
    pub(crate) fn sweep(&mut self, now: Instant, idle_max: Duration) {
        for slot in &mut self.slots {
            let before = slot.idle.len();
            slot.idle.retain(|(since, connection)| {
                !connection.is_closed() && now.saturating_duration_since(*since) < idle_max
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
    struct Fake(u32, Rc<Cell<(bool, bool)>>);

    impl Fake {
        fn new(id: u32) -> Self {
            Self(id, Rc::new(Cell::new((true, false))))
        }
    }

    impl Reusable for Fake {
        fn is_ready(&self) -> bool {
            self.1.get().0
        }
        fn is_closed(&self) -> bool {
            self.1.get().1
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
        second.1.set((true, true));
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

    #[test]
    fn a_busy_connection_is_passed_over() {
        let now = Instant::now();
        let mut connections = Connections::new(1, 8);
        let (first, second) = (Fake::new(1), Fake::new(2));
        for connection in [&first, &second] {
            assert!(connections.reserve(0));
            connections.put(0, now, connection.clone());
        }
        second.1.set((false, false));
        assert_eq!(connections.take(0).map(|connection| connection.0), Some(1));
        assert!(connections.take(0).is_none());
    }
}
