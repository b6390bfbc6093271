//! The gateway's public keys: fetched when first needed, kept, and fetched again when a token names
//! a key not seen before, so that a rotation of keys needs no restart and a flood of made-up key
//! names no more than one fetch a second.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::Mutex;

/// The shortest time between two fetches.
const FETCH_PAUSE: Duration = Duration::from_secs(1);
/// The longest a fetch may take, from the connection to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest key set accepted.
const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// The most keys kept; a fleet in the middle of a rotation publishes two or three.
const KEYS_MAX: usize = 16;
/// The size of an Ed25519 public key (RFC 8032, section 5.1.5).
const ED25519_KEY_BYTES: usize = 32;

/// The keys published at one address.
#[derive(Debug)]
pub(crate) struct KeySource {
    url: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
    keys: RwLock<Keys>,
    /// Held during a fetch: whoever else needs one waits for it and shares what it brings.
    last_fetch: Mutex<Option<Fetch>>,
}

type Keys = HashMap<String, Arc<DecodingKey>>;

/// No keys could be had, so nothing can be said about a token.
#[derive(Debug, thiserror::Error)]
#[error("fetching keys from {url}")]
pub(crate) struct KeysUnavailable {
    url: Uri,
    #[source]
    fault: FetchFault,
}

/// What went wrong on the way to the keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchFault {
    #[error("no answer within {} s", FETCH_TIMEOUT.as_secs())]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("no connection, or one that broke")]
    Connection(#[from] hyper_util::client::legacy::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("the body broke off or passed {KEY_SET_BYTES_MAX} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the body is not a key set")]
    Json(#[from] serde_json::Error),
    #[error("the fetch of a moment ago failed; the next one is due within a second")]
    FailedRecently,
}

/// When keys were last asked for, and whether they came.
#[derive(Debug, Clone, Copy)]
struct Fetch {
    ended_at: Instant,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Keys,
    Failure,
}

impl KeySource {
    pub(crate) fn new(url: Uri) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { url, client, keys: RwLock::default(), last_fetch: Mutex::new(None) }
    }

    /// The key of this name, or nothing where the gateway publishes none of it.
    pub(crate) async fn key(&self, key_id: &str) -> Result<Option<Arc<DecodingKey>>, Box<KeysUnavailable>> {
        if let Some(key) = self.kept(key_id) {
            return Ok(Some(key));
        }
        let mut last_fetch = self.last_fetch.lock().await;
        // Another request may have fetched it while this one waited for the lock.
        if let Some(key) = self.kept(key_id) {
            return Ok(Some(key));
        }
        if let Some(fetch) = *last_fetch
            && fetch.ended_at.elapsed() < FETCH_PAUSE
        {
            return match fetch.outcome {
                Outcome::Keys => Ok(None),
                Outcome::Failure => Err(self.unavailable(FetchFault::FailedRecently)),
            };
        }
        let fetched = self.fetch().await;
        let outcome = if fetched.is_ok() { Outcome::Keys } else { Outcome::Failure };
        *last_fetch = Some(Fetch { ended_at: Instant::now(), outcome });
        let keys = fetched.map_err(|fault| self.unavailable(fault))?;
        let key = keys.get(key_id).cloned();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(key)
    }

    fn kept(&self, key_id: &str) -> Option<Arc<DecodingKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(key_id).cloned()
    }

    fn unavailable(&self, fault: FetchFault) -> Box<KeysUnavailable> {
        Box::new(KeysUnavailable { url: self.url.clone(), fault })
    }

    async fn fetch(&self) -> Result<Keys, FetchFault> {
        tokio::time::timeout(FETCH_TIMEOUT, async {
            let answer = self.client.get(self.url.clone()).await?;
            if answer.status() != StatusCode::OK {
                return Err(FetchFault::Status(answer.status()));
            }
            let body = Limited::new(answer.into_body(), KEY_SET_BYTES_MAX).collect().await;
            Ok(parse_keys(&body.map_err(FetchFault::Body)?.to_bytes())?)
        })
        .await?
    }
}

/// A key set (RFC 7517, section 5), with Ed25519 keys as in RFC 8037, section 2.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    x: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

impl Key {
    /// The key with its name, where it is one that signs sessions. Others are passed over, as RFC
    /// 7517, section 5, asks for.
    fn into_verifier(self) -> Option<(String, Arc<DecodingKey>)> {
        let signs = self.kty == "OKP"
            && self.crv.as_deref() == Some("Ed25519")
            && self.alg.is_none_or(|algorithm| algorithm == "EdDSA" || algorithm == "Ed25519")
            && self.purpose.is_none_or(|purpose| purpose == "sig");
        let bytes = URL_SAFE_NO_PAD.decode(self.x?).ok()?;
        (signs && bytes.len() == ED25519_KEY_BYTES)
            .then(|| Some((self.kid?, Arc::new(DecodingKey::from_ed_der(&bytes)))))?
    }
}

fn parse_keys(body: &[u8]) -> Result<Keys, serde_json::Error> {
    let set: KeySet = serde_json::from_slice(body)?;
    Ok(set.keys.into_iter().filter_map(Key::into_verifier).take(KEYS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set that holds one key of a newer kind must not take the others away.
    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let body = br#"{"keys":[
            {"kty":"RSA","kid":"r","n":"AQ","e":"AQAB"},
            {"kty":"OKP","crv":"Ed448","kid":"b","x":"AA"},
            {"kty":"OKP","crv":"Ed25519","kid":"short","x":"AA"},
            {"kty":"OKP","crv":"Ed25519","kid":"seals","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"OKP","crv":"Ed25519","kid":"good","alg":"EdDSA","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        ]}"#;
        let keys = parse_keys(body).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["good"]);
    }
}
