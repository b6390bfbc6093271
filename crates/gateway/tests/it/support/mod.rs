//! What the tests share. Nothing here sleeps: every wait is a read with a deadline, a channel or a condition.

mod client;
mod gateway;
mod origin;
mod stores;
mod wire;

use std::time::Duration;

pub(crate) use client::Browser;
pub(crate) use gateway::{TestGateway, key_ring};
pub(crate) use origin::{RawOrigin, blackhole, refusing_address, saying};
pub(crate) use stores::{Call, SpiedStore};
pub(crate) use wire::{End, Message, Wire};

/// How long anything may take. Only a failing test waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// Whether `text` holds `part`.
pub(crate) fn holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

/// How often `text` holds `part`.
pub(crate) fn count(text: &[u8], part: &str) -> usize {
    text.windows(part.len()).filter(|window| *window == part.as_bytes()).count()
}
