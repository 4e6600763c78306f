//! The server as tests hold it.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::Error;
use crate::container::Storage;
use crate::fault::RequestFault;
use crate::job::JobView;
use crate::listen::Socket;
use crate::patients::Patients;
use crate::record::{Listener, Request};
use crate::routes::Door;
use crate::script::Script;
use crate::tls::TestCa;
use crate::token::Access;
use crate::world::World;

/// How a server starts. The default is an open server on free ports with the checked-in patients and no storage.
#[derive(Debug)]
pub struct Options {
    /// Port for http; 0 is any.
    pub port: u16,
    /// Port for https; 0 is any. There is none without `tls`.
    pub tls_port: u16,
    /// The authority for https.
    pub tls: Option<Arc<TestCa>>,
    /// Who may call.
    pub access: Access,
    /// What jobs do for which no other script is queued.
    pub script: Script,
    /// Scripts queued from the start.
    pub scripts: Vec<Script>,
    /// The resources; `None` is [`Patients::checked_in`].
    pub patients: Option<Patients>,
    /// Where files are written; without one, jobs run and URLs are made up.
    pub storage: Option<Storage>,
    /// The files in the container `anonymization` and their `ETag`s; `None` takes any name.
    pub anonymization_configs: Option<BTreeMap<String, String>>,
    /// The first job id; `None` is any, so that servers which share a storage account do not meet.
    pub first_job: Option<u64>,
    /// How long every answer takes.
    pub latency: Duration,
    /// Whether headers and parameters are checked as Azure does; a server of the specification forgives more.
    pub strict: bool,
    /// Whether `$export` is switched on.
    pub export_enabled: bool,
    /// Whether de-identified export is switched on.
    pub anonymization_enabled: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            tls_port: 0,
            tls: None,
            access: Access::default(),
            script: Script::default(),
            scripts: Vec::new(),
            patients: None,
            storage: None,
            anonymization_configs: None,
            first_job: None,
            latency: Duration::ZERO,
            strict: true,
            export_enabled: true,
            anonymization_enabled: true,
        }
    }
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    world: Arc<World>,
    port: u16,
    fhir: Option<Socket>,
    tls: Option<Socket>,
    foreign: Socket,
}

impl Server {
    /// Starts on 127.0.0.1, within the caller's runtime.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let (port, tls_port, ca) = (options.port, options.tls_port, options.tls.clone());
        let world = Arc::new(World::new(options)?);
        let door = |listener| Arc::new(Door { world: Arc::clone(&world), listener });
        let fhir = Socket::open(port, None, door(Listener::Fhir)).await?;
        let foreign = Socket::open(0, None, door(Listener::Foreign)).await?;
        let tls = match ca {
            Some(ca) => Some(Socket::open(tls_port, Some(ca.acceptor()?), door(Listener::FhirTls)).await?),
            None => None,
        };
        // Nobody has set it before.
        let _ = world.foreign.set(format!("http://{}", foreign.address));
        let port = fhir.address.port();
        Ok(Self { world, port, fhir: Some(fhir), tls, foreign })
    }

    /// The base URL over http, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The base URL over https; the certificate is for this name and for 127.0.0.1.
    pub fn tls_url(&self) -> Option<String> {
        self.tls.as_ref().map(|socket| format!("https://localhost:{}", socket.address.port()))
    }

    /// A host that is not the server: it records everything and must never see a token.
    pub fn foreign_url(&self) -> String {
        format!("http://{}", self.foreign.address)
    }

    /// Queues a script for the next matching kick-off.
    pub fn script(&self, script: Script) {
        self.world.scripts().push(script);
    }

    /// Queues a fault for the next matching requests.
    pub fn fault(&self, fault: RequestFault) {
        self.world.faults().push(fault);
    }

    /// Takes back all scripts and request faults that are still queued; running jobs keep theirs.
    pub fn clear(&self) {
        self.world.scripts().clear();
        self.world.faults().clear();
    }

    /// Takes back the request faults that are still queued; scripts stay.
    pub fn clear_faults(&self) {
        self.world.faults().clear();
    }

    /// Changes who may call.
    pub fn set_access(&self, access: Access) {
        *self.world.access() = access;
    }

    /// Changes the script of a running job: to end one that is stuck, to make a good one fail.
    pub fn rescript(&self, job: &str, change: impl FnOnce(&mut Script)) {
        if let Some(job) = self.world.jobs().get_mut(job) {
            change(&mut job.script);
        }
    }

    /// Forgets a job, as the service does when its record expires.
    pub fn forget(&self, job: &str) {
        self.world.jobs().remove(job);
    }

    /// The resources, to change them while the server runs.
    pub fn patients(&self) -> MutexGuard<'_, Patients> {
        self.world.patients()
    }

    /// All requests so far, in order of arrival, of all listeners.
    pub fn requests(&self) -> Vec<Request> {
        self.world.requests().clone()
    }

    /// How many kick-offs came so far, refused ones included.
    pub fn kick_offs(&self) -> usize {
        self.world.requests().iter().filter(|request| request.is_kick_off()).count()
    }

    /// All jobs so far, the oldest first.
    pub fn jobs(&self) -> Vec<JobView> {
        self.world.views()
    }

    /// A job by its id.
    pub fn job(&self, id: &str) -> Option<JobView> {
        self.world.jobs().get(id).map(|job| job.view.clone())
    }

    /// Requests that brought a token to the foreign host; must be none.
    pub fn leaked_tokens(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|r| r.listener == Listener::Foreign && r.authorized).collect()
    }

    /// Closes the http socket and its connections: the server is down. Jobs go on.
    pub fn down(&mut self) {
        self.fhir = None;
    }

    /// Opens it again on the same port.
    pub async fn up(&mut self) -> Result<(), Error> {
        let door = Arc::new(Door { world: Arc::clone(&self.world), listener: Listener::Fhir });
        self.fhir = Some(Socket::open(self.port, None, door).await?);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.world.writers().abort_all();
    }
}
