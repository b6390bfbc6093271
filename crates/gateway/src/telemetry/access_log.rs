//! The access log, off the request path: records are handed over in batches through a bounded queue to one thread that
//! writes them. When the sink is slow, records are dropped and counted; no request waits.
//!
//! The query is never logged: it is where applications put tokens.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde::Serialize;

use super::record::RequestRecord;
use crate::completion::Place;
use crate::shared::Shared;

/// Records that are handed over at once.
const BATCH_RECORDS: usize = 256;
/// Batches that may wait for the writer: with [`BATCH_RECORDS`] the bound of the log's memory.
const BATCHES_WAITING_MAX: usize = 256;

/// How long the end waits for a slow sink.
const FINISH_DEADLINE: Duration = Duration::from_secs(2);

/// How a request looks in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human { colour: bool },
    Json,
    Off,
}

type Batch = Vec<(RequestRecord, Duration)>;

/// Where workers hand their records over.
pub(crate) struct AccessLog {
    sender: Option<SyncSender<Batch>>,
    dropped: Arc<AtomicU64>,
    /// Disconnected when the writer has ended.
    writer: Option<Receiver<()>>,
}

impl AccessLog {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(format: LogFormat, shared: Arc<Shared>, sink: Box<dyn Write + Send>) -> io::Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        if format == LogFormat::Off {
            return Ok(Self { sender: None, dropped, writer: None });
        }
        let (sender, receiver) = sync_channel(BATCHES_WAITING_MAX);
        let (writing, writer) = sync_channel(0);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let _writing: SyncSender<()> = writing;
            write_all(&receiver, format, &shared, sink);
        })?;
        Ok(Self { sender: Some(sender), dropped, writer: Some(writer) })
    }

    /// One worker's end of the queue.
    pub(crate) fn buffer(&self) -> LogBuffer {
        LogBuffer { batch: Vec::new(), sender: self.sender.clone(), dropped: Arc::clone(&self.dropped) }
    }

    /// Records that were dropped because the sink was slow.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Writes what was handed over, and ends; a sink that takes nothing any more is left alone. All buffers must be
    /// gone.
    pub(crate) fn finish(mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take()
            && writer.recv_timeout(FINISH_DEADLINE) == Err(RecvTimeoutError::Timeout)
        {
            tracing::warn!("the access log's sink took nothing any more; its last lines are lost");
        }
    }
}

/// One worker's records that were not handed over yet.
pub(crate) struct LogBuffer {
    batch: Batch,
    sender: Option<SyncSender<Batch>>,
    dropped: Arc<AtomicU64>,
}

impl LogBuffer {
    pub(crate) fn push(&mut self, record: &RequestRecord, duration: Duration) {
        if self.sender.is_none() {
            return;
        }
        if self.batch.capacity() == 0 {
            self.batch.reserve_exact(BATCH_RECORDS);
        }
        self.batch.push((record.clone(), duration));
        if self.batch.len() >= BATCH_RECORDS {
            self.flush();
        }
    }

    /// Hands the records over, or drops them when the queue is full.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let Some(sender) = &self.sender else { return };
        let batch = std::mem::take(&mut self.batch);
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = sender.try_send(batch) {
            self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
            self.batch = batch;
            self.batch.clear();
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

fn write_all(receiver: &Receiver<Batch>, format: LogFormat, shared: &Shared, mut sink: Box<dyn Write + Send>) {
    let mut text = Vec::with_capacity(64 * 1024);
    while let Ok(batch) = receiver.recv() {
        text.clear();
        for (record, duration) in &batch {
            let line = Line::new(record, *duration, shared);
            // Writing to a Vec can't fail.
            let _ = match format {
                LogFormat::Json => serde_json::to_writer(&mut text, &line).map_err(io::Error::from),
                LogFormat::Human { colour } => line.write_human(&mut text, colour),
                LogFormat::Off => Ok(()),
            };
            text.push(b'\n');
        }
        if let Err(error) = sink.write_all(&text).and_then(|()| sink.flush())
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::warn!(%error, "the access log can't be written");
        }
    }
}

/// One line of the log.
#[derive(Serialize)]
struct Line<'record> {
    /// Milliseconds since the Unix epoch.
    time_ms: u64,
    request_id: String,
    client: String,
    method: &'record str,
    host: &'record str,
    path: &'record str,
    status: u16,
    bytes: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'record str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'record str>,
    tries: u32,
    session: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_as: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// What the log says where a client left before its answer began; nginx's number for it.
const CLIENT_LEFT: u16 = 499;

impl<'record> Line<'record> {
    fn new(record: &'record RequestRecord, duration: Duration, shared: &'record Shared) -> Self {
        let instance = |place: Place| shared.pools[place.pool].instances[place.slot as usize].label.as_str();
        Self {
            time_ms: record.started_at.as_millis(),
            request_id: record.request_id.to_string(),
            client: record.client.to_string(),
            method: record.method.as_str(),
            host: record.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
            path: record.uri.path(),
            status: if record.status == 0 { CLIENT_LEFT } else { record.status },
            bytes: record.body_bytes,
            duration_us: micros(duration),
            upstream_us: record.upstream.map(micros),
            route: record.route.and_then(|route| shared.route_labels.get(route)).map(String::as_str),
            instance: record.place.map(instance),
            tries: record.tries,
            session: record.session.as_str(),
            refused_as: record.refused_as,
            truncated: record.is_truncated,
        }
    }

