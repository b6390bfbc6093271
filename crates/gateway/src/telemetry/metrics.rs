//! Counters: each worker has its own, so that counting shares no cache line; a scrape adds them up.
//!
//! Label sets are bounded by the configuration: routes, pools, instances and fixed lists of reasons. Nothing a client
//! sends becomes a label.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cloakroom_balance::Reason;

use super::record::{RequestRecord, SessionEvent};
use crate::respond::Refusal;
use crate::upstream::instance::Pool;

/// Upper bounds of the latency buckets, in microseconds.
pub(crate) const BUCKETS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 60_000_000,
];
/// `1xx` to `5xx`, and "the client left before the answer".
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "left"];

/// What the store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreOperation {
    Load,
    Create,
    Commit,
    Touch,
    Rotate,
    End,
}

impl StoreOperation {
    /// Every operation, in the order of its counter.
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Load, "load"),
        (Self::Create, "create"),
        (Self::Commit, "commit"),
        (Self::Touch, "touch"),
        (Self::Rotate, "rotate"),
        (Self::End, "end"),
    ];
}

/// All workers' counters.
pub(crate) struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    pub(crate) refusal_codes: Vec<&'static str>,
}

/// One worker's counters. Written by that worker alone.
pub(crate) struct WorkerMetrics {
    pub(crate) routes: Vec<[AtomicU64; 6]>,
    pub(crate) instances: Vec<Vec<[AtomicU64; 6]>>,
    pub(crate) durations: Vec<Histogram>,
    pub(crate) upstream: Vec<Histogram>,
    pub(crate) retries: Vec<AtomicU64>,
    pub(crate) refusals: Vec<AtomicU64>,
    pub(crate) sessions: [AtomicU64; SessionEvent::ALL.len()],
    pub(crate) store: [(Histogram, AtomicU64); StoreOperation::ALL.len()],
    pub(crate) pins: [AtomicU64; 6],
    pub(crate) truncated: AtomicU64,
    refusal_codes: Vec<&'static str>,
}

/// A latency histogram.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram's figures, added up over workers.
#[derive(Clone, Default)]
pub(crate) struct HistogramFigures {
    pub(crate) buckets: [u64; BUCKETS_US.len() + 1],
    pub(crate) sum_us: u64,
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = BUCKETS_US.partition_point(|bound| *bound < micros);
        add(&self.buckets[index], 1);
        add(&self.sum_us, micros);
    }

    pub(crate) fn add_to(&self, figures: &mut HistogramFigures) {
        for (sum, bucket) in figures.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        figures.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

/// Adds without a locked instruction: each counter has one writer.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn new(workers: usize, routes: usize, pools: &[Pool]) -> Self {
        let refusal_codes: Vec<_> = Refusal::codes().collect();
        let worker = || Arc::new(WorkerMetrics::new(routes, pools, refusal_codes.clone()));
        Self { workers: (0..workers).map(|_| worker()).collect(), refusal_codes }
    }

    pub(crate) fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index])
    }

    /// One counter, added up over the workers.
    pub(crate) fn sum(&self, counter: impl Fn(&WorkerMetrics) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| counter(worker).load(Ordering::Relaxed)).sum()
    }

    /// One histogram, added up over the workers.
    pub(crate) fn histogram(&self, histogram: impl Fn(&WorkerMetrics) -> &Histogram) -> HistogramFigures {
        let mut figures = HistogramFigures::default();
        for worker in &self.workers {
            histogram(worker).add_to(&mut figures);
        }
        figures
    }
}

impl WorkerMetrics {
    fn new(routes: usize, pools: &[Pool], refusal_codes: Vec<&'static str>) -> Self {
        Self {
            routes: (0..routes).map(|_| Default::default()).collect(),
            instances: pools.iter().map(|pool| pool.instances.iter().map(|_| Default::default()).collect()).collect(),
            durations: pools.iter().map(|_| Histogram::default()).collect(),
            upstream: pools.iter().map(|_| Histogram::default()).collect(),
            retries: pools.iter().map(|_| AtomicU64::new(0)).collect(),
            refusals: refusal_codes.iter().map(|_| AtomicU64::new(0)).collect(),
            sessions: Default::default(),
            store: Default::default(),
            pins: Default::default(),
            truncated: AtomicU64::new(0),
            refusal_codes,
        }
    }

    pub(crate) fn count_request(&self, record: &RequestRecord, duration: Duration) {
        let class = match record.status / 100 {
            0 => 5,
            class => usize::from(class).clamp(1, 5) - 1,
        };
        if let Some(route) = record.route.and_then(|route| self.routes.get(route)) {
            add(&route[class], 1);
        }
        if let Some(place) = record.place {
            add(&self.instances[place.pool][place.slot as usize][class], 1);
            self.durations[place.pool].observe(duration);
            if let Some(upstream) = record.upstream {
                self.upstream[place.pool].observe(upstream);
            }
        }
        if let Some(code) = record.refused_as
            && let Some(index) = self.refusal_codes.iter().position(|known| *known == code)
        {
            add(&self.refusals[index], 1);
        }
        add(&self.sessions[record.session as usize], 1);
        add(&self.truncated, u64::from(record.is_truncated));
    }

    pub(crate) fn count_retry(&self, pool: usize) {
        add(&self.retries[pool], 1);
    }

    pub(crate) fn count_store(&self, operation: StoreOperation, duration: Duration, failed: bool) {
        let (histogram, failures) = &self.store[operation as usize];
        histogram.observe(duration);
        add(failures, u64::from(failed));
    }

    pub(crate) fn count_pin(&self, reason: Reason) {
        let index = PIN_OUTCOMES.iter().position(|(_, known)| *known == Some(reason));
        add(&self.pins[index.unwrap_or_default()], 1);
    }

    pub(crate) fn count_broken_pin(&self) {
        add(&self.pins[0], 1);
    }
}

/// Why a request was not served where its pin led, in the order of the counters.
pub(crate) const PIN_OUTCOMES: [(&str, Option<Reason>); 6] = [
    ("broken", None),
    ("no-pin", Some(Reason::NoPin)),
    ("other-pool", Some(Reason::OtherPool)),
    ("expired", Some(Reason::Expired)),
    ("instance-down", Some(Reason::InstanceDown)),
    ("instance-gone", Some(Reason::InstanceGone)),
];
