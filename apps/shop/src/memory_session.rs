//! Sessions in this process's memory: what most applications start with, and what the gateway
//! exists to take them away from. Nothing here outlives the process or is seen by another.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};

use crate::session::{Change, SessionError, Visitor};

/// The most sessions kept at a time; beyond it, the oldest goes.
const SESSIONS_MAX: usize = 10_000;
/// The name of the shop's own cookie.
const COOKIE_NAME: &str = "shop_session";
/// The cookie's value: 128 bits as lower-case hex.
const COOKIE_VALUE_LEN: usize = 32;

/// Sessions by the id in the shop's own cookie. An id that is not here is simply nobody.
#[derive(Debug, Default)]
pub(crate) struct MemorySessions {
    table: Mutex<Table>,
}

impl MemorySessions {
    /// Who sent a request with these headers.
    pub(crate) fn visitor(&self, headers: &HeaderMap) -> Visitor {
        session_id(headers).and_then(|id| self.table().get(id).cloned()).unwrap_or_default()
    }

    /// Carries `change` out at once; a session begins with the first change worth keeping.
    pub(crate) fn change(&self, headers: &HeaderMap, change: &Change) -> Result<(Visitor, HeaderMap), SessionError> {
        // Drawn before the lock is taken, so that no file is read while others wait.
        let fresh_id = random_id().map_err(SessionError::Randomness)?;
        let mut table = self.table();
        let known = session_id(headers).filter(|id| table.get(*id).is_some());
        let mut visitor = known.and_then(|id| table.get(id)).cloned().unwrap_or_default();
        visitor.apply(change);

        let cookie = match (change, known) {
            (Change::LogOut, known) => {
                known.inspect(|id| table.remove(*id));
                Some(removal_cookie())
            }
            // A fresh id at log-in, so that an id planted beforehand gains nothing.
            (Change::LogIn(_), known) => {
                known.inspect(|id| table.remove(*id));
                table.insert(fresh_id, visitor.clone());
                Some(cookie_of(fresh_id))
            }
            (Change::SetQuantity { .. }, Some(id)) => {
                table.replace(id, visitor.clone());
                None
            }
            (Change::SetQuantity { .. }, None) if visitor == Visitor::default() => None,
            (Change::SetQuantity { .. }, None) => {
                table.insert(fresh_id, visitor.clone());
                Some(cookie_of(fresh_id))
            }
        };
        let cookie = cookie.and_then(|text| HeaderValue::try_from(text).ok());
        Ok((visitor, cookie.map(|value| (SET_COOKIE, value)).into_iter().collect()))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A table is whole between its methods, so one left by a panic elsewhere is still sound.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A map that forgets its oldest entry at [`SESSIONS_MAX`].
#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u128, (u64, Visitor)>,
    /// The same ids by when they came; the first is the oldest.
    by_age: BTreeMap<u64, u128>,
    next_age: u64,
}

impl Table {
    fn get(&self, id: u128) -> Option<&Visitor> {
        self.by_id.get(&id).map(|(_, visitor)| visitor)
    }

    fn insert(&mut self, id: u128, visitor: Visitor) {
        if self.by_id.len() >= SESSIONS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_id.remove(&oldest);
        }
        self.by_age.insert(self.next_age, id);
        self.by_id.insert(id, (self.next_age, visitor));
        self.next_age += 1;
    }

    fn replace(&mut self, id: u128, visitor: Visitor) {
        if let Some((_, kept)) = self.by_id.get_mut(&id) {
            *kept = visitor;
        }
    }

    fn remove(&mut self, id: u128) {
        if let Some((age, _)) = self.by_id.remove(&id) {
            self.by_age.remove(&age);
        }
    }
}

/// The id in the shop's cookie; one of another shape than ours counts as absent.
fn session_id(headers: &HeaderMap) -> Option<u128> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    pairs
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, value)| *name == COOKIE_NAME && value.len() == COOKIE_VALUE_LEN)
        .filter(|(_, value)| value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .find_map(|(_, value)| u128::from_str_radix(value, 16).ok())
}

fn random_id() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

fn cookie_of(id: u128) -> String {
    format!("{COOKIE_NAME}={id:032x}; Path=/; HttpOnly; SameSite=Lax")
}

fn removal_cookie() -> String {
    format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map without a bound is memory that any robot can fill.
    #[test]
    fn the_oldest_session_makes_room() {
        let mut table = Table::default();
        let last = SESSIONS_MAX as u128;
        for id in 0..=last {
            table.insert(id, Visitor::default());
        }
        assert!(table.get(0).is_none());
        assert!(table.get(1).is_some() && table.get(last).is_some());
        assert_eq!((table.by_id.len(), table.by_age.len()), (SESSIONS_MAX, SESSIONS_MAX));

        table.remove(1);
        assert_eq!((table.by_id.len(), table.by_age.len()), (SESSIONS_MAX - 1, SESSIONS_MAX - 1));
    }

    #[test]
    fn only_ids_of_our_own_shape_are_looked_up() {
        let read = |line: &str| {
            let headers = [(COOKIE, HeaderValue::try_from(line).unwrap())];
            session_id(&headers.into_iter().collect())
        };
        let id = "000000000000000000000000000000ff";
        assert_eq!(read(&format!("theme=dark; shop_session={id}")), Some(255));
        assert_eq!(read(&format!("xshop_session={id}")), None);
        assert_eq!(read("shop_session=ff"), None);
        assert_eq!(read(&format!("shop_session={}", id.to_uppercase())), None);
        assert_eq!(read("shop_session=+00000000000000000000000000000ff"), None);
    }
}
