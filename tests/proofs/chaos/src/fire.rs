//! The faults: three independent series, each drawn from the seed, that decide what breaks, when and for how long.

use std::time::Duration;

use azure_fhir::{EntraFault, Fault, On, RequestFault};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use stage::{Kubernetes, Manner};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Result;
use crate::operator::Fleet;
use crate::plan::{Bag, Plan, Site};
use crate::servers::Servers;
use crate::stores::Stores;
use crate::tally::Tally;
use stage::say;

/// How far clocks jump, in seconds: an hour ahead, half an hour back.
const JUMPS: [i64; 2] = [3600, -1800];
const KICK_OFF_WITHIN: Duration = Duration::from_secs(4);

/// All parts that can be broken.
#[derive(Debug)]
pub struct Fire<'a> {
    /// The FHIR servers and their relays.
    pub servers: &'a Servers,
    /// The stores, with the relays before them.
    pub stores: &'a Stores,
    /// The operator's processes.
    pub fleet: &'a Mutex<Fleet>,
    /// Locked while the API server must not be restarted.
    pub unbroken: &'a Mutex<()>,
    /// Counts the faults.
    pub tally: &'a Tally,
    /// When the faults began.
    pub started: Instant,
    /// When the faults end.
    pub until: Instant,
}

#[derive(Debug, Clone, Copy)]
enum OfProcesses {
    Kill,
    KillAtKickOff,
    Pause,
    Rollout,
    ClockJump,
}

#[derive(Debug, Clone, Copy)]
enum OfControlPlane {
    KillApiServer,
    StopApiServer,
    KillEtcd,
    RefuseStorage,
    HangStorage,
}

#[derive(Debug, Clone, Copy)]
enum OfWires {
    Reset,
    Refuse,
    Hang,
    Trickle,
    Truncate,
    Throttle,
    Unavailable,
    Gateway,
    EndTokens,
    NoTokens,
}

