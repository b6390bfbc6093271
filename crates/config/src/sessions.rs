//! `[sessions]`: where sessions live, how long, and the cookie that stands for one.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::table::{TableReader, Value, Word, listed, nearest};
use crate::units::format_duration;

/// `[sessions]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Where sessions live; default `embedded:./cloakroom-data`.
    pub store: StoreUrl,
    /// Name of the ticket cookie; default `cloakroom`.
    pub cookie: CookieName,
    /// How long a session lives without a request; default 24 h, 1 s to 400 d, longer than `touch`.
    pub idle: Duration,
    /// How often the last use of a session is written at most; default 30 s, 100 ms to 1 h.
    pub touch: Duration,
    /// How long a session lives at all; default 30 d, 1 s to 400 d, no shorter than `idle`.
    pub absolute: Duration,
    /// What a 5xx answer does to the session patch it carries; default [`ServerError::Discard`].
    pub server_error: ServerError,
    /// Bytes of the fields of one session; default 64 KiB, 1 KiB to 1 MiB.
    pub payload_bytes: usize,
    /// The `SameSite` attribute of the ticket cookie; default [`SameSite::Lax`].
    pub same_site: SameSite,
}

impl Sessions {
    /// Bounds of [`Sessions::idle`] and [`Sessions::absolute`]. Browsers drop cookies after 400 days
    /// (RFC 6265bis, section 5.5).
    pub const LIFETIME_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(400 * 86_400);
    /// Bounds of [`Sessions::touch`].
    pub const TOUCH_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
    /// Bounds of [`Sessions::payload_bytes`].
    pub const PAYLOAD_BYTES_BOUNDS: RangeInclusive<u64> = 1_024..=1_048_576;
}

/// `store`: where sessions live.
///
/// `Display` writes the URL without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `embedded:./dir`: files of this process, on one machine.
    Embedded {
        /// The directory, relative to the working directory; made when it is absent.
        path: PathBuf,
        /// When a commit counts as durable; `?sync=os` or `?sync=disk`.
        sync: Sync,
    },
}

/// `?sync=`: when a commit to the embedded store is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// After it is on disk: survives a power cut.
    #[default]
    Disk,
    /// After the operating system has it: survives a crash of the gateway, not one of the machine.
    Os,
}

/// A cookie name: a token (RFC 6265 section 4.1.1) without a `__Host-` or `__Secure-` prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookieName(String);

/// Why a text is no name for the ticket cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieNameError {
    /// It is empty or too long.
    #[error("a cookie name has 1 to {} characters", CookieName::LENGTH_MAX)]
    Length,
    /// It holds a character that a token must not hold.
    #[error("a cookie name holds letters, digits and !#$%&'*+-.^_`|~ only")]
    Character,
    /// It starts with a prefix that is put there where it applies.
    #[error("`__Host-` is put before the cookie name on TLS, and no prefix may be written")]
    Prefix,
    /// It is the name of the pin cookie.
    #[error("\"{}\" is the name of the affinity cookie", CookieName::PIN)]
    Pin,
}

impl CookieName {
    /// The longest name; every request carries it.
    pub const LENGTH_MAX: usize = 64;
    /// The name of the affinity cookie, which the ticket cookie must not take.
    pub const PIN: &'static str = "cloakroom-pin";

    /// Checks a name.
    ///
    /// # Errors
    /// When the text is no token of a fitting length, or a name that is spoken for.
    pub fn new(name: &str) -> Result<Self, CookieNameError> {
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || name.len() > Self::LENGTH_MAX {
            Err(CookieNameError::Length)
        } else if !name.bytes().all(is_token_byte) {
            Err(CookieNameError::Character)
        } else if lower.starts_with("__host-") || lower.starts_with("__secure-") {
            Err(CookieNameError::Prefix)
        } else if name == Self::PIN {
            Err(CookieNameError::Pin)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `server_error`: what a 5xx answer does to the session patch it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerError {
    /// The patch is dropped: a failed request changes nothing.
    #[default]
    Discard,
    /// The patch is committed as with any other answer.
    Commit,
}

/// `same_site`: the `SameSite` attribute of the ticket cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Sent when a user follows a link from another site.
    #[default]
    Lax,
    /// Sent on requests from the same site only.
    Strict,
    /// Sent always; browsers take it on TLS only.
    None,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            store: StoreUrl::default(),
            cookie: CookieName::default(),
            idle: Duration::from_secs(86_400),
            touch: Duration::from_secs(30),
            absolute: Duration::from_secs(30 * 86_400),
            server_error: ServerError::default(),
            payload_bytes: 64 * 1024,
            same_site: SameSite::default(),
        }
    }
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self::Embedded { path: PathBuf::from("./cloakroom-data"), sync: Sync::default() }
    }
}

