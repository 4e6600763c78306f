//! The parts that this program starts and ends.

use std::path::Path;
use std::time::Duration;

use azure_fhir::Storage;
use stage::{Azurite, AzuriteOptions, Folder, Hapi, Kubernetes, KubernetesOptions, Sekmet, timed};

use crate::operator::Operator;
use crate::patients::Patients;
use crate::{Error, Result};

/// The number of patients that Synthea generates: about 6000 resources of some twenty types, and enough for two groups.
const PEOPLE: u32 = 24;
const SEED: u32 = 7;

/// The running parts.
#[derive(Debug, Default)]
pub struct World {
    /// The operator, once it is started.
    pub operator: Option<Operator>,
    kubernetes: Option<Kubernetes>,
    azurite: Option<Azurite>,
    hapi: Option<Hapi>,
    sekmet: Option<Sekmet>,
}

/// The addresses of the parts.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The control plane.
    pub kubernetes: &'a Kubernetes,
    /// The storage account.
    pub storage: Storage,
    /// HAPI's base URL.
    pub hapi: String,
    /// The base URL of sekmet-fhir.
    pub sekmet: String,
}

impl World {
    /// Starts all parts except the operator, and generates the patients meanwhile.
    pub async fn raise(&mut self) -> Result<Patients> {
        let folder = Folder::new("interop")?;
        let Self { kubernetes, azurite, hapi, sekmet, .. } = self;
        let ((), (), patients) = tokio::try_join!(
            timed("starting a Kubernetes control plane, Azurite and sekmet-fhir", async {
                *kubernetes = Some(Kubernetes::start(KubernetesOptions::default()).await?);
                *azurite = Some(Azurite::start(AzuriteOptions::default()).await?);
                *sekmet = Some(Sekmet::start().await?);
                Ok(())
            }),
            timed("starting HAPI FHIR", async {
                *hapi = Some(Hapi::start().await?);
                Ok(())
            }),
            timed("making up patients with Synthea", async {
                Patients::read(&stage::synthea(SEED, PEOPLE, folder.path()).await?)
            }),
        )?;
        Ok(patients)
    }

    /// The addresses of the parts. An error if a part does not run.
    pub fn stage(&self) -> Result<Stage<'_>> {
        let (Some(kubernetes), Some(azurite), Some(hapi), Some(sekmet)) =
            (&self.kubernetes, &self.azurite, &self.hapi, &self.sekmet)
        else {
            return Err(Error::Operator("not all parts run".to_owned()));
        };
        Ok(Stage {
            kubernetes,
            storage: Storage::new(azurite.endpoint()?.as_str(), azurite.account(), azurite.key()),
            hapi: hapi.url().to_owned(),
            sekmet: sekmet.url().to_owned(),
        })
    }

    /// The ends of the logs, for when the program failed.
    pub fn clues(&self) -> Vec<String> {
        let mut clues = Vec::new();
        let mut add = |name: &str, log: String| {
            if !log.trim().is_empty() {
                clues.push(format!("The end of the log of {name}:\n{}", log.trim_end()));
            }
        };
        if let Some(hapi) = &self.hapi {
            add("HAPI FHIR", hapi.process().log_end());
        }
        if let Some(operator) = &self.operator {
            add("the operator", operator.log_end());
        }
        clues
    }

    /// Ends all parts, and makes sure that their processes are gone.
    pub async fn end(&mut self) -> Result<()> {
        let pids = self.pids();
        if let Some(operator) = self.operator.take() {
            operator.stop().await?;
        }
        if let Some(hapi) = self.hapi.take() {
            hapi.stop().await?;
        }
        if let Some(sekmet) = self.sekmet.take() {
            sekmet.stop().await?;
        }
        if let Some(mut azurite) = self.azurite.take() {
            azurite.stop().await?;
        }
        if let Some(kubernetes) = self.kubernetes.take() {
            kubernetes.stop().await?;
        }
        // The parent of a process that has ended takes a moment to reap it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        match pids.iter().find(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            Some(pid) => Err(Error::Operator(format!("process {pid} is left running"))),
            None => Ok(()),
        }
    }

    fn pids(&mut self) -> Vec<u32> {
        let mut pids = self.kubernetes.as_ref().map(Kubernetes::pids).unwrap_or_default();
        pids.extend(self.operator.as_ref().map(Operator::pid));
        pids.extend(self.hapi.as_ref().map(|hapi| hapi.process().pid()));
        pids.extend(self.sekmet.as_ref().map(|sekmet| sekmet.process().pid()));
        pids.extend(self.azurite.as_mut().and_then(|azurite| Some(azurite.process().ok()?.pid())));
        pids
    }
}
