//! Deployments and tours of the real shop. Its instances are this test program itself, in another role.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_config::{AccessLog, Config};
use cloakroom_drill::narrate::{self, Colour};
use cloakroom_drill::{
    Deployment, DeploymentError, DeploymentSettings, Design, Notice, Shopper, Step, TourError, TourEvent, TourSettings,
    Verdict, tour,
};
use cloakroom_session::key_ring::SECRET_BYTES;
use cloakroom_session::{KeyRing, Timestamp};
use cloakroom_shop::ShopSettings;
use cloakroom_store::memory::MemoryStore;
use cloakroom_supervise::{Output, Settings};

/// Tells this program that it is an instance of the shop.
const ROLE: &str = "CLOAKROOM_TEST_ROLE";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An instance of the shop, where another test started it as such.
#[tokio::test]
async fn shop_instance() {
    if std::env::var_os(ROLE).is_some() {
        let settings = ShopSettings::from_environment(|name| std::env::var(name).ok()).unwrap();
        cloakroom_shop::serve(settings).await.unwrap();
    }
}

fn command() -> Vec<OsString> {
    let own = std::env::current_exe().unwrap().into();
    vec![own, "shop_instance".into(), "--exact".into()]
}

fn environment(design: &str) -> Vec<(OsString, OsString)> {
    vec![(ROLE.into(), "shop".into()), ("SHOP_SESSIONS".into(), design.into())]
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn deployment_settings(command: Vec<OsString>) -> DeploymentSettings {
    let mut instances = Settings::new(command, count(2));
    instances.environment = environment("gateway");
    instances.output = Output::Discard;
    instances.backoff_min = Duration::from_millis(20);
    let any_port = ([127, 0, 0, 1], 0).into();
    let mut config = Config::single_pool(vec![any_port], Vec::new());
    config.gateway.admin = Some(any_port);
    config.gateway.access_log = AccessLog::Off;
    config.gateway.workers = Some(count(1));
    let ring = KeyRing::generate(&[7; 2 * SECRET_BYTES], Timestamp::from_millis(1));
    let keys = KeyRing::parse(&ring).unwrap();
    DeploymentSettings { instances, config, keys, store: Some(Arc::new(MemoryStore::new())) }
}

fn tour_settings(users: usize, instances: usize, seed: u64) -> TourSettings {
    TourSettings {
        command: command(),
        launcher: Vec::new(),
        environment: vec![(ROLE.into(), "shop".into())],
        output: Output::Discard,
        instances: count(instances),
        users: count(users),
        seed,
        store: Arc::new(MemoryStore::new()),
    }
}

/// Polls the gateway until an instance (from 0) is in this state; each poll is a request, so that no time is slept.
async fn await_state(deployment: &Deployment, slot: usize, state: &str, incarnation: u32) {
    let reached = async {
        loop {
            let status = deployment.admin().unwrap().status().await.unwrap();
            let instance = &status.pools[0].instances[slot];
            if instance.state == state && instance.incarnation == incarnation {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("instance {slot} never was {state}"));
}

/// A gateway that nobody tells of a crash, or of the process that came after it, sends users to nobody, or to one
/// instance for ever.
#[tokio::test]
async fn the_gateway_learns_what_becomes_of_instances() {
    let deployment = Deployment::start(deployment_settings(command())).await.unwrap();
    assert_eq!((deployment.instance_count(), deployment.pool()), (2, "default"));
    let mut shopper = Shopper::new("ann".to_owned(), deployment.address());
    for step in [Step::LogIn, Step::Put { product: "mug", quantity: 2 }, Step::Look] {
        let visit = shopper.take(&step).await;
        assert_eq!(visit.notices, [], "{step:?}");
    }

    await_state(&deployment, 0, "up", 1).await;
    let first = deployment.pid(0).unwrap();
    deployment.kill(0).unwrap();
    await_state(&deployment, 0, "up", 2).await;
    assert_ne!(deployment.pid(0), Some(first));

    deployment.drain(0).await.unwrap();
    await_state(&deployment, 0, "draining", 2).await;
    for _ in 0..4 {
        let visit = shopper.take(&Step::Look).await;
        assert_eq!((visit.instance, visit.notices), (Some(2), Vec::new()));
    }
    deployment.undrain(0).await.unwrap();
    await_state(&deployment, 0, "up", 2).await;
    assert!(deployment.drain(2).await.unwrap_err().to_string().contains("no such instance"));

    let address = deployment.address();
    deployment.stop().await;
    let visit = shopper.take(&Step::Look).await;
    assert!(matches!(visit.notices[..], [Notice::Failed { .. }]), "{address} still serves: {visit:?}");
}

/// A mistyped port variable in somebody's server would otherwise end in half a minute of silence.
#[tokio::test]
async fn a_program_that_ends_before_it_listens_is_named() {
    let error = Deployment::start(deployment_settings(vec!["false".into()])).await.map(drop).unwrap_err();
    assert!(matches!(error, DeploymentError::KeepsEnding { times: 4, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("ended 4 times before it listened on its PORT (exit status: 1)"), "{text}");
}

#[tokio::test]
async fn a_tour_that_cannot_be_played_is_refused() {
    let lonely = tour(tour_settings(1, 1, 1), &mut |_| {}).await;
    assert!(matches!(lonely, Err(TourError::TooFewInstances)));
    let crowded = tour(tour_settings(257, 2, 1), &mut |_| {}).await;
    assert!(matches!(crowded, Err(TourError::TooManyUsers)));
}

/// The promise itself: with sessions in the gateway's store nobody notices a kill or a drain, and the same checks do
/// notice what the other two designs lose.
#[tokio::test]
async fn the_external_design_loses_nothing_and_the_others_do() {
    let mut told = String::new();
    let mut killed = Vec::new();
    let mut narrator = |event: TourEvent| {
        if let TourEvent::Killed { pid, .. } = event {
            killed.push(pid.unwrap());
        }
        told.push_str(&narrate::line(&event, Colour::Plain));
        told.push('\n');
    };
    let report = tour(tour_settings(6, 3, 42), &mut narrator).await.unwrap();
    told.push_str(&narrate::table(&report, Colour::Plain));
    let notices: Vec<_> = report.designs.iter().map(|design| &design.notices).collect();
    assert_eq!(report.verdict(), Verdict::Passed, "{told}\n{notices:#?}");
    assert_eq!(killed.len(), 3);

    let external = report.of(Design::External).unwrap();
    assert!(external.requests > 100 && external.retries > 0, "{told}");
    let in_process = report.of(Design::InProcess).unwrap();
    assert_eq!(in_process.losses.signed_out, 6, "{told}");
    let sticky = report.of(Design::Sticky).unwrap();
    assert!((1..6).contains(&sticky.losses.signed_out), "{told}\n{notices:#?}");
    println!("{told}");
}
