//! The fast scanner: a whole head in one slice, line by line, many bytes at a time. It accepts what is plainly
//! right and otherwise says nothing, leaving the verdict to the exact scanner.

use crate::class::{CR, HOST_PLAIN, LF, TOKEN, is_space, run};
use crate::facts::{HeadFacts, Next, Version, Watched};
use crate::guard::Limits;
use crate::value::ValueScan;
use crate::words::{name_run, text_run, visible_run};

/// The length of the head at the start of the bytes and what follows it, if the head is complete and breaks no
/// rule. `None` means "not plainly right", never "wrong".
#[inline]
pub(crate) fn complete_head(bytes: &[u8], limits: &Limits) -> Option<(usize, Next)> {
    let window = &bytes[..bytes.len().min(limits.head_bytes)];
    let mut facts = HeadFacts::new();
    let mut rest = read_request_line(window, &mut facts)?;
    for _ in 0..=limits.headers {
        if let [CR, LF, ..] = rest {
            let head_bytes = window.len() - rest.len() + 2;
            return Some((head_bytes, facts.conclude().ok()?));
        }
        rest = read_field(rest, &mut facts)?;
    }
    None
}

#[inline]
fn read_request_line<'a>(bytes: &'a [u8], facts: &mut HeadFacts) -> Option<&'a [u8]> {
    let (method, rest) = bytes.split_at(run(bytes, TOKEN));
    let rest = rest.strip_prefix(b" ")?;
    let (target, rest) = rest.split_at(visible_run(rest));
    let (version, rest) = rest.split_first_chunk::<11>()?;
    if method.is_empty() || target.is_empty() {
        return None;
    }
    facts.version = match version {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    facts.method_is_connect = method == b"CONNECT";
    Some(rest)
}

#[inline]
fn read_field<'a>(bytes: &'a [u8], facts: &mut HeadFacts) -> Option<&'a [u8]> {
    // The end of the line first: where the next one begins should not wait for what this one says.
    let (line, rest) = bytes.split_at(text_run(bytes));
    let rest = rest.strip_prefix(b"\r\n")?;
    let (name, value) = line.split_at(name_run(line));
    let value = value.strip_prefix(b":")?;
    if name.is_empty() {
        return None;
    }
    let Some(watched) = Watched::of(name) else {
        return Some(rest);
    };
    facts.begin(watched).ok()?;
    match (watched, trim(value)) {
        (Watched::Host, host) if !host.is_empty() && run(host, HOST_PLAIN) == host.len() => {}
        (Watched::Connection, b"keep-alive" | b"close") => {}
        (watched, value) => read_value(watched, value, facts)?,
    }
    Some(rest)
}

#[inline(never)]
fn read_value(watched: Watched, value: &[u8], facts: &mut HeadFacts) -> Option<()> {
    let mut scan = ValueScan::of(Some(watched));
    for byte in value {
        scan.push(*byte, facts).ok()?;
    }
    scan.finish(facts).ok()
}

#[inline]
fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_space(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(*last)
    {
        value = rest;
    }
    value
}
