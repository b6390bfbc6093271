//! How one instance is set up. Settings come as a value, and only the binary reads the environment,
//! so that tests run several shops in one process.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::Uri;

/// Where the gateway publishes its keys when nothing else is said.
const JWKS_URL_DEFAULT: &str = "http://127.0.0.1:9400/.well-known/jwks.json";
/// The pool whose tokens are believed when nothing else is said.
const POOL_DEFAULT: &str = "shop";
/// The port on loopback when nothing else is said.
const PORT_DEFAULT: u16 = 4001;
/// The name of an instance that was given none.
const INSTANCE_DEFAULT: &str = "1";

/// How one instance of the shop is set up.
#[derive(Debug, Clone)]
pub struct ShopSettings {
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The name this instance signs every answer with, in `X-Instance`.
    pub instance: String,
    /// Where sessions are kept.
    pub design: SessionDesign,
}

/// Where the shop keeps its sessions.
#[derive(Debug, Clone)]
pub enum SessionDesign {
    /// In this process, under the shop's own cookie.
    Memory,
    /// In the gateway, which sends the session along with each request.
    Gateway {
        /// What makes a session header believable.
        verification: Verification,
    },
}

/// What makes a session header believable.
#[derive(Debug, Clone)]
pub enum Verification {
    /// Nothing: only the gateway can reach this instance. The header is base64url of JSON.
    Trusted,
    /// The gateway's signature: the header is a JWT, signed with Ed25519.
    Jwks {
        /// Where the gateway publishes its keys; plain `http`.
        url: Uri,
        /// The pool the token must be made for.
        audience: String,
    },
}

/// A variable of the environment that says nothing usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}, but must be {expected}")]
pub struct SettingsError {
    /// The name of the variable.
    pub variable: &'static str,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub expected: &'static str,
}

impl ShopSettings {
    /// Reads the settings from the environment, given as a function so that tests need not touch
    /// the real one.
    ///
    /// | variable | meaning | when absent |
    /// | --- | --- | --- |
    /// | `PORT` | port on 127.0.0.1 | 4001 |
    /// | `CLOAKROOM_INSTANCE` | the name of this instance | `1` |
    /// | `SHOP_SESSIONS` | `memory` or `gateway` | `memory` |
    /// | `SHOP_TRUST` | `jwks` or `network` | `jwks` |
    /// | `CLOAKROOM_JWKS` | where the gateway publishes its keys | the admin listener on loopback |
    /// | `CLOAKROOM_POOL` | the pool tokens must be made for | `shop` |
    ///
    /// # Errors
    /// A variable that is set, but to something it cannot be.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let port = match read("PORT") {
            None => PORT_DEFAULT,
            Some(value) => {
                value.parse().map_err(|_| SettingsError { variable: "PORT", value, expected: "a port number" })?
            }
        };
        let design = match read("SHOP_SESSIONS").as_deref() {
            None | Some("memory") => SessionDesign::Memory,
            Some("gateway") => SessionDesign::Gateway { verification: verification(&read)? },
            Some(other) => {
                return Err(SettingsError {
                    variable: "SHOP_SESSIONS",
                    value: other.to_owned(),
                    expected: "memory or gateway",
                });
            }
        };
        Ok(Self {
            listen: (Ipv4Addr::LOCALHOST, port).into(),
            instance: read("CLOAKROOM_INSTANCE").unwrap_or_else(|| INSTANCE_DEFAULT.to_owned()),
            design,
        })
    }
}

fn verification(read: impl Fn(&str) -> Option<String>) -> Result<Verification, SettingsError> {
    match read("SHOP_TRUST").as_deref() {
        Some("network") => Ok(Verification::Trusted),
        None | Some("jwks") => {
            let value = read("CLOAKROOM_JWKS").unwrap_or_else(|| JWKS_URL_DEFAULT.to_owned());
            let url = value.parse::<Uri>().ok().filter(|url| url.scheme_str() == Some("http") && url.host().is_some());
            let url = url.ok_or(SettingsError { variable: "CLOAKROOM_JWKS", value, expected: "an http:// address" })?;
            let audience = read("CLOAKROOM_POOL").unwrap_or_else(|| POOL_DEFAULT.to_owned());
            Ok(Verification::Jwks { url, audience })
        }
        Some(other) => {
            Err(SettingsError { variable: "SHOP_TRUST", value: other.to_owned(), expected: "jwks or network" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ShopSettings, SettingsError> {
        ShopSettings::from_environment(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_is_a_shop_of_its_own() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:4001");
        assert_eq!(settings.instance, "1");
        assert!(matches!(settings.design, SessionDesign::Memory));
    }

    #[test]
    fn the_gateway_design_verifies_unless_told_to_trust() {
        let settings = read(&[("SHOP_SESSIONS", "gateway"), ("PORT", "4002")]).unwrap();
        let SessionDesign::Gateway { verification: Verification::Jwks { url, audience } } = settings.design else {
            panic!("{settings:?}");
        };
        assert_eq!(url, JWKS_URL_DEFAULT);
        assert_eq!(audience, "shop");

        let settings = read(&[("SHOP_SESSIONS", "gateway"), ("SHOP_TRUST", "network")]).unwrap();
        assert!(matches!(settings.design, SessionDesign::Gateway { verification: Verification::Trusted }));
    }

    /// A misspelt value that fell back to a default would run another design than the one measured.
    #[test]
    fn a_misspelt_value_is_refused_by_name() {
        for (variable, value) in [
            ("PORT", "http"),
            ("SHOP_SESSIONS", "gatewya"),
            ("SHOP_TRUST", "none"),
            ("CLOAKROOM_JWKS", "https://gateway/keys"),
            ("CLOAKROOM_JWKS", "/keys"),
        ] {
            let mut pairs = vec![(variable, value)];
            if variable != "SHOP_SESSIONS" {
                pairs.push(("SHOP_SESSIONS", "gateway"));
            }
            assert_eq!(read(&pairs).unwrap_err().variable, variable);
        }
    }
}
