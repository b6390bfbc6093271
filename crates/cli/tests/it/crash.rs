//! The whole demo is killed with SIGKILL in the middle of writing, again and again, and started again on the same
//! directory. Whatever a user was told before must be so after.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http::{Browser, eventually, free_address};

/// How often it is killed; `CLOAKROOM_CRASHES=50` for a long run.
const CRASHES_DEFAULT: usize = 4;
const USERS: usize = 8;
const PRODUCTS: [&str; 3] = ["espresso", "filter", "sencha"];

struct Demo {
    child: Child,
    address: SocketAddr,
}

impl Demo {
    fn start(directory: &Path, address: SocketAddr, admin: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloakroom"))
            .args(["demo", "--listen", &address.to_string(), "--admin", &admin.to_string(), "--store"])
            .arg(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_open = lines.by_ref().map_while(Result::ok).any(|line| line.contains("http://"));
        assert!(is_open, "the demo ended before it was open");
        // The rest must be read, or the demo would block on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, address }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What one user was told, and what they asked for last without being told.
#[derive(Clone, Default)]
struct Memory {
    ticket: Option<String>,
    user: Option<String>,
    cart: BTreeMap<String, u64>,
    /// Tickets that were signed out, and must stay so.
    ended: Vec<String>,
    doubtful: Option<Wish>,
}

#[derive(Clone, Debug)]
enum Wish {
    LogIn(String),
    Put(String, u64),
    LogOut,
}

impl Memory {
    fn learn(&mut self, wish: &Wish) {
        match wish {
            Wish::LogIn(name) => self.user = Some(name.clone()),
            Wish::Put(product, quantity) => drop(self.cart.insert(product.clone(), *quantity)),
            Wish::LogOut => {
                self.user = None;
                self.cart.clear();
            }
        }
    }
}

fn wish(user: usize, step: usize, memory: &Memory) -> Wish {
    match (memory.user.is_some(), step % 7) {
        (false, _) => Wish::LogIn(format!("user-{user}-{step}")),
        (true, 6) => Wish::LogOut,
        (true, _) => Wish::Put(PRODUCTS[step % PRODUCTS.len()].to_owned(), (step % 90 + 1) as u64),
    }
}

/// Uses the shop until it is gone.
fn use_shop(user: usize, address: SocketAddr, mut memory: Memory, acknowledged: &AtomicUsize) -> Memory {
    let mut browser = Browser::new(address);
    browser.ticket = memory.ticket.clone();
    for step in 0.. {
        let wish = wish(user, step, &memory);
        let before = browser.ticket.clone();
        memory.doubtful = Some(wish.clone());
        let sent = match &wish {
            Wish::LogIn(name) => {
                let body = format!(r#"{{"name":"{name}","password":"coat-check"}}"#);
                browser.send("POST", "/api/login", Some(&body))
            }
            Wish::Put(product, quantity) => {
                browser.send("PUT", &format!("/api/cart/{product}"), Some(&format!(r#"{{"quantity":{quantity}}}"#)))
            }
            Wish::LogOut => browser.send("POST", "/api/logout", Some("{}")),
        };
        match sent {
            Ok(answer) if answer.status == 200 => {
                memory.learn(&wish);
                memory.doubtful = None;
                memory.ticket = browser.ticket.clone();
                if matches!(wish, Wish::LogOut | Wish::LogIn(_)) {
                    memory.ended.extend(before);
                }
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            // The instances die with the gateway, and one of them may do so a moment earlier.
            Ok(answer) if answer.status >= 500 => break,
            Ok(answer) => panic!("user {user}: {wish:?} was answered with {answer:?}"),
            Err(_) => break,
        }
    }
    memory
}

/// Compares what the shop says now with what the user was told, and adopts what the doubtful wish turned out to be.
fn check(user: usize, address: SocketAddr, memory: &mut Memory) {
    let mut browser = Browser::new(address);
    for ended in memory.ended.drain(..) {
        browser.ticket = Some(ended);
        let me = browser.send("GET", "/api/me", None).unwrap().json();
        assert_eq!(me["user"], serde_json::Value::Null, "user {user}: an ended session came back");
    }
    browser.ticket = memory.ticket.clone();
    let me = browser.send("GET", "/api/me", None).unwrap().json();
    let seen_user = me["user"].as_str().map(str::to_owned);
    let seen_cart: BTreeMap<String, u64> = serde_json::from_value(me["cart"].clone()).unwrap();
    let told = (memory.user.clone(), memory.cart.clone());
    let mut perhaps = memory.clone();
    let doubtful = memory.doubtful.take();
    if let Some(wish) = &doubtful {
        perhaps.learn(wish);
    }
    // A log-in that was kept and not told has a ticket that nobody knows: the old one is dead, and nothing was promised.
    let is_unknown_login = matches!(doubtful, Some(Wish::LogIn(_))) && seen_user.is_none() && seen_cart.is_empty();
    assert!(
        (seen_user.clone(), seen_cart.clone()) == told
            || (seen_user.clone(), seen_cart.clone()) == (perhaps.user, perhaps.cart)
            || is_unknown_login,
        "user {user} was told {told:?}, asked for {doubtful:?}, and finds {seen_user:?} {seen_cart:?}",
    );
    if seen_user.is_none() {
        memory.ticket = None;
    }
    (memory.user, memory.cart) = (seen_user, seen_cart);
}

#[test]
fn a_kill_in_mid_write_loses_nothing_that_was_acknowledged() {
    let crashes = std::env::var("CLOAKROOM_CRASHES").ok().and_then(|count| count.parse().ok());
    let crashes = crashes.unwrap_or(CRASHES_DEFAULT);
    let directory = tempfile::tempdir().unwrap();
    let (address, admin) = (free_address(), free_address());
    let mut memories = vec![Memory::default(); USERS];
    let mut total = 0;
    for crash in 0..crashes {
        let demo = Demo::start(directory.path(), address, admin);
        for (user, memory) in memories.iter_mut().enumerate() {
            check(user, demo.address, memory);
        }
        let acknowledged = AtomicUsize::new(0);
        let acknowledged = &acknowledged;
        // The kill comes at a count of answers, not at a time, and at another one in each round.
        let enough = 20 + crash * 37 % 113;
        memories = std::thread::scope(|scope| {
            let users: Vec<_> = memories
                .into_iter()
                .enumerate()
                .map(|(user, memory)| scope.spawn(move || use_shop(user, address, memory, acknowledged)))
                .collect();
            eventually("enough answers to kill in the middle of", || acknowledged.load(Ordering::SeqCst) >= enough);
            demo.kill();
            users.into_iter().map(|user| user.join().unwrap()).collect()
        });
        total += acknowledged.load(Ordering::SeqCst);
    }
    let demo = Demo::start(directory.path(), address, admin);
    for (user, memory) in memories.iter_mut().enumerate() {
        check(user, demo.address, memory);
    }
    demo.kill();
    println!("{crashes} kills, {total} acknowledged changes, none lost");
}
