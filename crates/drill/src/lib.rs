//! Drills: an application is started behind a gateway, users shop there, instances die under them, and what the users
//! noticed is counted. A load driver that counts failed requests misses the point: a sign-out and an emptied cart are
//! answers with status 200. So every simulated user remembers what was acknowledged to them, and checks it.
//!
//! | module | question |
//! | --- | --- |
//! | `deployment` | How do supervised instances and a gateway become one thing that starts and stops? |
//! | `admin` | What does a running gateway tell its operator, and how is it told to drain? |
//! | `cookies`, `connection` | What does a browser do, where it matters to sessions? |
//! | `shopper` | Was this user served, still signed in, with what they put into their cart? |
//! | `tour`, `journey` | Which faults meet which design, and when? |
//! | `report` | What did it cost the users, and is that what was promised? |
//! | `narrate` | How is that told in a terminal? |
//!
//! Everything runs within one tokio runtime with time and I/O enabled; one thread is enough, and no `LocalSet` is needed.

mod admin;
mod connection;
mod cookies;
mod deployment;
mod journey;
pub mod narrate;
mod random;
mod report;
mod shopper;
mod tour;

pub use admin::{AdminClient, AdminError, InstanceStatus, PoolStatus, Status};
pub use cookies::{CookieJar, JAR_COOKIES_MAX};
pub use deployment::{Deployment, DeploymentError, DeploymentSettings, JWKS_VARIABLE, LISTEN_DEADLINE, POOL_VARIABLE};
pub use report::{Design, DesignReport, Losses, Shortcoming, TourReport, Verdict};
pub use shopper::{FailureCause, Notice, Shopper, Step, Visit};
pub use tour::{TOUR_INSTANCES_MIN, TOUR_USERS_MAX, TourError, TourEvent, TourSettings, tour};