    fn write_human(&self, out: &mut Vec<u8>, colour: bool) -> io::Result<()> {
        let seconds = self.time_ms / 1000;
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        let (on, off) = match (colour, self.status) {
            (false, _) => ("", ""),
            (true, 500..) => ("\x1b[31m", "\x1b[0m"),
            (true, 400..) => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[32m", "\x1b[0m"),
        };
        write!(
            out,
            "{hours:02}:{minutes:02}:{:02}.{:03} {on}{}{off} {:>7.1} ms  {} {}{}  {}",
            seconds % 60,
            self.time_ms % 1000,
            self.status,
            self.duration_us as f64 / 1000.0,
            self.method,
            self.host,
            self.path,
            self.instance.unwrap_or("-"),
        )?;
        if self.session != "none" {
            write!(out, "  session {}", self.session)?;
        }
        if self.tries > 1 {
            write!(out, "  {} tries", self.tries)?;
        }
        if let Some(reason) = self.refused_as {
            write!(out, "  {reason}  {}", self.request_id)?;
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;
    use std::time::Instant;

    use cloakroom_session::{KeyRing, Timestamp};
    use http::{HeaderValue, Method, Uri};

    use super::*;
    use crate::telemetry::record::{RequestId, SessionEvent};

    fn shared() -> Arc<Shared> {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let config = cloakroom_config::Config::single_pool(vec![address(1)], vec![address(2)]);
        let keys = KeyRing::parse(&KeyRing::generate(&[1; 64], Timestamp::from_millis(1))).unwrap();
        Arc::new(Shared::new(config, keys, None, 1))
    }

    fn record() -> RequestRecord {
        RequestRecord {
            started: Instant::now(),
            started_at: Timestamp::from_millis(3_723_004),
            client: [192, 0, 2, 7].into(),
            method: Method::GET,
            uri: Uri::from_static("/cart?ticket=secret"),
            host: Some(HeaderValue::from_static("shop.test")),
            request_id: RequestId::Own(7),
            route: Some(0),
            place: Some(Place { pool: 0, slot: 0 }),
            status: 200,
            refused_as: None,
            session: SessionEvent::Found,
            tries: 2,
            body_bytes: 100,
            upstream: Some(Duration::from_micros(900)),
            is_truncated: false,
        }
    }

    /// Hands every written text over, and blocks while nobody takes it.
    struct Sink(Sender<Vec<u8>>, Option<Receiver<()>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = &self.1 {
                let _ = gate.recv();
            }
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat) -> String {
        let (sender, receiver) = std::sync::mpsc::channel();
        let log = AccessLog::start(format, shared(), Box::new(Sink(sender, None))).unwrap();
        let mut buffer = log.buffer();
        buffer.push(&record(), Duration::from_micros(1234));
        drop(buffer);
        log.finish();
        String::from_utf8(receiver.iter().flatten().collect()).unwrap()
    }

    /// A token in a query that reaches the log signs in whoever reads it.
    #[test]
    fn a_line_tells_the_request_and_not_its_query() {
        let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json)).unwrap();
        assert_eq!(json["path"], "/cart");
        assert_eq!(json["instance"], "default/1");
        assert_eq!(json["duration_us"], 1234);
        let human = written(LogFormat::Human { colour: false });
        assert_eq!(human, "01:02:03.004 200     1.2 ms  GET shop.test/cart  default/1  session found  2 tries\n");
    }

    /// A terminal that is held, or a pipe that nobody reads, must cost log lines and never a request.
    #[test]
    fn a_sink_that_blocks_drops_records_and_counts_them() {
        let (sender, _receiver) = std::sync::mpsc::channel();
        let (_held, gate) = std::sync::mpsc::channel();
        let log = AccessLog::start(LogFormat::Json, shared(), Box::new(Sink(sender, Some(gate)))).unwrap();
        let mut buffer = log.buffer();
        let pushed = BATCH_RECORDS * (BATCHES_WAITING_MAX + 20);
        for _ in 0..pushed {
            buffer.push(&record(), Duration::ZERO);
        }
        // One batch is with the writer, a queue full of them waits, the rest is gone.
        let dropped = usize::try_from(log.dropped().load(Ordering::Relaxed)).unwrap();
        assert!((BATCH_RECORDS * 18..=BATCH_RECORDS * 20).contains(&dropped), "{dropped}");
    }
}
