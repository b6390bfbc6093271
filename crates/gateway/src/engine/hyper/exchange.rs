//! [`Exchange`] over hyper's types.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use cloakroom_policy::{Replay, Sent};
use cloakroom_wire::Violation;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as _, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::{BodyTape, ContinueHold, RequestBody, ResponseBody};
use super::hop_by_hop::Present;
use super::{Gate, WireRefusal};
use crate::clock;
use crate::completion::Completion;
use crate::engine::{ConnectionInfo, Exchange, FailureKind, SendFailure};
use crate::upstream::Lease;
use crate::worker::Worker;

/// How long an instance may leave `Expect: 100-continue` unanswered before the body is sent all the same (RFC 9110
/// §10.1.1 asks for some bound).
const CONTINUE_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// One request on one of hyper's connections.
pub(crate) struct HyperExchange {
    connection: Rc<ConnectionInfo>,
    refusal: Option<WireRefusal>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    tape: Option<Rc<RefCell<BodyTape>>>,
    body_hint: SizeHint,
    is_body_too_large: bool,
    expects_continue: bool,
    is_idempotent: bool,
    client_upgrade: Option<OnUpgrade>,
    /// Whether the instance is asked for the upgrade too: not for one that this gateway could not look into.
    offers_upgrade: bool,
    /// When the request came: its time to be answered runs from here, over all tries.
    started: Instant,
    answer: Option<(Response<Incoming>, Lease)>,
}

