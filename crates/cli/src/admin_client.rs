//! A small client of the admin listener.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long the gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Speaks to one gateway's admin listener.
pub(crate) struct AdminClient {
    address: SocketAddr,
    authorization: Option<String>,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl AdminClient {
    pub(crate) fn new(address: SocketAddr, token_file: Option<&Path>) -> anyhow::Result<Self> {
        let authorization = match token_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
                Some(format!("Bearer {}", text.trim()))
            }
        };
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { address, authorization, client })
    }

    /// Asks, and reads the JSON answer.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new())?;
        let asked = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
            anyhow::Ok((status, body))
        };
        let no_gateway = || format!("no gateway answers on {}; name its admin address with --admin", self.address);
        let (status, body) = tokio::time::timeout(DEADLINE, asked)
            .await
            .with_context(no_gateway)?
            .with_context(no_gateway)?;
        let value: serde_json::Value =
            serde_json::from_slice(&body).with_context(|| format!("{} is no admin listener", self.address))?;
        if !status.is_success() {
            bail!("{}", value["error"].as_str().unwrap_or("the gateway refused"));
        }
        Ok(value)
    }
}
