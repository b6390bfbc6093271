//! The token that the admin listener asks for off loopback.

use std::io;
use std::path::{Path, PathBuf};

use axum::http::HeaderValue;
use zeroize::Zeroizing;

/// Shortest token: 128 bits as hexadecimal digits.
const TOKEN_CHARS_MIN: usize = 32;

/// Why the token can't be used. It never repeats the token.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// The file can't be read.
    #[error("{} can't be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too short to keep anybody out.
    #[error("{} holds a token of {found} characters, at least {TOKEN_CHARS_MIN} are needed", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Characters found.
        found: usize,
    },
}

/// The token, or none where the listener is on loopback.
pub(crate) struct AdminToken(Option<Zeroizing<String>>);

impl AdminToken {
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, AdminTokenError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let text = std::fs::read_to_string(path);
        let text = Zeroizing::new(text.map_err(|source| AdminTokenError::Io { path: path.to_owned(), source })?);
        let token = Zeroizing::new(text.trim().to_owned());
        if token.len() < TOKEN_CHARS_MIN {
            return Err(AdminTokenError::TooShort { path: path.to_owned(), found: token.len() });
        }
        Ok(Self(Some(token)))
    }

    /// Whether the header brings the token. Takes the same time for every wrong one of the right length.
    pub(crate) fn permits(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(token) = &self.0 else { return true };
        let shown = authorization.map(HeaderValue::as_bytes).and_then(|value| value.strip_prefix(b"Bearer "));
        let Some(shown) = shown else { return false };
        shown.len() == token.len()
            && shown.iter().zip(token.as_bytes()).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An admin listener that a wrong token opens drains the fleet for anybody who asks.
    #[test]
    fn only_the_whole_token_opens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        let token = AdminToken::read(Some(&path)).unwrap();
        let permits = |value: &'static str| token.permits(Some(&HeaderValue::from_static(value)));
        assert!(permits("Bearer 0123456789abcdef0123456789abcdef"));
        assert!(!permits("Bearer 0123456789abcdef0123456789abcdee"));
        assert!(!permits("Bearer 0123456789abcdef0123456789abcde"));
        assert!(!permits("Bearer "));
        assert!(!permits("0123456789abcdef0123456789abcdef"));
        assert!(!token.permits(None));
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(AdminToken::read(Some(&path)), Err(AdminTokenError::TooShort { found: 5, .. })));
    }
}
