//! What the others wrote down about the operator.

use stage::service_account_user;

use super::{COHORT, Story};
use crate::Result;
use crate::cluster::OPERATOR;

impl Story<'_> {
    /// The events, the API server's audit log and the FHIR server's record.
    pub async fn books(&mut self) -> Result<()> {
        let tell = self.tell;
        tell.chapter("What the others wrote down")?;
        self.show("kubectl events --types=Normal,Warning").await?;
        tell.say("")?;
        if let Some(kubernetes) = &self.cluster.own {
            let user = service_account_user(OPERATOR, &self.cluster.operator_namespace);
            let audit = kubernetes.audit();
            let (all, refused) = (audit.entries_of(&user)?, audit.refused(&user)?);
            tell.fact(
                !all.is_empty() && refused.is_empty(),
                format!(
                    "audit log: {} requests of the operator's ServiceAccount, none refused by RBAC",
                    all.len()
                ),
            )?;
            let writes = audit.writes("fhirexports", &self.cluster.namespace, COHORT)?;
            let writes = writes.iter().filter(|entry| entry.user == user && entry.code < 300).count();
            tell.fact(
                writes > 0,
                format!("audit log: it wrote {COHORT} {writes} times in all, crash included"),
            )?;
        }
        let requests = self.server.requests();
        let asked = requests.iter().filter(|r| !r.path.starts_with("/_test")).count();
        tell.fact(
            asked > 0 && self.server.leaked_tokens().is_empty(),
            format!("FHIR server: {asked} requests, and its token went nowhere else"),
        )
    }
}