impl Fire<'_> {
    fn burns(&self) -> bool {
        Instant::now() < self.until
    }

    fn say(&self, what: &'static str, detail: &str) {
        self.tally.count(what);
        say(&format!("    {:>6.1} s  {what}{detail}", self.started.elapsed().as_secs_f64()));
    }

    /// Waits for a random time in the range, in milliseconds, but not beyond the end.
    async fn wait(&self, dice: &mut StdRng, millis: std::ops::Range<u64>) {
        let until = Instant::now() + Duration::from_millis(dice.random_range(millis));
        sleep_until(until.min(self.until)).await;
    }

    /// Injects faults into the operator's own processes.
    pub async fn processes(&self, plan: &Plan) -> Result<()> {
        let mut dice = StdRng::seed_from_u64(plan.seed.wrapping_add(2));
        let mut bag = Bag::new(&[
            (OfProcesses::Kill, 4),
            (OfProcesses::KillAtKickOff, 4),
            (OfProcesses::Pause, 1),
            (OfProcesses::Rollout, 1),
            (OfProcesses::ClockJump, 1),
        ]);
        while self.burns() {
            self.wait(&mut dice, 2_500..7_000).await;
            self.fleet.lock().await.tend(self.tally)?;
            match bag.draw(&mut dice) {
                _ if !self.burns() => break,
                Some(OfProcesses::Kill) => self.kill("operator killed", &mut dice).await?,
                Some(OfProcesses::KillAtKickOff) => {
                    let before = self.servers.kick_offs();
                    let patience = Instant::now() + KICK_OFF_WITHIN;
                    while self.servers.kick_offs() == before && Instant::now() < patience.min(self.until) {
                        sleep(Duration::from_millis(5)).await;
                    }
                    // Kill it before, while or just after it writes the answer to the status.
                    sleep(Duration::from_millis(dice.random_range(0..25))).await;
                    self.kill("operator killed at a kick-off", &mut dice).await?;
                }
                Some(OfProcesses::Pause) => {
                    self.say("operator paused", "");
                    self.fleet.lock().await.pause().await?;
                    self.wait(&mut dice, 3_000..7_000).await;
                    self.fleet.lock().await.go_on()?;
                }
                Some(OfProcesses::Rollout) => {
                    self.say("two operators in a rollout", "");
                    self.fleet.lock().await.start()?;
                    self.wait(&mut dice, 4_000..9_000).await;
                    if !self.fleet.lock().await.retire().await? {
                        self.say("operator killed at the end of its grace", "");
                    }
                }
                Some(OfProcesses::ClockJump) => {
                    let seconds = JUMPS.choose(&mut dice).copied().unwrap_or_default();
                    self.say("operator's clock jumped", &format!(" by {seconds} s"));
                    self.fleet.lock().await.move_clock(seconds)?;
                    self.wait(&mut dice, 8_000..15_000).await;
                    self.say("operator's clock jumped", " back");
                    self.fleet.lock().await.move_clock(0)?;
                }
                None => break,
            }
        }
        Ok(())
    }

    async fn kill(&self, what: &'static str, dice: &mut StdRng) -> Result<()> {
        self.say(what, "");
        self.fleet.lock().await.kill().await?;
        // Mostly restart it at once, as a kubelet does at first.
        let down = if dice.random_bool(0.7) { 0..300 } else { 1_000..4_000 };
        self.wait(dice, down).await;
        self.fleet.lock().await.start()
    }

    /// Injects faults into the control plane and the stores.
    pub async fn control_plane(&self, kubernetes: &mut Kubernetes, plan: &Plan) -> Result<()> {
        let mut dice = StdRng::seed_from_u64(plan.seed.wrapping_add(3));
        let mut bag = Bag::new(&[
            (OfControlPlane::KillApiServer, 1),
            (OfControlPlane::StopApiServer, 1),
            (OfControlPlane::KillEtcd, 1),
            (OfControlPlane::RefuseStorage, 1),
            (OfControlPlane::HangStorage, 1),
        ]);
        while self.burns() {
            self.wait(&mut dice, 3_000..8_000).await;
            let broken = self.unbroken.lock().await;
            match bag.draw(&mut dice) {
                _ if !self.burns() => break,
                Some(OfControlPlane::KillApiServer) => {
                    self.say("API server killed", "");
                    kubernetes.kill_api_server().await?;
                    kubernetes.start_api_server().await?;
                }
                Some(OfControlPlane::StopApiServer) => {
                    self.say("API server restarted", "");
                    kubernetes.stop_api_server().await?;
                    kubernetes.start_api_server().await?;
                }
                Some(OfControlPlane::KillEtcd) => {
                    self.say("etcd killed", "");
                    kubernetes.kill_etcd().await?;
                    self.wait(&mut dice, 0..6_000).await;
                    kubernetes.start_etcd().await?;
                }
                Some(OfControlPlane::RefuseStorage) => {
                    self.say("storage refused connections", "");
                    self.stores.set(Manner::Refuse);
                    self.wait(&mut dice, 3_000..9_000).await;
                    self.stores.set(Manner::Pass);
                }
                Some(OfControlPlane::HangStorage) => {
                    self.say("storage hung", "");
                    self.stores.set(Manner::Hang);
                    self.wait(&mut dice, 3_000..9_000).await;
                    self.stores.set(Manner::Pass);
                }
                None => break,
            }
            drop(broken);
        }
        Ok(())
    }

    /// Injects faults into the connections to the FHIR servers, and into their answers.
    pub async fn wires(&self, plan: &Plan) {
        let mut dice = StdRng::seed_from_u64(plan.seed.wrapping_add(4));
        let mut bag = Bag::new(&[
            (OfWires::Reset, 2),
            (OfWires::Refuse, 1),
            (OfWires::Hang, 1),
            (OfWires::Trickle, 1),
            (OfWires::Truncate, 2),
            (OfWires::Throttle, 2),
            (OfWires::Unavailable, 1),
            (OfWires::Gateway, 1),
            (OfWires::EndTokens, 2),
            (OfWires::NoTokens, 1),
        ]);
        while self.burns() {
            self.wait(&mut dice, 1_500..4_500).await;
            let site = Site::ALL.choose(&mut dice).copied().unwrap_or(Site::Bulk);
            let detail = format!(": {}", site.name());
            let some = dice.random_range(3..12);
            let Some(next) = bag.draw(&mut dice).filter(|_| self.burns()) else { break };
            match next {
                OfWires::Reset => self.relayed(site, "connections reset", Manner::Reset, &mut dice).await,
                OfWires::Refuse => self.relayed(site, "connections refused", Manner::Refuse, &mut dice).await,
                OfWires::Hang => self.relayed(site, "connections hung", Manner::Hang, &mut dice).await,
                OfWires::Trickle => {
                    self.relayed(
                        site,
                        "answers trickled",
                        Manner::Trickle(dice.random_range(50..2_000)),
                        &mut dice,
                    )
                    .await;
                }
                OfWires::Truncate => {
                    let after = dice.random_range(50..5_000);
                    self.relayed(site, "answers truncated", Manner::Truncate(after), &mut dice).await;
                }
                OfWires::Throttle => {
                    self.say("storms of 429", &detail);
                    self.fault(site, On::Any, some * 2, &Fault::Throttled { seconds: 1, millis: 700 });
                }
                OfWires::Unavailable => {
                    self.say("storms of 503", &detail);
                    let outcome = dice.random_bool(0.5);
                    self.fault(site, On::Any, some, &Fault::Unavailable { outcome });
                }
                OfWires::Gateway => {
                    self.say("pages of a gateway", &detail);
                    self.fault(site, On::Status, some.min(5), &Fault::GatewayPage { status: 502 });
                    self.fault(site, On::Status, 2, &Fault::TruncatedBody);
                }
                OfWires::EndTokens => {
                    self.say("tokens ended early", "");
                    self.servers.smart.revoke_tokens();
                    self.fault(Site::Entra, On::Any, 3, &Fault::Unauthorized);
                }
                OfWires::NoTokens => {
                    self.say("token servers failed", "");
                    self.servers.tokens.fail_next([
                        EntraFault::Unavailable,
                        EntraFault::Close,
                        EntraFault::GatewayPage,
                        EntraFault::Throttled(1),
                    ]);
                    self.fault(Site::Smart, On::Token, 3, &Fault::Unavailable { outcome: false });
                }
            }
        }
    }

    async fn relayed(&self, site: Site, what: &'static str, manner: Manner, dice: &mut StdRng) {
        self.say(what, &format!(": {}", site.name()));
        let Some((_, relay)) = self.servers.relays.iter().find(|(of, _)| *of == site) else { return };
        relay.set(manner);
        self.wait(dice, 500..6_000).await;
        relay.set(Manner::Pass);
    }

    fn fault(&self, site: Site, on: On, times: u32, fault: &Fault) {
        let fault = RequestFault::next(on, times, fault.clone());
        match site {
            Site::Azure => self.servers.azure.fault(fault),
            Site::Entra => self.servers.entra.fault(fault),
            Site::Bulk => self.servers.bulk.fault(fault),
            // HAPI's answers cannot be scripted, so its turn goes to this server too.
            Site::Smart | Site::Hapi => self.servers.smart.fault(fault),
        }
    }
}
