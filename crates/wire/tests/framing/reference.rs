//! A second reading of the rules, slow and whole-buffer, with text functions in place of state machines. It knows
//! no names of violations: it says how many heads pass and where the stream goes wrong.

/// What the reference makes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every request is whole and valid, or the last one lacks some of its body.
    Passes { heads: u64 },
    /// The last head lacks its empty line: whether it can still become valid is not judged.
    HeadIncomplete { heads: u64, head_start: usize },
    /// A head is invalid.
    BadHead { heads: u64, head_start: usize },
    /// The framing of a body is invalid, or its trailers are, after a valid head.
    BadBody { heads: u64, body_start: usize },
    /// Bytes follow a request for an upgrade.
    EarlyBytes { heads: u64, start: usize },
}

enum Body {
    None,
    Fixed(u64),
    Chunked,
    Upgrade,
}

pub(crate) fn judge(stream: &[u8]) -> Verdict {
    let (mut heads, mut at) = (0, 0);
    while at < stream.len() {
        let skipped = if stream[at..].starts_with(b"\r\n") { 2 } else { 0 };
        let Some(length) = find(&stream[at + skipped..], b"\r\n\r\n") else {
            return Verdict::HeadIncomplete { heads, head_start: at };
        };
        let Some(body) = read_head(&stream[at + skipped..at + skipped + length]) else {
            return Verdict::BadHead { heads, head_start: at };
        };
        heads += 1;
        at += skipped + length + 4;
        match body {
            Body::None => {}
            Body::Fixed(bytes) => at = stream.len().min(at + usize::try_from(bytes).unwrap().min(stream.len())),
            Body::Upgrade if at < stream.len() => return Verdict::EarlyBytes { heads, start: at },
            Body::Upgrade => {}
            Body::Chunked => match read_chunks(&stream[at..]) {
                Some(Some(taken)) => at += taken,
                Some(None) => return Verdict::Passes { heads },
                None => {
                    return Verdict::BadBody { heads, body_start: at };
                }
            },
        }
    }
    Verdict::Passes { heads }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// One character per byte, so that text functions apply to any byte.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

fn ows(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Splits a section into names in lower case and trimmed values.
fn read_fields(lines: &[&str]) -> Option<Vec<(String, String)>> {
    let read = |line: &&str| {
        let (name, value) = line.split_once(':')?;
        let clean = value.chars().all(|c| c == '\t' || !(c < ' ' || c == '\x7f'));
        (is_token(name) && clean).then(|| (name.to_ascii_lowercase(), ows(value).to_owned()))
    };
    lines.iter().map(read).collect()
}

fn read_head(head: &[u8]) -> Option<Body> {
    let text = latin(head);
    let lines: Vec<&str> = text.split("\r\n").collect();
    let words: Vec<&str> = lines[0].split(' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let visible = !target.is_empty() && target.chars().all(|c| ('!'..='~').contains(&c));
    if !is_token(method) || !visible || !["HTTP/1.0", "HTTP/1.1"].contains(&version) {
        return None;
    }
    let fields = read_fields(&lines[1..])?;
    let values = |name: &str| -> Vec<&str> {
        fields.iter().filter(|field| field.0 == name).map(|field| field.1.as_str()).collect()
    };
    let is_new = version == "HTTP/1.1";
    match values("host")[..] {
        [] if !is_new => {}
        [host] if is_host(host) => {}
        _ => return None,
    }
    let options = values("connection").join(",");
    let options: Vec<&str> = options.split(',').map(ows).collect();
    if !options.iter().all(|option| option.is_empty() || is_token(option)) {
        return None;
    }
    let listed = options.iter().any(|option| option.eq_ignore_ascii_case("upgrade"));
    let upgrade = method == "CONNECT" || (is_new && listed && !values("upgrade").is_empty());
    let body = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => Body::None,
        ([digits], []) if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) => {
            match digits.parse::<i64>().ok()? {
                0 => Body::None,
                length => Body::Fixed(length.unsigned_abs()),
            }
        }
        ([], [coding]) if is_new && coding.eq_ignore_ascii_case("chunked") => Body::Chunked,
        _ => return None,
    };
    match body {
        Body::None if upgrade => Some(Body::Upgrade),
        _ if upgrade => None,
        body => Some(body),
    }
}

fn is_host(host: &str) -> bool {
    let (name_is_valid, rest) = match host.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, rest)) => {
                let valid = address.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
                (valid && !address.is_empty(), rest)
            }
            None => return false,
        },
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let valid = host[..end].chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=".contains(c));
            (valid && end > 0, &host[end..])
        }
    };
    let port = rest.strip_prefix(':').unwrap_or("");
    name_is_valid && (rest.is_empty() || rest.starts_with(':')) && port.chars().all(|c| c.is_ascii_digit())
}

/// `Some(Some(length))` of a whole body, `Some(None)` of a valid beginning, `None` of an invalid one.
fn read_chunks(bytes: &[u8]) -> Option<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(length) = find(&bytes[at..], b"\r\n") else {
            return is_size_line_start(&latin(&bytes[at..])).then_some(None);
        };
        let line = latin(&bytes[at..at + length]);
        let digits = line.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(line.len());
        let (size, extension) = line.split_at(digits);
        if size.is_empty() || size.len() > 16 || !is_extension(extension) {
            return None;
        }
        let size = usize::try_from(i64::from_str_radix(size, 16).ok()?).unwrap();
        at += length + 2;
        if size == 0 {
            return read_trailers(&bytes[at..]).map(|taken| taken.map(|taken| at + taken));
        }
        let data_end = at.saturating_add(size);
        if data_end >= bytes.len() {
            return Some(None);
        }
        let line_end = &bytes[data_end..bytes.len().min(data_end + 2)];
        match line_end {
            b"\r\n" => at = data_end + 2,
            b"\r" => return Some(None),
            _ => return None,
        }
    }
}

fn is_extension(text: &str) -> bool {
    let starts_well = text.is_empty() || ows(text).starts_with(';');
    starts_well && text.chars().all(|c| c == '\t' || (' '..='~').contains(&c))
}

/// Whether a chunk line without its line end can still become valid.
fn is_size_line_start(line: &str) -> bool {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let digits = line.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, extension) = line.split_at(digits);
    let counted = size.is_empty() || (size.len() <= 16 && i64::from_str_radix(size, 16).is_ok());
    let begun = !size.is_empty() || line.is_empty();
    counted && begun && (ows(extension).is_empty() || is_extension(extension))
}

fn read_trailers(bytes: &[u8]) -> Option<Option<usize>> {
    if bytes.starts_with(b"\r\n") {
        return Some(Some(2));
    }
    // Trailers without their end are not judged: the streams that are compared end in a whole section.
    let Some(length) = find(bytes, b"\r\n\r\n") else {
        return Some(None);
    };
    let text = latin(&bytes[..length]);
    let fields = read_fields(&text.split("\r\n").collect::<Vec<_>>())?;
    let forbidden = ["content-length", "transfer-encoding", "host", "connection", "upgrade", "cookie"];
    let is_allowed = |field: &(String, String)| !forbidden.contains(&field.0.as_str());
    fields.iter().all(is_allowed).then_some(Some(length + 4))
}
