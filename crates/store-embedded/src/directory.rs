//! The store's directory: made for its owner alone, locked by one process, and marked with its format.
//!
//! `LOCK` is empty and locked while the store is open; `FORMAT` names the format; `data/` is the storage engine's.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The format of the directory and of the entries in it that this version writes, and the newest it reads.
pub const DIRECTORY_FORMAT: u32 = 1;
const FORMAT_PREFIX: &str = "cloakroom-embedded ";
const LOCK_FILE: &str = "LOCK";
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_DRAFT_FILE: &str = "FORMAT.new";
const DATA_DIRECTORY: &str = "data";

/// A directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Held for its lock, which the system releases when the process ends, however it ends.
    _lock: File,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let error = |source| OpenError::io(path, source);
        if path.exists() && !path.is_dir() {
            return Err(OpenError::NotADirectory { path: path.to_owned() });
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error)?;
        let lock = lock(path)?;
        check_format(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join(DATA_DIRECTORY)
    }
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| OpenError::io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::io(&path, source)),
    }
}

fn check_format(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(FORMAT_FILE);
    let foreign = || OpenError::Foreign { path: directory.to_owned() };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let number = text.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.trim_end().parse().ok());
            match number.ok_or_else(foreign)? {
                DIRECTORY_FORMAT => Ok(()),
                found => Err(OpenError::NewerFormat { path: directory.to_owned(), found, newest: DIRECTORY_FORMAT }),
            }
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            let entries = fs::read_dir(directory).map_err(|source| OpenError::io(directory, source))?;
            let is_ours = |name: &std::ffi::OsStr| name == LOCK_FILE || name == FORMAT_DRAFT_FILE;
            if entries.flatten().any(|entry| !is_ours(&entry.file_name())) {
                return Err(foreign());
            }
            write_format(directory, &path).map_err(|source| OpenError::io(&path, source))
        }
        Err(source) if source.kind() == std::io::ErrorKind::InvalidData => Err(foreign()),
        Err(source) => Err(OpenError::io(&path, source)),
    }
}

/// Written aside and renamed, so that a power failure leaves no half marker.
fn write_format(directory: &Path, path: &Path) -> std::io::Result<()> {
    let draft = directory.join(FORMAT_DRAFT_FILE);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    writeln!(file, "{FORMAT_PREFIX}{DIRECTORY_FORMAT}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}
