//! Tokens that were minted a moment ago: a signature costs more than everything else a request does.
//!
//! A token is used again for the same session at the same revision and for the same pool, for half its life, so that an
//! instance always gets one that is valid for the other half. Revocation is not delayed by it: a session is judged
//! before its token is looked up.

use cloakroom_session::token::{self, Presentation, TOKEN_LIFETIME};
use cloakroom_session::{KeyRing, StoreKey, Timestamp};
use cloakroom_store::Loaded;
use http::HeaderValue;

/// Most tokens one worker keeps; at 0.5 to 8 KiB each.
const TOKENS_MAX: usize = 4096;

/// One worker's tokens.
pub(crate) struct TokenCache {
    tokens: quick_cache::unsync::Cache<(StoreKey, usize), Token>,
}

#[derive(Clone)]
struct Token {
    revision: u64,
    minted_at: Timestamp,
    value: HeaderValue,
}

impl TokenCache {
    pub(crate) fn new() -> Self {
        Self { tokens: quick_cache::unsync::Cache::new(TOKENS_MAX) }
    }

    /// The header value for a session in a pool, minted now or a moment ago. `None` if it can't be a header, which
    /// base64url never is.
    pub(crate) fn present(
        &mut self,
        keys: &KeyRing,
        presentation: Presentation,
        (pool_index, audience): (usize, &str),
        session: &Loaded,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let key = (session.key, pool_index);
        if let Some(token) = self.tokens.get(&key)
            && token.revision == session.record.revision
            && now >= token.minted_at
            && now.since(token.minted_at) < TOKEN_LIFETIME / 2
        {
            return Some(token.value.clone());
        }
        let text = token::present(keys, presentation, audience, &session.key, &session.record, now);
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()?;
        value.set_sensitive(true);
        let token = Token { revision: session.record.revision, minted_at: now, value: value.clone() };
        self.tokens.insert(key, token);
        Some(value)
    }
}
