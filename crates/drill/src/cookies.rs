//! A browser's cookies, for one site over plain HTTP: what a balancer or an application sets is only worth what a
//! browser would send back.

use std::time::{Duration, Instant};

use http::{HeaderMap, header};

/// The most cookies kept for the one site, of the at least 50 that browsers must keep (RFC 6265, section 6.1).
pub const JAR_COOKIES_MAX: usize = 50;
/// The longest name and value together that is kept (RFC 6265bis, section 5.6).
const PAIR_BYTES_MAX: usize = 4096;

/// The cookies of one user at one site, after RFC 6265, section 5. `Expires` is not read: nothing here sets it, and
/// `Max-Age` has precedence over it.
#[derive(Clone, Debug, Default)]
pub struct CookieJar {
    /// In the order they came.
    cookies: Vec<Cookie>,
}

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    /// Absent for a cookie that lives as long as the browser.
    dies_at: Option<Instant>,
}

impl CookieJar {
    /// A browser that was never here.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what an answer to a request for `path` sets and removes.
    pub fn absorb(&mut self, path: &str, headers: &HeaderMap, now: Instant) {
        for text in headers.get_all(header::SET_COOKIE) {
            if let Ok(text) = text.to_str() {
                self.set(path, text, now);
            }
        }
    }

    /// Takes over one `Set-Cookie`.
    pub fn set(&mut self, path: &str, text: &str, now: Instant) {
        let Some((cookie, life)) = read(path, text, now) else { return };
        let place = self.cookies.iter().position(|kept| kept.name == cookie.name && kept.path == cookie.path);
        match (place, life) {
            (Some(place), Life::Over) => drop(self.cookies.remove(place)),
            (None, Life::Over) => {}
            // The same name and path keep their place in the order (RFC 6265, section 5.3, step 11.3).
            (Some(place), Life::Ahead) => self.cookies[place] = cookie,
            (None, Life::Ahead) => {
                if self.cookies.len() >= JAR_COOKIES_MAX {
                    self.cookies.remove(0);
                }
                self.cookies.push(cookie);
            }
        }
    }

    /// The `Cookie` header of a request for `path`: longer paths first, then older cookies.
    pub fn header(&self, path: &str, now: Instant) -> Option<String> {
        let mut sent: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.dies_at.is_none_or(|at| now < at) && covers(&cookie.path, path))
            .collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = sent.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

#[derive(Clone, Copy)]
enum Life {
    Ahead,
    Over,
}

fn read(request_path: &str, text: &str, now: Instant) -> Option<(Cookie, Life)> {
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    // The connection is plain: cookies that demand a secure one are not kept from it (RFC 6265bis, section 5.7), and
    // these prefixes demand one.
    let demands_secure = name.starts_with("__Host-") || name.starts_with("__Secure-");
    if name.is_empty() || name.len() + value.len() > PAIR_BYTES_MAX || demands_secure {
        return None;
    }
    let mut path = default_path(request_path).to_owned();
    let (mut life, mut dies_at) = (Life::Ahead, None);
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (key, value) = (key.trim(), value.trim());
        if key.eq_ignore_ascii_case("secure") {
            return None;
        } else if key.eq_ignore_ascii_case("path") && value.starts_with('/') {
            value.clone_into(&mut path);
        } else if key.eq_ignore_ascii_case("max-age")
            && let Some(age) = max_age(value)
        {
            (life, dies_at) = match age {
                Some(age) => (Life::Ahead, now.checked_add(age)),
                None => (Life::Over, None),
            };
        }
    }
    let cookie = Cookie { name: name.to_owned(), value: value.to_owned(), path, dies_at };
    Some((cookie, life))
}