impl HyperExchange {
    pub(super) fn new(
        worker: &Worker,
        connection: Rc<ConnectionInfo>,
        request: Request<Incoming>,
        refusal: Option<WireRefusal>,
    ) -> Self {
        let (mut parts, body) = request.into_parts();
        let limits = &worker.shared.config.gateway.limits;
        let body_hint = body.size_hint();
        let tape = (!body.is_end_stream())
            .then(|| Rc::new(RefCell::new(BodyTape::new(body, limits.retry_body_bytes, limits.body_bytes))));
        let present = Present::of(&parts.headers);
        let client_upgrade = if present.upgrade { wanted_upgrade(&mut parts) } else { None };
        let upgrade_to = client_upgrade.as_ref().and_then(|_| forwarded_protocols(&parts.headers));
        present.strip(&mut parts.headers);
        if present.te {
            keep_trailers_only(&mut parts.headers);
        }
        let offers_upgrade = upgrade_to.is_some();
        if let Some(protocol) = upgrade_to {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol);
        }
        let refusal = refusal.or_else(|| ambiguous_target(&parts).map(WireRefusal::Violation));
        let uri = origin_form(parts.uri, &mut parts.headers);
        // RFC 9112 §3.2: an HTTP/1.1 request has a `Host`, an empty one where HTTP/1.0 brought none.
        parts.headers.entry(header::HOST).or_insert(HeaderValue::from_static(""));
        // HTTP/1.0 knows no 100 (Continue), RFC 9110 §10.1.1.
        let expects_continue = present.expect
            && tape.is_some()
            && parts.version == Version::HTTP_11
            && parts
                .headers
                .get(header::EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if present.expect && !expects_continue {
            parts.headers.remove(header::EXPECT);
        }
        Self {
            is_idempotent: parts.method.is_idempotent() || present.idempotency_key,
            is_body_too_large: body_hint.exact().zip(limits.body_bytes).is_some_and(|(length, max)| length > max),
            connection,
            refusal,
            method: parts.method,
            uri,
            headers: parts.headers,
            tape,
            body_hint,
            expects_continue,
            client_upgrade,
            offers_upgrade,
            started: clock::last(),
            answer: None,
        }
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether the connection can't be trusted to begin another request after an answer of ours: part of this one's
    /// body may still be on its way, or what follows is meant for a tunnel.
    pub(super) fn must_close(&self) -> bool {
        self.tape.is_some() || self.refusal.is_some() || self.method == Method::CONNECT
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn request_header_value(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    pub(super) fn refusal(&self) -> Option<WireRefusal> {
        self.refusal
    }

    pub(super) fn decline_upgrade(&self, gate: &Gate) {
        if self.client_upgrade.is_some() {
            gate.answer_upgrade(false);
        }
    }

    /// The instance's answer, on its way to the client.
    pub(super) fn into_response(mut self, gate: &Gate, mut completion: Box<Completion>) -> Response<ResponseBody> {
        let Some((mut answer, mut lease)) = self.answer.take() else {
            // The pipeline succeeds only after an answer has come.
            return Response::new(ResponseBody::Own { bytes: None, completion: Some(completion) });
        };
        let is_switching = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let driver = lease.connection().filter(|_| is_switching).and_then(|connection| connection.take_driver());
        completion.hold_connection(lease);
        if let Some(client_upgrade) = self.client_upgrade.take() {
            gate.answer_upgrade(is_switching);
            if is_switching {
                let instance_upgrade = hyper::upgrade::on(&mut answer);
                let (parts, _) = answer.into_parts();
                if let Some(driver) = driver {
                    // Ends when the upgraded connection is handed over.
                    tokio::task::spawn_local(driver);
                }
                completion.begin_tunnel();
                tokio::task::spawn_local(tunnel(client_upgrade, instance_upgrade, completion));
                return Response::from_parts(parts, ResponseBody::Own { bytes: None, completion: None });
            }
        }
        let (mut parts, incoming) = answer.into_parts();
        if parts.headers.contains_key(header::TRANSFER_ENCODING) {
            // RFC 9112 §6.3: it overrides the length, which must not be passed on.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        Present::of(&parts.headers).strip(&mut parts.headers);
        parts.version = Version::HTTP_11;
        if incoming.is_end_stream() {
            completion.finish_body();
        }
        Response::from_parts(parts, ResponseBody::Forwarded { incoming, completion })
    }

    fn failure(&self, error: &hyper::Error, was_returned: bool, is_reused: bool) -> SendFailure {
        if let Some(failure) = self.tape.as_ref().and_then(|tape| tape.borrow().failure()) {
            return SendFailure { sent: Sent::Perhaps, kind: FailureKind::ClientBody(failure) };
        }
        let sent = if was_returned { Sent::Nothing } else { Sent::Perhaps };
        let kind = match error.is_parse() {
            true => FailureKind::Malformed,
            false => FailureKind::Closed { reused: is_reused },
        };
        SendFailure { sent, kind }
    }
}

impl Exchange for HyperExchange {
    fn connection(&self) -> &ConnectionInfo {
        &self.connection
    }

    fn violation(&self) -> Option<Violation> {
        match self.refusal {
            Some(WireRefusal::Violation(violation)) => Some(violation),
            _ => None,
        }
    }

    fn has_timed_out(&self) -> bool {
        self.refusal() == Some(WireRefusal::HeadTimedOut)
    }

    fn is_body_too_large(&self) -> bool {
        self.is_body_too_large
    }

    fn method(&self) -> &Method {
        &self.method
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn host(&self) -> &str {
        self.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn host_header(&self) -> Option<&HeaderValue> {
        self.headers.get(header::HOST)
    }

    fn request_header(&self, name: &HeaderName) -> Option<&[u8]> {
        self.headers.get(name).map(HeaderValue::as_bytes)
    }

    fn request_headers<'head>(&'head self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'head [u8]> {
        self.headers.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn set_request_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    fn remove_request_header(&mut self, name: &HeaderName) {
        self.headers.remove(name);
    }

    fn remove_request_headers_with_prefix(&mut self, prefix: &str) {
        remove_with_prefix(&mut self.headers, prefix);
    }

    fn replay(&self) -> Replay {
        let is_at_hand = self.tape.as_ref().is_none_or(|tape| tape.borrow().is_replayable());
        match (is_at_hand, self.is_idempotent) {
            (false, _) => Replay::Impossible,
            (true, true) => Replay::Safe,
            (true, false) => Replay::OnlyUnsent,
        }
    }

    async fn send(&mut self, worker: &Worker, mut lease: Lease) -> Result<(), SendFailure> {
        let Some(driving) = lease.connection() else {
            return Err(SendFailure { sent: Sent::Nothing, kind: FailureKind::Closed { reused: true } });
        };
        let hold = self.expects_continue.then(|| Rc::new(ContinueHold::default()));
        let body = match &self.tape {
            Some(tape) => RequestBody::replay(tape, self.body_hint, hold.clone()),
            None => RequestBody::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        // A request that may be sent again after some of it left keeps its head; any other gets it back if none did.
        let keeps_head = self.replay() == Replay::Safe;
        *request.headers_mut() = if keeps_head { self.headers.clone() } else { std::mem::take(&mut self.headers) };
        if let Some(hold) = &hold {
            release_on_continue(&mut request, hold);
        }
        let is_reused = std::mem::replace(&mut driving.is_reused, true);
        let answer_within = worker.shared.config.gateway.timeouts.total;
        let answered = {
            let mut sending = pin!(driving.sender.try_send_request(request));
            let mut waiting = pin!(hold.as_ref().map(|hold| release_after_wait(Rc::clone(hold))));
            poll_fn(|context| {
                if let Poll::Ready(answered) = driving.poll_answer(sending.as_mut(), context) {
                    return Poll::Ready(Some(answered));
                }
                if let Some(waiting) = waiting.as_mut().as_pin_mut() {
                    let _: Poll<()> = waiting.poll(context);
                }
                let progress = self.tape.as_ref().map(|tape| tape.borrow().last_progress());
                let since = progress.map_or(self.started, |at| at.max(self.started));
                driving.answer_deadline.set(since, answer_within);
                driving.answer_deadline.poll_passed(context).map(|()| None)
            })
            .await
        };
        driving.answer_deadline.clear();
        match answered {
            Some(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS && !self.offers_upgrade => {
                Err(SendFailure { sent: Sent::Perhaps, kind: FailureKind::Malformed })
            }
            Some(Ok(answer)) => {
                self.answer = Some((answer, lease));
                Ok(())
            }
            Some(Err(mut error)) => {
                let message = error.take_message();
                let was_returned = message.is_some();
                if let (Some(message), false) = (message, keeps_head) {
                    self.headers = message.into_parts().0.headers;
                }
                Err(self.failure(&error.into_error(), was_returned, is_reused))
            }
            None => Err(SendFailure { sent: Sent::Perhaps, kind: FailureKind::TimedOut }),
        }
    }

    fn status(&self) -> StatusCode {
        self.answer.as_ref().map_or(StatusCode::BAD_GATEWAY, |(answer, _)| answer.status())
    }

    fn response_headers<'head>(&'head self, name: &HeaderName) -> impl Iterator<Item = &'head [u8]> {
        self.answer.iter().flat_map(move |(answer, _)| answer.headers().get_all(name).iter().map(HeaderValue::as_bytes))
    }

    fn has_response_header(&self, name: &HeaderName) -> bool {
        self.answer.as_ref().is_some_and(|(answer, _)| answer.headers().contains_key(name))
    }

    fn append_response_header(&mut self, name: HeaderName, value: HeaderValue) {
        if let Some((answer, _)) = &mut self.answer {
            answer.headers_mut().append(name, value);
        }
    }

    fn remove_response_headers_with_prefix(&mut self, prefix: &str) {
        if let Some((answer, _)) = &mut self.answer {
            remove_with_prefix(answer.headers_mut(), prefix);
        }
    }
}

/// The client's side of an upgrade, where the request asks for one.
fn wanted_upgrade(parts: &mut http::request::Parts) -> Option<OnUpgrade> {
    let asks = parts.headers.contains_key(header::UPGRADE)
        && parts.headers.get_all(header::CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        });
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    upgrade.filter(|_| asks && parts.version == Version::HTTP_11)
}

/// `TE` is of this hop, but for `trailers`, which an instance must know to send any (RFC 9110 §10.1.4).
fn keep_trailers_only(headers: &mut HeaderMap) {
    let accepts = headers.get_all(header::TE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    headers.remove(header::TE);
    if accepts {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocols that an instance may be asked to switch to. HTTP/2 and TLS inside the connection would carry requests
/// past everything that is done here.
fn forwarded_protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let carries_requests = |protocol: &[u8]| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let values = headers.get_all(header::UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let protocols: Vec<_> =
        values.map(<[u8]>::trim_ascii).filter(|protocol| !protocol.is_empty() && !carries_requests(protocol)).collect();
    if protocols.is_empty() { None } else { HeaderValue::from_bytes(&protocols.join(&b", "[..])).ok() }
}

/// RFC 9112 §3.2.3: only `CONNECT` may give an authority alone; and RFC 9110 §4.2.1: an absolute target has a host.
/// Taken for a path or for a host, either would route the request where another reader would not.
fn ambiguous_target(parts: &http::request::Parts) -> Option<Violation> {
    let authority = parts.uri.authority()?;
    let is_alone = parts.uri.scheme().is_none() && parts.method != Method::CONNECT;
    (is_alone || authority.host().is_empty()).then_some(Violation::InvalidTarget)
}

/// A target as an origin server expects it. The authority of an absolute target replaces `Host` (RFC 9112 §3.2.2),
/// without the credentials that it may not hold (RFC 9110 §4.2.4).
fn origin_form(uri: Uri, headers: &mut HeaderMap) -> Uri {
    let Some(authority) = uri.authority() else { return uri };
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(header::HOST, host);
    }
    let path_and_query = uri.path_and_query().cloned();
    path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from)
}

pub(super) fn remove_with_prefix(headers: &mut HeaderMap, prefix: &str) {
    while let Some(name) = headers.keys().find(|name| begins_with(name, prefix)).cloned() {
        headers.remove(name);
    }
}

/// Whether a name begins so to any reader: those with CGI's manners (RFC 3875 §4.1.18) take `_` and `-` for one.
fn begins_with(name: &HeaderName, prefix: &str) -> bool {
    let name = name.as_str().as_bytes();
    name.len() >= prefix.len()
        && name.iter().zip(prefix.as_bytes()).all(|(byte, wanted)| byte == wanted || *byte == b'_' && *wanted == b'-')
}

fn release_on_continue(request: &mut Request<RequestBody>, hold: &Rc<ContinueHold>) {
    // hyper wants a callback that could run anywhere; ours only sends a signal to the task that owns the hold.
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let sender = std::sync::Mutex::new(Some(sender));
    hyper::ext::on_informational(request, move |answer| {
        if answer.status() == StatusCode::CONTINUE
            && let Some(sender) = sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
        {
            // Nobody listens any more once the request is over.
            let _ = sender.send(());
        }
    });
    let hold = Rc::clone(hold);
    tokio::task::spawn_local(async move {
        // An error means that the request is over, with a final answer perhaps: its body is not wanted then.
        if receiver.await.is_ok() {
            hold.release();
        }
    });
}

async fn release_after_wait(hold: Rc<ContinueHold>) {
    tokio::time::sleep(CONTINUE_WAIT).await;
    hold.release();
    std::future::pending::<()>().await;
}

/// Carries an upgraded connection's bytes both ways until one side ends it.
async fn tunnel(client: OnUpgrade, instance: OnUpgrade, mut completion: Box<Completion>) {
    let (client, instance) = match tokio::try_join!(client, instance) {
        Ok(pair) => pair,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was announced and not carried out");
            return;
        }
    };
    let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
    if let Ok((_, to_client)) = tokio::io::copy_bidirectional(&mut client, &mut instance).await {
        completion.count_body(usize::try_from(to_client).unwrap_or(usize::MAX));
    }
}
