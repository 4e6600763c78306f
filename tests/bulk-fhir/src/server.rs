//! The server as tests hold it.

use std::sync::{Arc, MutexGuard};

use azure_fhir::listen::Socket;
use azure_fhir::{Listener, Patients, Request, RequestFault};

use crate::Error;
use crate::access::Access;
use crate::expected::Expected;
use crate::job::{Job, JobView};
use crate::options::{Options, Quirks};
use crate::routes::{BASE, Door};
use crate::script::Script;
use crate::world::World;

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    world: Arc<World>,
    port: u16,
    fhir: Option<Socket>,
    tls: Option<Socket>,
    foreign: Socket,
    foreign_tls: Option<Socket>,
}

impl Server {
    /// Starts on 127.0.0.1, within the caller's runtime.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let (port, tls_port, ca) = (options.port, options.tls_port, options.tls.clone());
        let world = Arc::new(World::new(options)?);
        let door = |listener, tls| Arc::new(Door { world: Arc::clone(&world), listener, tls });
        let fhir = Socket::open(port, None, door(Listener::Fhir, false)).await?;
        let foreign = Socket::open(0, None, door(Listener::Foreign, false)).await?;
        let (tls, foreign_tls) = match ca {
            Some(ca) => (
                Some(Socket::open(tls_port, Some(ca.acceptor()?), door(Listener::FhirTls, true)).await?),
                Some(Socket::open(0, Some(ca.acceptor()?), door(Listener::Foreign, true)).await?),
            ),
            None => (None, None),
        };
        let origin = |socket: &Socket| format!("https://localhost:{}", socket.address.port());
        let origins = (format!("http://{}", foreign.address), foreign_tls.as_ref().map(origin));
        // Nobody has set it before.
        let _ = world.foreign.set(origins);
        let port = fhir.address.port();
        Ok(Self { world, port, fhir: Some(fhir), tls, foreign, foreign_tls })
    }

    /// The base URL over http, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{BASE}", self.port)
    }

    /// The base URL over https; the certificate is for this name and for 127.0.0.1.
    pub fn tls_url(&self) -> Option<String> {
        self.tls.as_ref().map(|socket| format!("https://localhost:{}{BASE}", socket.address.port()))
    }

    /// The token endpoint over http.
    pub fn token_url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// The origin of a host that is not the server: it records everything and must never see a token.
    pub fn foreign_url(&self) -> String {
        format!("http://{}", self.foreign.address)
    }

    /// The same host over https.
    pub fn foreign_tls_url(&self) -> Option<String> {
        self.foreign_tls.as_ref().map(|socket| format!("https://localhost:{}", socket.address.port()))
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

    /// Changes the deviations of the server.
    pub fn set_quirks(&self, quirks: Quirks) {
        *self.world.quirks() = quirks;
    }

    /// Ends all tokens at once, as if their time were over: the next requests get 401.
    pub fn revoke_tokens(&self) {
        self.world.tokens().clear();
    }

    /// Changes the script of a job: to end one that is stuck, to make a good one fail. How files are served is
    /// changed by [`Server::rescript_files`].
    pub fn rescript(&self, job: &str, change: impl FnOnce(&mut Script)) {
        if let Some(job) = self.world.jobs().get_mut(job) {
            change(&mut job.script);
        }
    }

    /// Changes how all files of a job are served.
    pub fn rescript_files(&self, job: &str, mut change: impl FnMut(&mut crate::FileScript)) {
        if let Some(job) = self.world.jobs().get_mut(job) {
            job.files.iter_mut().for_each(|file| change(&mut file.script));
        }
    }

    /// Ends all links of a job that were given out; a new manifest has new ones.
    pub fn expire_links(&self, job: &str) {
        if let Some(job) = self.world.jobs().get_mut(job) {
            job.signatures.clear();
        }
    }

    /// Forgets a job: polls and downloads get 404.
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
        self.world.jobs().get(id).map(Job::view)
    }

    /// What a container must have of a job: one of each file, in the order of the manifest. Digests are made when
    /// they are asked for.
    pub fn expected(&self, job: &str) -> Vec<Expected> {
        let jobs = self.world.jobs();
        jobs.get(job)
            .map(|job| job.files.iter().map(|file| Expected::of(file, &job.view.id)).collect())
            .unwrap_or_default()
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
        let door = Arc::new(Door { world: Arc::clone(&self.world), listener: Listener::Fhir, tls: false });
        self.fhir = Some(Socket::open(self.port, None, door).await?);
        Ok(())
    }
}
