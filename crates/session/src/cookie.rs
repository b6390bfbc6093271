//! Reading one cookie out of `Cookie`, leaving the others, and writing `Set-Cookie` (RFC 6265).

use std::fmt::Write as _;
use std::time::Duration;

/// Most bytes a browser keeps of name, value and attributes together (RFC 6265 §6.1).
pub const COOKIE_BYTES_MAX: usize = 4096;

/// Cross-site behaviour of a cookie (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SameSite {
    /// Sent on top-level navigation from elsewhere.
    #[default]
    Lax,
    /// Never sent from elsewhere.
    Strict,
    /// Always sent; browsers require `Secure` with it.
    None,
}

/// Whether the client's connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP: no `Secure`, no `__Host-` prefix, or the browser would drop the cookie.
    Http,
    /// TLS: `__Host-` prefix and `Secure`.
    Https,
}

/// The name under which a browser holds the cookie: `__Host-` before it on TLS.
pub fn browser_name(name: &str, scheme: Scheme) -> String {
    match scheme {
        Scheme::Http => name.to_owned(),
        Scheme::Https => format!("__Host-{name}"),
    }
}

/// Every value that the header gives to `name`, in order. More than one means someone planted a second cookie.
pub fn values<'header>(header: &'header [u8], name: &'header str) -> impl Iterator<Item = &'header [u8]> {
    pairs(header).filter_map(move |pair| value_of(pair, name))
}

/// The header without the cookies that `is_ours` names; `None` when nothing is left, or `header` had none of them and
/// may be forwarded as it is.
pub fn without(header: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> Stripped {
    if !pairs(header).any(|pair| is_ours(name_of(pair))) {
        return Stripped::Unchanged;
    }
    let mut rest = Vec::with_capacity(header.len());
    for pair in pairs(header).filter(|pair| !is_ours(name_of(pair))) {
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(pair);
    }
    if rest.is_empty() { Stripped::Empty } else { Stripped::Rest(rest) }
}

/// What is left of a `Cookie` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stripped {
    /// None of the named cookies were in it.
    Unchanged,
    /// Nothing else was in it: drop the header.
    Empty,
    /// The other cookies.
    Rest(Vec<u8>),
}

/// A `Set-Cookie` value for a whole site: `Path=/; HttpOnly`, `Secure` on TLS. `max_age` of zero removes the cookie;
/// `None` makes it last until the browser closes.
pub fn set(name: &str, value: &str, scheme: Scheme, same_site: SameSite, max_age: Option<Duration>) -> String {
    let mut text = String::with_capacity(name.len() + value.len() + 96);
    if scheme == Scheme::Https {
        text.push_str("__Host-");
    }
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    text.push_str("; Path=/; HttpOnly");
    if scheme == Scheme::Https {
        text.push_str("; Secure");
    }
    text.push_str(match same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    if let Some(age) = max_age {
        // Writing to a String can't fail.
        let _ = write!(text, "; Max-Age={}", age.as_secs());
    }
    text
}

fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or(pair).trim_ascii()
}

fn value_of<'header>(pair: &'header [u8], name: &str) -> Option<&'header [u8]> {
    let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
    Some(value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(header: &str, name: &str) -> Vec<String> {
        values(header.as_bytes(), name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn values_are_found_by_exact_name() {
        for (header, expected) in [
            ("cloakroom=a", vec!["a"]),
            ("x=1; cloakroom=a; y=2", vec!["a"]),
            ("cloakroom-pin=p; xcloakroom=q; Cloakroom=r", vec![]),
            ("cloakroom=\"a\"", vec!["a"]),
            ("cloakroom=a;cloakroom=b", vec!["a", "b"]),
            ("cloakroom", vec![]),
            ("", vec![]),
            (";;=;cloakroom=", vec![""]),
        ] {
            assert_eq!(found(header, "cloakroom"), expected, "{header}");
        }
    }

    /// A ticket that reaches an instance ends up in its logs; an application cookie that does not reach it breaks it.
    #[test]
    fn stripping_takes_ours_and_leaves_theirs() {
        let ours = |name: &[u8]| name == b"cloakroom" || name == b"cloakroom-pin";
        for (header, expected) in [
            ("a=1; b=2", Stripped::Unchanged),
            ("cloakroom=t", Stripped::Empty),
            ("a=1; cloakroom=t; b=2", Stripped::Rest(b"a=1; b=2".to_vec())),
            ("cloakroom = t;cloakroom=u; z=\"q\"", Stripped::Rest(b"z=\"q\"".to_vec())),
            ("cloakroom; a=1", Stripped::Rest(b"a=1".to_vec())),
        ] {
            assert_eq!(without(header.as_bytes(), ours), expected, "{header}");
        }
    }

    #[test]
    fn set_cookie_has_the_safe_attributes() {
        assert_eq!(
            set("cloakroom", "v", Scheme::Https, SameSite::Lax, Some(Duration::from_secs(60))),
            "__Host-cloakroom=v; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60"
        );
        assert_eq!(set("c", "", Scheme::Http, SameSite::Strict, None), "c=; Path=/; HttpOnly; SameSite=Strict");
    }

    proptest::proptest! {
        /// Whatever a client puts in the header, no part of our cookie may reach an instance.
        #[test]
        fn nothing_of_ours_survives(header in "[ac=;\" lokrm-]{0,60}") {
            let ours = |name: &[u8]| name == b"cloakroom";
            let rest = match without(header.as_bytes(), ours) {
                Stripped::Unchanged => header.into_bytes(),
                Stripped::Empty => Vec::new(),
                Stripped::Rest(rest) => rest,
            };
            proptest::prop_assert_eq!(values(&rest, "cloakroom").count(), 0);
        }
    }
}
