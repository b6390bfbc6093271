//! One record per request, and what is made of it: counters and a log line.

pub(crate) mod access_log;
pub(crate) mod metrics;
pub(crate) mod record;
