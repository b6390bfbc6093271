//! Pins: the part of affinity that travels in the client's cookie, and whether it is still good.
//!
//! A pin holds no address, only an opaque instance id and the incarnation that id had. An instance that restarts is a
//! new incarnation and has lost what it held in memory, so a pin to the old one must not lead back to it. Sealing
//! and opening the cookie is done elsewhere; a cookie that does not open is no pin at all.

use thiserror::Error;

/// The first byte of an encoded pin.
pub const PIN_VERSION: u8 = 1;

/// Bytes of an encoded pin: version, pool, instance, incarnation, issued, expires.
pub const PIN_LENGTH: usize = 1 + 4 + 8 + 4 + 8 + 8;

/// A client's tie to one instance of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin {
    /// A hash of the pool's name.
    pub pool: u32,
    /// The opaque id of the instance.
    pub instance: u64,
    /// Which life of that instance: counts up at each restart.
    pub incarnation: u32,
    /// When the pin was issued, in seconds of the Unix epoch.
    pub issued_at_s: u64,
    /// From when on the pin is void, in seconds of the Unix epoch.
    pub expires_at_s: u64,
}

impl Pin {
    /// The pin as bytes, to be sealed: [`PIN_VERSION`], then the fields in order, big endian.
    pub fn encode(&self) -> [u8; PIN_LENGTH] {
        let mut bytes = [0; PIN_LENGTH];
        bytes[0] = PIN_VERSION;
        bytes[1..5].copy_from_slice(&self.pool.to_be_bytes());
        bytes[5..13].copy_from_slice(&self.instance.to_be_bytes());
        bytes[13..17].copy_from_slice(&self.incarnation.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.issued_at_s.to_be_bytes());
        bytes[25..33].copy_from_slice(&self.expires_at_s.to_be_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`PinError::Version`] for bytes of another version, [`PinError::Length`] for anything but [`PIN_LENGTH`] bytes.
    /// The version is judged first: another version may have another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, PinError> {
        if let Some(&version) = bytes.first()
            && version != PIN_VERSION
        {
            return Err(PinError::Version { version });
        }
        let bytes: &[u8; PIN_LENGTH] = bytes.try_into().map_err(|_| PinError::Length { length: bytes.len() })?;
        Ok(Self {
            pool: u32::from_be_bytes(field(bytes, 1)),
            instance: u64::from_be_bytes(field(bytes, 5)),
            incarnation: u32::from_be_bytes(field(bytes, 13)),
            issued_at_s: u64::from_be_bytes(field(bytes, 17)),
            expires_at_s: u64::from_be_bytes(field(bytes, 25)),
        })
    }
}

/// Why bytes are not a pin. All are to be treated as an absent pin and counted, never as a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PinError {
    /// Written by a gateway of another version.
    #[error("pin has version {version}, known is {PIN_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Too short or too long.
    #[error("pin has {length} bytes instead of {PIN_LENGTH}")]
    Length {
        /// The number of bytes found.
        length: usize,
    },
}

/// What became of the instance that a pin names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinnedState {
    /// It takes traffic.
    Serving {
        /// Its slot in the pool.
        slot: u32,
    },
    /// It takes no new sessions, but finishes those it has.
    Draining {
        /// Its slot in the pool.
        slot: u32,
    },
    /// It is in the pool, and cannot be reached.
    Down,
    /// It left the pool, or restarted as a new incarnation.
    Gone,
}

/// Where a request goes, as far as its pin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// To the instance that the pin names.
    Honour {
        /// Its slot in the pool.
        slot: u32,
    },
    /// To whichever the balancer picks.
    Pick(Reason),
}

/// Why a pin does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is none.
    NoPin,
    /// It belongs to another pool.
    OtherPool,
    /// It is past its time.
    Expired,
    /// Its instance is down. What to do about it is the route's choice: re-pin, fail or wait.
    InstanceDown,
    /// Its instance is no more: re-pin.
    InstanceGone,
}

impl Reason {
    /// The name used in telemetry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPin => "no-pin",
            Self::OtherPool => "other-pool",
            Self::Expired => "expired",
            Self::InstanceDown => "instance-down",
            Self::InstanceGone => "instance-gone",
        }
    }
}

/// Whether the request goes where its pin says. `pool` is the hash of the name of the pool that the route chose;
/// `lookup` gets the pinned instance and incarnation, and is called only for a pin that is otherwise good.
///
/// A draining instance keeps its pins: its clients' state is there until their sessions end.
pub fn decide(pin: Option<&Pin>, pool: u32, now_s: u64, lookup: impl FnOnce(u64, u32) -> PinnedState) -> Affinity {
    let Some(pin) = pin else {
        return Affinity::Pick(Reason::NoPin);
    };
    if pin.pool != pool {
        return Affinity::Pick(Reason::OtherPool);
    }
    if now_s >= pin.expires_at_s {
        return Affinity::Pick(Reason::Expired);
    }
    match lookup(pin.instance, pin.incarnation) {
        PinnedState::Serving { slot } | PinnedState::Draining { slot } => Affinity::Honour { slot },
        PinnedState::Down => Affinity::Pick(Reason::InstanceDown),
        PinnedState::Gone => Affinity::Pick(Reason::InstanceGone),
    }
}

/// The `N` bytes from `start` on. Callers stay within the pin, whose length is a constant.
fn field<const N: usize>(bytes: &[u8; PIN_LENGTH], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}
