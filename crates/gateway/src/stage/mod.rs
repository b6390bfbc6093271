//! The steps of the pipeline, one file each.

pub(crate) mod admit;
pub(crate) mod affinity;
pub(crate) mod forwarded;
pub(crate) mod route;
pub(crate) mod session;
