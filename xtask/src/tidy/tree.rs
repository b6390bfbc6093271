//! The tracked files and the members of the workspace, read once for all checks, or made up by a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Package};

/// What the checks look at.
pub(super) struct Tree {
    /// Absolute.
    pub(super) root: PathBuf,
    pub(super) files: Vec<SourceFile>,
    pub(super) packages: Vec<Package>,
}

/// A text file of the repository.
pub(super) struct SourceFile {
    /// Relative to the root, with `/` between its parts.
    pub(super) path: String,
    pub(super) text: String,
}

impl SourceFile {
    /// The extension, or nothing.
    pub(super) fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }

    /// The lines with their numbers, counted from one.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

impl Tree {
    /// Reads the files that git tracks, and those that it would track if they were added: a new file should fail
    /// before it is committed, not after.
    pub(super) fn read() -> Result<Self> {
        let root = workspace::root();
        let mut files = Vec::new();
        for path in listed_files(&root)? {
            // A file that is deleted but still in the index is no business of ours, and a file that is no text neither.
            let Ok(bytes) = std::fs::read(root.join(&path)) else {
                continue;
            };
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if !text.contains('\0') {
                files.push(SourceFile { path, text });
            }
        }
        Ok(Self { files, packages: workspace::metadata()?.packages, root })
    }

    /// The Rust files.
    pub(super) fn rust_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.extension() == "rs")
    }

    /// One file.
    pub(super) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// A tree of a test: paths and texts, no packages.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { root: PathBuf::from("/w"), files: files.iter().map(file).collect(), packages: Vec::new() }
    }
}

fn listed_files(root: &Path) -> Result<Vec<String>> {
    // Build machines often check out as one user and build as another; git would then refuse even to list the files.
    let safe_directory = format!("safe.directory={}", root.display());
    let output = Command::new("git")
        .current_dir(root)
        .args(["-c", &safe_directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot start git, which knows the files of the repository")?;
    if !output.status.success() {
        bail!("`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}
