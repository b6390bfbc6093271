//! A ticket that reaches an instance ends up in its logs, where anybody who reads them is signed in as its owner; an
//! application's cookie that is lost on the way breaks the application. Clients write `Cookie` as they please, so
//! that stripping must hold for every spelling that a reader would take for ours.

#![no_main]

use cloakroom_session::cookie::{Stripped, values, without};
use libfuzzer_sys::fuzz_target;

const OURS: [&str; 4] = ["cloakroom", "cloakroom-pin", "__Host-cloakroom", "__Host-cloakroom-pin"];

fuzz_target!(|header: &[u8]| {
    let is_ours = |name: &[u8]| OURS.iter().any(|ours| ours.as_bytes() == name);
    let stripped = without(header, is_ours);
    let rest = match &stripped {
        Stripped::Unchanged => header,
        Stripped::Empty => &[],
        Stripped::Rest(rest) => rest.as_slice(),
    };
    for name in OURS {
        assert_eq!(values(rest, name).count(), 0, "{name} survived");
    }
    assert_eq!(without(rest, is_ours), Stripped::Unchanged);
    assert!(rest.len() <= header.len() * 2);

    // An independent reading: split at semicolons, compare what stands before the first equals sign.
    let theirs = pairs(header).filter(|pair| !OURS.iter().any(|ours| ours.as_bytes() == name_of(pair)));
    assert!(theirs.eq(pairs(rest)), "a cookie of the application was lost or changed");
    if let Stripped::Rest(rest) = &stripped {
        assert!(!rest.is_empty());
    }
    for name in OURS {
        let named = pairs(header).filter(|pair| pair.contains(&b'=') && name_of(pair) == name.as_bytes());
        assert_eq!(values(header, name).count(), named.count(), "{name} was not read");
    }
});

fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn name_of(pair: &[u8]) -> &[u8] {
    let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    pair[..end].trim_ascii()
}