/// The time of a `Max-Age`, inner `None` where it is over already; outer `None` for what is no number and so ignored
/// (RFC 6265, section 5.2.2).
fn max_age(text: &str) -> Option<Option<Duration>> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Some((!is_negative && seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// RFC 6265, section 5.1.4: the request's path up to its last slash.
fn default_path(request_path: &str) -> &str {
    let path = request_path.split('?').next().unwrap_or_default();
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(last) => &path[..last],
    }
}

/// RFC 6265, section 5.1.4: whether a cookie of this path goes with a request for that one.
fn covers(cookie_path: &str, request_path: &str) -> bool {
    let path = request_path.split('?').next().unwrap_or_default();
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jar(path: &str, lines: &[&str], now: Instant) -> CookieJar {
        let mut jar = CookieJar::new();
        lines.iter().for_each(|line| jar.set(path, line, now));
        jar
    }

    /// A jar that kept what a log-out removes would hide that users were signed out, and one that added instead of
    /// replacing would send two tickets.
    #[test]
    fn cookies_are_replaced_and_removed_as_in_a_browser() {
        let now = Instant::now();
        let mut jar = jar("/api/login", &["a=1; Path=/; HttpOnly; SameSite=Lax", "b=2; Path=/; Max-Age=60"], now);
        assert_eq!(jar.header("/", now).as_deref(), Some("a=1; b=2"));
        jar.set("/", "a=3; Path=/", now);
        assert_eq!(jar.header("/", now).as_deref(), Some("a=3; b=2"));
        jar.set("/", "a=; Path=/; Max-Age=0", now);
        assert_eq!(jar.header("/", now).as_deref(), Some("b=2"));
        assert_eq!(jar.header("/", now + Duration::from_secs(60)), None);
        jar.set("/", "b=; path=/; max-age=-1", now);
        assert_eq!(jar.header("/", now), None);
    }

    /// A cookie without a path, set by a log-in under /api, is not sent for the page: a classic sign-out.
    #[test]
    fn paths_decide_what_is_sent_where() {
        let now = Instant::now();
        let jar = jar("/api/login?next=/", &["deep=1", "wide=2; Path=/", "odd=3; Path=relative"], now);
        assert_eq!(jar.header("/api/me", now).as_deref(), Some("deep=1; odd=3; wide=2"));
        assert_eq!(jar.header("/api", now).as_deref(), Some("deep=1; odd=3; wide=2"));
        assert_eq!(jar.header("/apis", now).as_deref(), Some("wide=2"));
        assert_eq!(jar.header("/", now).as_deref(), Some("wide=2"));
    }

    /// A gateway that marks its ticket `Secure` on plain HTTP signs everybody out; a jar that kept it would not notice.
    #[test]
    fn what_a_browser_refuses_is_refused() {
        let now = Instant::now();
        let long = format!("long={}", "x".repeat(PAIR_BYTES_MAX));
        let refused = ["s=1; Secure", "__Host-t=1; Path=/", "__Secure-t=1", "novalue", "=nameless", long.as_str()];
        assert_eq!(jar("/", &refused, now).header("/", now), None);
        assert_eq!(jar("/", &["a=b=c; Max-Age=soon"], now).header("/", now).as_deref(), Some("a=b=c"));
    }

    #[test]
    fn the_oldest_cookie_makes_room() {
        let now = Instant::now();
        let mut jar = CookieJar::new();
        for number in 0..=JAR_COOKIES_MAX {
            jar.set("/", &format!("c{number}=1"), now);
        }
        let sent = jar.header("/", now).unwrap();
        assert!(sent.starts_with("c1=1; ") && sent.ends_with("; c50=1"), "{sent}");
    }

    proptest! {
        /// A header that nobody foresaw would otherwise end a drill instead of being reported.
        #[test]
        fn no_text_breaks_the_jar(lines in prop::collection::vec(any::<String>(), 0..80), path in any::<String>()) {
            let now = Instant::now();
            let mut jar = CookieJar::new();
            for line in &lines {
                jar.set(&path, line, now);
            }
            prop_assert!(jar.cookies.len() <= JAR_COOKIES_MAX);
            let _ = jar.header(&path, now);
        }
    }
}
