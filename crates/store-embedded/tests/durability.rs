//! What was acknowledged is there after the process was killed, after a clean end, and after the journal lost its tail.
#![expect(clippy::unwrap_used, reason = "a failed step ends the test")]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cloakroom_session::{Delta, FieldName, FieldValue, Lifetimes, Principal, Record, StoreKey, Timestamp};
use cloakroom_store::{
    CommitOutcome, CommitRequest, CreateOutcome, CreateRequest, PrincipalIndex as _, RotateRequest, SessionStore as _,
};
use cloakroom_store_embedded::{EmbeddedStore, OpenError, Settings, Sync};

/// Names the directory to the child that is going to be killed.
const CHILD_DIRECTORY: &str = "CLOAKROOM_TEST_KILLED_WRITER";
const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);

fn settings(sync: Sync) -> Settings {
    Settings { sync, clock: Arc::new(|| NOW), ..Settings::default() }
}

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path, settings(Sync::Disk)).unwrap()
}

fn key(number: u64) -> StoreKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    StoreKey::from_bytes(bytes)
}

fn number_field(number: u64) -> Delta {
    let mut delta = Delta::default();
    delta.set(FieldName::new("number").unwrap(), FieldValue::parse(&number.to_string()).unwrap());
    delta
}

/// Creates a session and sets its field; both are acknowledged when it returns.
async fn write(store: &EmbeddedStore, number: u64, principal: Option<&Principal>) {
    let mut record = Record::begin(NOW, &Lifetimes::default());
    if let Some(principal) = principal {
        record = record.with_principal(principal.clone(), 0, NOW);
    }
    let outcome = store.create(CreateRequest { key: key(number), record }).await.unwrap();
    assert!(matches!(outcome, CreateOutcome::Created(_)));
    let delta = number_field(number);
    let request = CommitRequest { key: key(number), delta, expected_revision: None, payload_bytes_max: 1000, now: NOW };
    assert!(matches!(store.commit(request).await.unwrap(), CommitOutcome::Committed(_)));
}

async fn number_of(store: &EmbeddedStore, number: u64) -> Option<String> {
    let loaded = store.load(&key(number), NOW).await.unwrap()?;
    let field = loaded.record.field(&FieldName::new("number").unwrap());
    Some(field.map_or_else(String::new, |value| value.as_json().to_owned()))
}

/// A restart that signs users out, or in again.
#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/store");
    let (alice, bob) = (Principal::parse(b"alice").unwrap(), Principal::parse(b"bob").unwrap());
    let store = open(&path);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    write(&store, 1, Some(&alice)).await;
    write(&store, 2, Some(&bob)).await;
    write(&store, 3, None).await;
    write(&store, 4, None).await;
    let grace = Duration::from_secs(15);
    let delta = Delta::default();
    let request =
        RotateRequest { old: key(3), new: key(30), login: None, delta, grace, payload_bytes_max: 1000, now: NOW };
    store.rotate(request).await.unwrap();
    store.end(&key(4), NOW).await.unwrap();
    assert_eq!(store.end_all(&bob, None, NOW).await.unwrap(), 1);
    store.close().await.unwrap();
    drop(store);

    let store = open(&path);
    assert_eq!(store.session_count().await.unwrap(), 3);
    assert_eq!(number_of(&store, 1).await.as_deref(), Some("1"));
    assert_eq!(store.sessions_of(&alice, None, 10).await.unwrap().len(), 1);
    assert_eq!(store.load(&key(3), NOW).await.unwrap().unwrap().key, key(30));
    assert_eq!(number_of(&store, 4).await, None);
    assert_eq!(store.load(&key(2), NOW).await.unwrap().unwrap().principal_epoch, 1);
    assert_eq!(store.end_all(&bob, None, NOW).await.unwrap(), 2);
}

/// Two gateways on one directory would each cache what the other changes, and damage the journal.
#[test]
fn a_second_gateway_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let error = EmbeddedStore::open(directory.path(), Settings::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains("one gateway process") && text.contains("redis://"), "{text}");
    drop(first);
    drop(open(directory.path()));
}

/// A mistyped path must neither be taken over nor be reported as a fault of the disk.
#[test]
fn directories_that_are_no_store_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let error = |path: &Path| EmbeddedStore::open(path, Settings::default()).unwrap_err();
    let file = directory.path().join("file");
    std::fs::write(&file, "notes").unwrap();
    assert!(matches!(error(&file), OpenError::NotADirectory { .. }));
    assert!(matches!(error(&file.join("below")), OpenError::NotADirectory { .. }));
    assert!(matches!(error(directory.path()), OpenError::Foreign { .. }));
    let newer = directory.path().join("newer");
    std::fs::create_dir(&newer).unwrap();
    std::fs::write(newer.join("FORMAT"), "cloakroom-embedded 2\n").unwrap();
    assert!(matches!(error(&newer), OpenError::NewerFormat { found: 2, .. }));
    assert!(!newer.join("data").exists());
    // Permissions do not bind the superuser.
    if directory.path().metadata().unwrap().uid() != 0 {
        let locked = directory.path().join("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
        assert!(matches!(error(&locked), OpenError::NotPermitted { .. }));
    }
}

