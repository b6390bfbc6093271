//! The key ring's file: read at start, made at first start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cloakroom_session::key_ring::{KeyRing, KeyRingError, SECRET_BYTES};
use rand::TryRng as _;
use zeroize::Zeroizing;

use crate::clock;

/// Largest file that is read as a key ring.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Who may read the file: its owner.
const FILE_MODE: u32 = 0o600;

/// Why there is no key ring.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file can't be read or written.
    #[error("the key ring {} can't be {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key ring {} may be read by others (mode {mode:o}); it signs everybody's session: chmod 600 it, and rotate \
         the keys if somebody may have read them",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no ring.
    #[error("the key ring {} can't be used", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyRingError,
    },
    /// The system's random source failed.
    #[error("the system gave no random bytes for a new key ring")]
    NoRandomness,
}

/// Whether the ring was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Read from its file.
    Read,
    /// Made just now.
    Made,
}

/// Reads the key ring, or makes it where there is none.
///
/// # Errors
/// [`KeysError`]. A ring that others may read is refused: with it anybody signs tokens.
pub fn read_or_make(path: &Path) -> Result<(KeyRing, Origin), KeysError> {
    match read(path) {
        Ok(ring) => Ok((ring, Origin::Read)),
        Err(KeysError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            // Of two gateways that start at once, one makes the file and both read it.
            read(path).map(|ring| (ring, Origin::Made))
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<KeyRing, KeysError> {
    let failed = |source| KeysError::Io { path: path.to_owned(), doing: "read", source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(KeysError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it is too large")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    KeyRing::parse(&text).map_err(|source| KeysError::Invalid { path: path.to_owned(), source })
}

/// Writes a new ring beside its place and links it there, so that nobody ever reads half of one, and of two makers the
/// first one's stays.
fn make(path: &Path) -> Result<(), KeysError> {
    let failed = |source| KeysError::Io { path: path.to_owned(), doing: "written", source };
    let mut entropy = Zeroizing::new([0; 2 * SECRET_BYTES]);
    rand::rngs::SysRng.try_fill_bytes(entropy.as_mut_slice()).map_err(|_| KeysError::NoRandomness)?;
    let text = KeyRing::generate(&entropy, clock::system_time());
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    // The draft is removed whatever happened; the error that counts is the one above.
    let _ = fs::remove_file(&draft);
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A ring that is made anew at every start signs everybody out at every deploy.
    #[test]
    fn a_ring_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloakroom.keys");
        let (first, origin) = read_or_make(&path).unwrap();
        assert_eq!(origin, Origin::Made);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let (second, origin) = read_or_make(&path).unwrap();
        assert_eq!(origin, Origin::Read);
        assert_eq!(first.public_keys(), second.public_keys());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read_or_make(&path), Err(KeysError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_damaged_ring_is_an_error_and_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloakroom.keys");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read_or_make(&path), Err(KeysError::Invalid { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }
}
