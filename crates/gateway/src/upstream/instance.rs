//! Pools and instances as all workers share them: plain atomics, so that no request waits for another.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cloakroom_balance::{Availability, FailureEcho, Health, Member, Outcome, Outlier, OutlierSettings, PinnedState};

/// A pool of instances.
pub(crate) struct Pool {
    pub(crate) name: String,
    /// Stable over restarts and gateways: part of every pin.
    pub(crate) pin_id: u32,
    pub(crate) instances: Vec<Instance>,
    pub(crate) outlier: OutlierSettings,
    pub(crate) config: cloakroom_config::Pool,
    /// Rises whenever the availability of any instance changes; workers compare it before they pick.
    version: AtomicU64,
}

/// One instance. Shared by all workers; every field is an atomic of its own.
pub(crate) struct Instance {
    /// `pool/1`, as people see it.
    pub(crate) label: String,
    pub(crate) address: SocketAddr,
    pub(crate) weight: u32,
    /// What a pin says instead of an address.
    pub(crate) pin_id: u64,
    /// Rises when the process behind the address is a new one.
    incarnation: AtomicU32,
    in_flight: AtomicU32,
    echo: FailureEcho,
    is_down: AtomicBool,
    is_draining: AtomicBool,
    /// Monotonic milliseconds; 0 while not ejected.
    ejected_until_ms: AtomicU64,
    /// Whether `outlier` holds failures, so that a success only locks it when there is something to forget.
    has_failures: AtomicBool,
    outlier: Mutex<Outlier>,
}

impl Pool {
    pub(crate) fn new(config: &cloakroom_config::Pool) -> Self {
        let instance = |(index, instance): (usize, &cloakroom_config::Instance)| Instance {
            label: format!("{}/{}", config.name, index + 1),
            address: instance.address,
            weight: instance.weight,
            pin_id: stable_hash(format!("{} {}", config.name, instance.address).as_bytes()),
            incarnation: AtomicU32::new(1),
            in_flight: AtomicU32::new(0),
            echo: FailureEcho::default(),
            is_down: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            ejected_until_ms: AtomicU64::new(0),
            has_failures: AtomicBool::new(false),
            outlier: Mutex::new(Outlier::default()),
        };
        Self {
            name: config.name.clone(),
            pin_id: stable_hash(config.name.as_bytes()) as u32,
            instances: config.instances.iter().enumerate().map(instance).collect(),
            outlier: OutlierSettings {
                consecutive_failures: config.outlier.consecutive_failures,
                base_ejection_ms: cloakroom_session::time::millis(config.outlier.ejection),
                max_ejected_percent: config.outlier.max_ejected_percent,
                ..OutlierSettings::default()
            },
            config: config.clone(),
            version: AtomicU64::new(1),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The members with their availability, for the balancer.
    pub(crate) fn members(&self) -> Vec<(Member, Availability)> {
        let member = |(slot, instance): (usize, &Instance)| {
            (Member { slot: slot as u32, weight: instance.weight }, instance.availability())
        };
        self.instances.iter().enumerate().map(member).collect()
    }

    /// What became of the instance that a pin names.
    pub(crate) fn pinned(&self, pin_id: u64, incarnation: u32) -> PinnedState {
        let Some(slot) = self.instances.iter().position(|instance| instance.pin_id == pin_id) else {
            return PinnedState::Gone;
        };
        let instance = &self.instances[slot];
        let slot = slot as u32;
        match instance.availability() {
            _ if instance.incarnation() != incarnation => PinnedState::Gone,
            Availability::Up => PinnedState::Serving { slot },
            Availability::Draining => PinnedState::Draining { slot },
            Availability::Down | Availability::Ejected => PinnedState::Down,
        }
    }

    /// What an active check, or the process's own end, says of an instance.
    pub(crate) fn set_health(&self, slot: usize, health: Health) {
        let Some(instance) = self.instances.get(slot) else { return };
        let is_down = health == Health::Down;
        if instance.is_down.swap(is_down, Ordering::AcqRel) != is_down {
            self.changed();
            tracing::info!(instance = instance.label, health = if is_down { "down" } else { "up" }, "health changed");
        }
    }

    /// Starts or ends draining an instance; false where it was so already.
    pub(crate) fn set_draining(&self, slot: usize, draining: bool) -> bool {
        let changes = self.instances[slot].is_draining.swap(draining, Ordering::AcqRel) != draining;
        if changes {
            self.changed();
        }
        changes
    }

    /// Another process serves the instance's address: pins to the former one lead nowhere.
    pub(crate) fn set_incarnation(&self, slot: usize, incarnation: u32) {
        if let Some(instance) = self.instances.get(slot) {
            instance.incarnation.store(incarnation, Ordering::Release);
            instance.ejected_until_ms.store(0, Ordering::Release);
            self.changed();
        }
    }

    /// Counts what a request met on an instance, and ejects the instance when it was once too often.
    pub(crate) fn observe(&self, slot: u32, outcome: Outcome, now_ms: u64) {
        let Some(instance) = self.instances.get(slot as usize) else { return };
        match outcome {
            Outcome::Success if !instance.has_failures.load(Ordering::Relaxed) => return,
            Outcome::Success => instance.has_failures.store(false, Ordering::Relaxed),
            Outcome::Failure => {
                instance.echo.record_failure(now_ms);
                instance.has_failures.store(true, Ordering::Relaxed);
            }
        }
        let ejected_now =
            self.instances.iter().filter(|other| other.ejected_until_ms.load(Ordering::Relaxed) > now_ms).count();
        let mut outlier = instance.outlier.lock().unwrap_or_else(PoisonError::into_inner);
        let ejection = outlier.observe(outcome, now_ms, ejected_now, self.instances.len(), &self.outlier);
        if let Some(ejection) = ejection {
            instance.ejected_until_ms.store(ejection.until_ms, Ordering::Release);
            self.changed();
            tracing::warn!(instance = instance.label, for_ms = ejection.until_ms - now_ms, "ejected after failures");
        }
    }

    /// Lets instances back whose ejection is over.
    pub(crate) fn readmit(&self, now_ms: u64) {
        for instance in &self.instances {
            let until_ms = instance.ejected_until_ms.load(Ordering::Acquire);
            if until_ms != 0
                && until_ms <= now_ms
                && instance.ejected_until_ms.compare_exchange(until_ms, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                self.changed();
                tracing::info!(instance = instance.label, "ejection is over");
            }
        }
    }
}

impl Instance {
    pub(crate) fn availability(&self) -> Availability {
        if self.is_draining.load(Ordering::Acquire) {
            Availability::Draining
        } else if self.is_down.load(Ordering::Acquire) {
            Availability::Down
        } else if self.ejected_until_ms.load(Ordering::Acquire) != 0 {
            Availability::Ejected
        } else {
            Availability::Up
        }
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// Requests on it, all workers together.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What the balancer weighs: requests in flight, and an echo of recent failures.
    pub(crate) fn load(&self, now_ms: u64) -> u32 {
        self.in_flight().saturating_add(self.echo.penalty(now_ms))
    }

    pub(crate) fn begin_request(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_request(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// FNV-1a: the same on every gateway and in every version. Pins are sealed, so that it need not be secret.
fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
