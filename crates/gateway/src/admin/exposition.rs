//! `/metrics`: all workers' counters in OpenMetrics text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cloakroom_balance::Availability;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::status::state;
use crate::shared::Shared;
use crate::telemetry::metrics::{BUCKETS_US, CLASSES, HistogramFigures, PIN_OUTCOMES, StoreOperation};
use crate::telemetry::record::SessionEvent;

/// The text of a scrape.
pub(super) fn encode(shared: &Arc<Shared>, log_dropped: &Arc<AtomicU64>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("cloakroom");
    let collector = GatewayCollector { shared: Arc::clone(shared), log_dropped: Arc::clone(log_dropped) };
    registry.register_collector(Box::new(collector));
    let mut out = String::with_capacity(16 * 1024);
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct GatewayCollector {
    shared: Arc<Shared>,
    log_dropped: Arc<AtomicU64>,
}

type Encoded = Result<(), fmt::Error>;

impl Collector for GatewayCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        self.requests(&mut encoder)?;
        self.latencies(&mut encoder)?;
        self.instances(&mut encoder)?;
        self.sessions(&mut encoder)?;
        self.rest(&mut encoder)
    }
}

impl GatewayCollector {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let shared = &self.shared;
        let mut family = counter(encoder, "requests", "Requests by route, pool and status class")?;
        for (route, label) in shared.route_labels.iter().enumerate() {
            let pool = shared.pools[shared.config.routes[route].pool.0].name.as_str();
            for (class, name) in CLASSES.iter().enumerate() {
                let count = shared.metrics.sum(|worker| &worker.routes[route][class]);
                one(&mut family, &[("route", label.as_str()), ("pool", pool), ("class", name)], count)?;
            }
        }
        let mut family = counter(encoder, "instance_requests", "Requests by pool, instance and status class")?;
        for (pool_index, pool) in shared.pools.iter().enumerate() {
            for (slot, instance) in pool.instances.iter().enumerate() {
                for (class, name) in CLASSES.iter().enumerate() {
                    let count = shared.metrics.sum(|worker| &worker.instances[pool_index][slot][class]);
                    let labels = [("pool", pool.name.as_str()), ("instance", &instance.label), ("class", name)];
                    one(&mut family, &labels, count)?;
                }
            }
        }
        let mut family =
            counter(encoder, "refusals", "Requests the gateway answered in an instance's place, by reason")?;
        for (index, code) in shared.metrics.refusal_codes.iter().enumerate() {
            let count = shared.metrics.sum(|worker| &worker.refusals[index]);
            if count > 0 {
                one(&mut family, &[("reason", code)], count)?;
            }
        }
        let mut family = counter(encoder, "retries", "Requests that were sent once more, by pool")?;
        for (index, pool) in shared.pools.iter().enumerate() {
            one(&mut family, &[("pool", &pool.name)], shared.metrics.sum(|worker| &worker.retries[index]))?;
        }
        Ok(())
    }

    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let shared = &self.shared;
        let mut family = histogram(encoder, "request_duration", "From a request's arrival to its last byte, by pool")?;
        for (index, pool) in shared.pools.iter().enumerate() {
            let figures = shared.metrics.histogram(|worker| &worker.durations[index]);
            distribution(&mut family, &[("pool", &pool.name)], &figures)?;
        }
        let mut family =
            histogram(encoder, "upstream_duration", "From a request's arrival to the head of the instance's answer")?;
        for (index, pool) in shared.pools.iter().enumerate() {
            let figures = shared.metrics.histogram(|worker| &worker.upstream[index]);
            distribution(&mut family, &[("pool", &pool.name)], &figures)?;
        }
        Ok(())
    }

    fn instances(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let mut family =
            encoder.encode_descriptor("instance_in_flight", "Requests on an instance", None, MetricType::Gauge)?;
        for pool in &self.shared.pools {
            for instance in &pool.instances {
                let labels = [("pool", pool.name.as_str()), ("instance", instance.label.as_str())];
                family.encode_family(&labels)?.encode_gauge(&i64::from(instance.in_flight()))?;
            }
        }
        let help = "1 for the state an instance is in";
        let mut family = encoder.encode_descriptor("instance_state", help, None, MetricType::Gauge)?;
        let states = [Availability::Up, Availability::Draining, Availability::Down, Availability::Ejected];
        for pool in &self.shared.pools {
            for instance in &pool.instances {
                for known in states {
                    let is_so = i64::from(instance.availability() == known);
                    let labels = [("pool", pool.name.as_str()), ("instance", &instance.label), ("state", state(known))];
                    family.encode_family(&labels)?.encode_gauge(&is_so)?;
                }
            }
        }
        Ok(())
    }

    fn sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let shared = &self.shared;
        let mut family = counter(encoder, "session_events", "Requests by what they meant to their session")?;
        for event in SessionEvent::ALL {
            let count = shared.metrics.sum(|worker| &worker.sessions[event as usize]);
            one(&mut family, &[("event", event.as_str())], count)?;
        }
        if shared.store.is_none() {
            return Ok(());
        }
        let help = "Sessions in the store, expired ones that were not swept yet among them";
        let mut family = encoder.encode_descriptor("sessions", help, None, MetricType::Gauge)?;
        family.encode_gauge(&i64::try_from(shared.session_count.load(Ordering::Relaxed)).unwrap_or(i64::MAX))?;
        let mut family = histogram(encoder, "store_duration", "How long the session store took, by operation")?;
        for (operation, name) in StoreOperation::ALL {
            let figures = shared.metrics.histogram(|worker| &worker.store[operation as usize].0);
            distribution(&mut family, &[("operation", name)], &figures)?;
        }
        let mut family = counter(encoder, "store_failures", "Calls that the session store did not answer")?;
        for (operation, name) in StoreOperation::ALL {
            let count = shared.metrics.sum(|worker| &worker.store[operation as usize].1);
            one(&mut family, &[("operation", name)], count)?;
        }
        Ok(())
    }

    fn rest(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let shared = &self.shared;
        let mut family = counter(encoder, "pins", "Requests that were not served where a pin led, by reason")?;
        for (index, (name, _)) in PIN_OUTCOMES.iter().enumerate() {
            one(&mut family, &[("reason", name)], shared.metrics.sum(|worker| &worker.pins[index]))?;
        }
        let mut family = counter(encoder, "truncated_answers", "Answers whose body broke off")?;
        family.encode_counter::<NoLabelSet, _, f64>(&shared.metrics.sum(|worker| &worker.truncated), None)?;
        let mut family = counter(encoder, "access_log_dropped", "Log records dropped because their sink was slow")?;
        family.encode_counter::<NoLabelSet, _, f64>(&self.log_dropped.load(Ordering::Relaxed), None)?;
        let help = "Connections of clients that are open";
        let mut family = encoder.encode_descriptor("client_connections", help, None, MetricType::Gauge)?;
        family.encode_gauge(&i64::try_from(shared.connections.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
    }
}

fn counter<'encoder>(
    encoder: &'encoder mut DescriptorEncoder<'_>,
    name: &'encoder str,
    help: &str,
) -> Result<MetricEncoder<'encoder>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn histogram<'encoder>(
    encoder: &'encoder mut DescriptorEncoder<'_>,
    name: &'encoder str,
    help: &str,
) -> Result<MetricEncoder<'encoder>, fmt::Error> {
    encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)
}

fn one<const N: usize>(family: &mut MetricEncoder<'_>, labels: &[(&str, &str); N], count: u64) -> Encoded {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)
}

fn distribution<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    figures: &HistogramFigures,
) -> Encoded {
    let bounds = BUCKETS_US.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(figures.buckets).collect();
    let count = figures.buckets.iter().sum();
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(figures.sum_us as f64 / 1e6, count, &buckets, None)
}