impl Default for CookieName {
    fn default() -> Self {
        Self("cloakroom".to_owned())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Embedded { path, sync } = self;
        let query = match sync {
            Sync::Disk => "",
            Sync::Os => "?sync=os",
        };
        write!(formatter, "embedded:{}{query}", path.display())
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

pub(crate) fn read_sessions(mut reader: TableReader<'_>) -> Sessions {
    let default = Sessions::default();
    let errors = [("discard", Word::Means(ServerError::Discard)), ("commit", Word::Means(ServerError::Commit))];
    let sites = [
        ("lax", Word::Means(SameSite::Lax)),
        ("strict", Word::Means(SameSite::Strict)),
        ("none", Word::Means(SameSite::None)),
    ];
    let store = reader.value("store").and_then(|value| read_store(&value));
    let cookie = reader.value("cookie").and_then(|value| read_cookie(&value));
    let [idle, touch, absolute] = read_lifetimes(&mut reader, &default);
    let payload_bytes =
        reader.size("payload_bytes", &Sessions::PAYLOAD_BYTES_BOUNDS).and_then(|bytes| usize::try_from(bytes).ok());
    let sessions = Sessions {
        store: store.unwrap_or(default.store),
        cookie: cookie.unwrap_or(default.cookie),
        idle,
        touch,
        absolute,
        server_error: reader.word("server_error", &errors, default.server_error),
        payload_bytes: payload_bytes.unwrap_or(default.payload_bytes),
        same_site: reader.word("same_site", &sites, default.same_site),
    };
    read_only_choice(&mut reader, "outage", "fail", &["anonymous", "stale"]);
    read_only_choice(&mut reader, "conflict", "merge", &["cas", "serialize"]);
    reader.finish();
    sessions
}

fn read_cookie(value: &Value<'_>) -> Option<CookieName> {
    CookieName::new(value.string()?).map_err(|error| value.refuse(error.to_string(), None)).ok()
}

/// Idle, touch and absolute: each within its bounds, and in their order.
fn read_lifetimes(reader: &mut TableReader<'_>, default: &Sessions) -> [Duration; 3] {
    let mut usable = true;
    let mut read = |key, default, bounds| match reader.value(key) {
        None => (default, None),
        Some(value) => {
            let duration = value.duration(bounds);
            usable &= duration.is_some();
            (duration.unwrap_or(default), Some(value.span()))
        }
    };
    let (idle, idle_span) = read("idle", default.idle, &Sessions::LIFETIME_BOUNDS);
    let (touch, touch_span) = read("touch", default.touch, &Sessions::TOUCH_BOUNDS);
    let (absolute, absolute_span) = read("absolute", default.absolute, &Sessions::LIFETIME_BOUNDS);
    let conflict = |reason: String, span: Option<_>| {
        let span = span.unwrap_or_else(|| reader.span());
        reader.report().push(ErrorKind::Conflict { reason }, span, None);
    };
    if usable && touch >= idle {
        let (touch, idle) = (format_duration(touch), format_duration(idle));
        conflict(
            format!("`touch` ({touch}) must be shorter than `idle` ({idle}), or sessions in use would expire"),
            touch_span.or_else(|| idle_span.clone()),
        );
    }
    if usable && idle > absolute {
        let (idle, absolute) = (format_duration(idle), format_duration(absolute));
        conflict(
            format!("`idle` ({idle}) must not be longer than `absolute` ({absolute})"),
            idle_span.or(absolute_span),
        );
    }
    [idle, touch, absolute]
}

/// A key of which this version does one value; the others may carry a parameter after a colon.
fn read_only_choice(reader: &mut TableReader<'_>, key: &'static str, only: &'static str, later: &[&'static str]) {
    let Some(value) = reader.value(key) else {
        return;
    };
    let Some(text) = value.string() else { return };
    let word = text.split_once(':').map_or(text, |(word, _)| word);
    if text == only {
        return;
    }
    if later.contains(&word) {
        let help = format!("leave it out, or set it to \"{only}\"");
        value.refuse_for_now(format_args!("{key} = \"{word}\""), Some(help));
    } else {
        value.refuse(format!("{text:?} is not \"{only}\", the one value of this version"), None);
    }
}

/// Schemes of stores that are part of the language and not of this version.
const STORES_LATER: [&str; 9] =
    ["redis", "rediss", "redis+sentinel", "redis+cluster", "postgres", "postgresql", "mysql", "memcached", "sealed"];

/// Reads a store URL. Its text is never part of a message, since it may hold a password.
fn read_store(value: &Value<'_>) -> Option<StoreUrl> {
    let example = || Some("write \"embedded:./cloakroom-data\"".to_owned());
    let text = value.string()?;
    value.report.mark_secret(value.span());
    let Some((scheme, rest)) = text.split_once(':') else {
        value.refuse("a store is written as a scheme, a colon and a place", example());
        return None;
    };
    if STORES_LATER.contains(&scheme) {
        value.refuse_for_now(format_args!("store = \"{scheme}:\""), Some("use \"embedded:\"".to_owned()));
        return None;
    }
    if scheme != "embedded" {
        let near = nearest(scheme, &["embedded"]).map(|near| format!("did you mean \"{near}:\"?"));
        value.refuse("the scheme of the store is not known", near.or_else(example));
        return None;
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() || path.starts_with("//") || path.contains('\0') {
        value.refuse("the embedded store needs the path of a directory", example());
        return None;
    }
    let mut sync = Sync::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        sync = match pair {
            "sync=os" => Sync::Os,
            "sync=disk" => Sync::Disk,
            _ => {
                value.refuse(
                    "the embedded store has one option",
                    Some(format!("write one of {}", listed(&["?sync=disk", "?sync=os"], '"'))),
                );
                return None;
            }
        };
    }
    Some(StoreUrl::Embedded { path: PathBuf::from(path), sync })
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
