//! What the balancer promises, under seeded randomness and simulated time.

mod affinity;
mod churn;
mod health;
mod shares;
mod simulation;
mod skips;
mod support;
