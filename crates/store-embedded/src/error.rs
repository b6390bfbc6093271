//! Why a directory can't be opened as a store.

use std::io;
use std::path::{Path, PathBuf};

/// Why a directory can't be opened as a store. Nothing of it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error(
        "{path} is in use: an embedded store serves one gateway process; \
         a shared store (redis://, postgres://, mysql://) serves several", path = path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The path names something else.
    #[error("{path} is not a directory", path = path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The process may not read or write it.
    #[error("no permission to use {path}", path = path.display())]
    NotPermitted {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Written by a newer version.
    #[error("{path} has format {found}, this version reads up to {newest}", path = path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this version reads.
        newest: u32,
    },
    /// There is something in the directory, but it does not say that it is a store.
    #[error("{path} is not empty and not an embedded store", path = path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{path} can't be read or written", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database in it can't be opened.
    #[error("the database in {path} can't be opened", path = path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// What the storage engine says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An entry of the store's own books is malformed.
    #[error("the {what} of the database in {path} can't be read", path = path.display())]
    Malformed {
        /// The directory.
        path: PathBuf,
        /// Which entry.
        what: &'static str,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { path, source },
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { path, source },
        }
    }
}
