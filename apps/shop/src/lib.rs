//! The demonstration application behind the gateway: a small shop, so that a visitor can see with
//! their own eyes what a design of sessions does to a log-in and a cart.
//!
//! The same shop runs in two designs ([`SessionDesign`]):
//!
//! - **Memory**: sessions live in this process, under the shop's own cookie `shop_session`. A second
//!   instance knows nothing of them, and a restart forgets them.
//! - **Gateway**: sessions live in the gateway. Each request brings the session in the header
//!   `Cloakroom-Session`; the answer carries what changed (`Cloakroom-Session-Patch`,
//!   `Cloakroom-Session-Login`, `Cloakroom-Session-End`). Any instance serves anybody.
//!
//! Every answer names its instance in `X-Instance`. The page works without scripts (plain form posts,
//! 303 back to `/`) and, with them, through this JSON API:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /api/me` | `{"user":"alice","cart":{"espresso":2},"instance":"2","design":"external"}` |
//! | `POST /api/login` `{"name","password"}` | the same object; 401 wrong password, 400 bad name |
//! | `POST /api/logout` | the same object, of nobody |
//! | `PUT /api/cart/{product}` `{"quantity":0..=99}` | the same object; 404 unknown product, 400 bad quantity |
//! | `DELETE /api/cart/{product}` | the same object |
//! | `GET /api/slow?ms=` | answers after that time, at most ten seconds |
//! | `GET /api/size?bytes=` | streams that many bytes; 400 above 64 MiB |
//! | `GET /health` | `ok` |
//!
//! Answers show the state *after* the change, computed here, because the gateway commits only once
//! it has seen the answer.
//!
//! A session header that cannot be believed is answered with 500 and a plain reason, and told to
//! standard error once: a gateway that signs with the wrong key or for another pool is a fault of
//! the installation, and serving such a visitor as "nobody" would look like a lost session. Keys
//! that cannot be fetched are 503 with `Retry-After`, since the next try may well succeed.

mod catalogue;
mod drills;
mod forms;
mod gateway_session;
mod json_api;
mod jwks;
mod memory_session;
mod page;
mod problem;
mod server;
mod session;
mod settings;

pub use server::{ShopError, serve, serve_on};
pub use settings::{SessionDesign, SettingsError, ShopSettings, Verification};