/// Not a test of its own: what the next test runs as a child and kills. Prints each number once it is acknowledged.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let sync = if directory.as_encoded_bytes().ends_with(b"os") { Sync::Os } else { Sync::Disk };
    let store = Arc::new(EmbeddedStore::open(Path::new(&directory), settings(sync)).unwrap());
    let first = runtime.block_on(store.session_count()).unwrap();
    runtime.block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for lane in 0..8 {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                for step in 0.. {
                    let number = (first + step) * 8 + lane;
                    write(&store, number, None).await;
                    // One write to the pipe each: what the parent has read was acknowledged before the kill.
                    std::io::stdout().lock().write_all(format!("kept {number}\n").as_bytes()).unwrap();
                }
            });
        }
        writers.join_next().await
    });
}

/// A process that is killed in the middle of a write must lose nothing that users were told is kept.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for name in ["disk", "os"] {
        let path = directory.path().join(name);
        let mut kept = Vec::new();
        // Each round kills the child at another point of its work, and opens what the rounds before left.
        for lines_until_kill in [1, 50, 333, 1000, 2500] {
            kept.extend(kill_after(&path, lines_until_kill));
            let store = open(&path);
            for number in &kept {
                assert_eq!(runtime.block_on(number_of(&store, *number)), Some(number.to_string()), "{name}");
            }
            let count = runtime.block_on(store.session_count()).unwrap();
            assert!(count >= kept.len() as u64, "{count} sessions are counted, {} are known", kept.len());
        }
        assert!(kept.len() >= 3884);
    }
}

/// Starts the child, kills it after so many acknowledgements, and answers all that were read.
fn kill_after(path: &Path, lines: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut kept, mut line) = (Vec::new(), String::new());
    while output.read_line(&mut line).unwrap() > 0 {
        // The line of the test harness may stand before the first number; a last line may be cut short by the kill.
        let number =
            line.strip_suffix('\n').and_then(|line| line.rsplit_once("kept ")).map(|(_, number)| number.parse::<u64>());
        kept.extend(number.map(Result::unwrap));
        line.clear();
        if kept.len() == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    kept
}

/// The newest journal file.
fn journal(path: &Path) -> PathBuf {
    let files = std::fs::read_dir(path.join("data")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).max().unwrap()
}

/// Where the journal's data ends: the file is longer, and zero from there on.
fn journal_end(journal: &Path) -> u64 {
    let mut bytes = Vec::new();
    std::fs::File::open(journal).unwrap().read_to_end(&mut bytes).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// A power failure leaves half a write at the journal's end. Whatever is cut off, what is left must be whole groups from
/// the beginning on, or the store must say why it can't be opened.
#[test]
fn a_torn_tail_leaves_a_prefix_or_a_clear_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut opened, mut refused) = (0, 0);
    for (round, cut) in [1, 2, 7, 19, 64, 150, 333, 1000, 2222].into_iter().enumerate() {
        for is_zeroed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path());
            for number in 0..20 {
                runtime.block_on(write(&store, number, None));
            }
            runtime.block_on(store.close()).unwrap();
            drop(store);
            tear(&journal(directory.path()), cut, is_zeroed);
            match EmbeddedStore::open(directory.path(), settings(Sync::Disk)) {
                Ok(store) => {
                    opened += 1;
                    runtime.block_on(assert_prefix(&store));
                    runtime.block_on(write(&store, 1000 + round as u64, None));
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, OpenError::Database { .. } | OpenError::Malformed { .. }), "{error:?}");
                }
            }
        }
    }
    assert!(opened >= 9 && opened + refused == 18, "{opened} opened, {refused} refused");
}

fn tear(journal: &Path, cut: u64, is_zeroed: bool) {
    let end = journal_end(journal);
    let mut file = OpenOptions::new().write(true).open(journal).unwrap();
    if is_zeroed {
        file.seek(SeekFrom::Start(end - cut)).unwrap();
        file.write_all(&vec![0; cut as usize]).unwrap();
    } else {
        file.set_len(end - cut).unwrap();
    }
}

/// The first so many sessions are whole, the next may lack its field, the rest are not there.
async fn assert_prefix(store: &EmbeddedStore) {
    let mut states = Vec::new();
    for number in 0..20 {
        states.push(match number_of(store, number).await {
            Some(field) if field.is_empty() => 1,
            Some(field) => {
                assert_eq!(field, number.to_string());
                2
            }
            None => 0,
        });
    }
    assert!(states.is_sorted_by(|left, right| left >= right), "not a prefix: {states:?}");
    let kept = states.iter().filter(|state| **state > 0).count() as u64;
    assert_eq!(store.session_count().await.unwrap(), kept);
}
