//! Makes valid requests of every shape the guard lets through, and spoils them.

use proptest::prelude::*;

/// One valid request.
pub(crate) fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "DELETE", "X-Y!", "connect"]);
    let target = prop::sample::select(vec!["/", "/a/b?c=d%20e", "*", "http://a.example/x", "/[]{}|\\^`\"<>"]);
    let empty_line = prop::sample::select(vec!["", "", "", "\r\n"]);
    (empty_line, method, target, fields(), body()).prop_map(
        |(empty_line, method, target, mut fields, (framing, body))| {
            fields.insert(0, "Host: a.example:80".to_owned());
            let place = body.len() % (fields.len() + 1);
            fields.splice(place..place, framing);
            let mut bytes = format!("{empty_line}{method} {target} HTTP/1.1\r\n").into_bytes();
            for field in fields {
                bytes.extend_from_slice(field.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend(body);
            bytes
        },
    )
}

/// A change to a stream of requests.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static str),
    Remove(prop::sample::Index),
    RepeatLine(prop::sample::Index),
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let byte = prop_oneof![prop::sample::select(b"\r\n\t :;,0\0\x0b5aZ\x80".to_vec()), any::<u8>()];
    let text = prop::sample::select(vec![
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ";",
        ",",
        "0",
        "\r\n\r\n",
        "\r\n ",
        "\x7f",
        "\r\nContent-Length: 3",
        "\r\nTransfer-Encoding: chunked",
        "\r\nTransfer-Encoding: gzip",
        "\r\nHost: b",
        "\r\nUpgrade: x",
        "\r\nConnection: upgrade",
        "GET / HTTP/1.1\r\nHost: c\r\n\r\n",
        " HTTP/1.1",
        "1;x\r\n",
    ]);
    prop_oneof![
        (any::<prop::sample::Index>(), byte).prop_map(|(index, byte)| Edit::Replace(index, byte)),
        (any::<prop::sample::Index>(), text).prop_map(|(index, text)| Edit::Insert(index, text)),
        any::<prop::sample::Index>().prop_map(Edit::Remove),
        any::<prop::sample::Index>().prop_map(Edit::RepeatLine),
    ]
}

pub(crate) fn apply(stream: &mut Vec<u8>, edit: &Edit) {
    let length = stream.len();
    if length == 0 {
        return;
    }
    match edit {
        Edit::Replace(index, byte) => stream[index.index(length)] = *byte,
        Edit::Insert(index, text) => {
            let at = index.index(length);
            stream.splice(at..at, text.bytes());
        }
        Edit::Remove(index) => {
            stream.remove(index.index(length));
        }
        Edit::RepeatLine(index) => {
            let at = index.index(length);
            let start = stream[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
            let end = stream[at..].iter().position(|byte| *byte == b'\n').map_or(stream.len(), |place| at + place + 1);
            let line = stream[start..end].to_vec();
            stream.splice(end..end, line);
        }
    }
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    let field = prop_oneof![
        "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,24}x:[ \\t]{0,2}[!-~é]{0,40}[ \\t]{0,2}",
        Just("Connection: keep-alive , close".to_owned()),
        Just("Cookie: a=b; c=\"d\"".to_owned()),
        Just("Upgrade: h2c".to_owned()),
    ];
    prop::collection::vec(field, 0..5)
}

/// The field that frames a body, if there is one, and the body.
fn body() -> impl Strategy<Value = (Option<String>, Vec<u8>)> {
    let data = prop::collection::vec(any::<u8>(), 0..48);
    prop_oneof![
        Just((None, Vec::new())),
        data.clone().prop_map(|data| (Some(format!("content-Length:{} ", data.len())), data)),
        (prop::collection::vec((data, extension()), 0..4), extension(), trailers()).prop_map(
            |(chunks, last_extension, trailers)| {
                let mut bytes = Vec::new();
                for (data, extension) in chunks.iter().filter(|(data, _)| !data.is_empty()) {
                    bytes.extend_from_slice(format!("{:03X}{extension}\r\n", data.len()).as_bytes());
                    bytes.extend_from_slice(data);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(format!("0{last_extension}\r\n{trailers}\r\n").as_bytes());
                (Some("Transfer-Encoding: Chunked".to_owned()), bytes)
            }
        ),
    ]
}

fn extension() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ \\t]{0,2};[ -~\\t]{0,20}"]
}

fn trailers() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "(X-[A-Za-z]{1,22}:[ -~]{0,20}\r\n){1,3}"]
}
