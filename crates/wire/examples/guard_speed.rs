//! Prints what the guard costs per request head: `cargo run --release -p cloakroom-wire --example guard_speed`.
#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock; the crate itself has none")]

use std::hint::black_box;
use std::time::Instant;

use cloakroom_wire::{Limits, Refused, RequestGuard};

const HEADS: u32 = 20_000;
const ROUNDS: u32 = 200;

const BROWSER: &[u8] = b"GET /cart?item=42&colour=blue HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Connection: keep-alive\r\n\
Cookie: cloakroom=c2Vzc2lvbi10aWNrZXQtb2YtZm9ydHktdGhyZWUtYnl0ZXM; theme=dark\r\n\
Sec-Fetch-Mode: navigate\r\n\r\n";

const SHORT: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n";

const POST: &[u8] = b"POST /cart HTTP/1.1\r\nHost: shop.example.com\r\nContent-Type: application/json\r\n\
Content-Length: 12\r\n\r\n{\"item\": 42}";

fn main() -> Result<(), Refused> {
    for (name, bytes) in [("browser", BROWSER), ("short", SHORT), ("post with body", POST)] {
        let whole = best_ns_per_head(bytes, bytes.len())?;
        let halves = best_ns_per_head(bytes, bytes.len() / 2)?;
        println!("{name}: {} bytes, whole {whole:.0} ns, in two slices {halves:.0} ns", bytes.len());
    }
    Ok(())
}

fn best_ns_per_head(bytes: &[u8], first_slice_bytes: usize) -> Result<f64, Refused> {
    let (first, second) = bytes.split_at(first_slice_bytes);
    let mut best_ns = f64::MAX;
    for _ in 0..ROUNDS {
        let mut guard = RequestGuard::new(Limits::default());
        let begun = Instant::now();
        for _ in 0..HEADS {
            guard.advance(black_box(first))?;
            if !second.is_empty() {
                guard.advance(black_box(second))?;
            }
        }
        black_box(guard.phase());
        best_ns = best_ns.min(begun.elapsed().as_nanos() as f64 / f64::from(HEADS));
    }
    Ok(best_ns)
}
