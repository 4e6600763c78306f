//! Looks for other releases of the operator in the cluster.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, Client};

use super::call::call;
use super::lease::LABEL;
use super::lease_lock::LeaseKey;
use crate::core::neighbour::{Neighbour, elder};

/// Finds the Lease of another release that is already at work, and its holder. The error is one sentence that
/// says why the Leases of the cluster cannot be read.
pub async fn elder_release(client: &Client, own: &LeaseKey) -> Result<Option<(LeaseKey, String)>, String> {
    let api: Api<Lease> = Api::all(client.clone());
    let only_ours = ListParams::default().labels(LABEL);
    let leases = call(|| api.list(&only_ours)).await;
    let leases = leases.map_err(|error| error.failure("list Leases").to_string())?;
    let leases: Vec<Neighbour> = leases.items.into_iter().map(neighbour).collect();
    let found = elder(&leases, (&own.namespace, &own.name), Timestamp::now());
    Ok(found.map(|lease| {
        let place = LeaseKey { namespace: lease.namespace.clone(), name: lease.name.clone() };
        (place, lease.holder.clone().unwrap_or_default())
    }))
}

fn neighbour(lease: Lease) -> Neighbour {
    let spec = lease.spec.unwrap_or_default();
    Neighbour {
        namespace: lease.metadata.namespace.unwrap_or_default(),
        name: lease.metadata.name.unwrap_or_default(),
        created: lease.metadata.creation_timestamp.map(|time| time.0),
        holder: spec.holder_identity,
        renewed: spec.renew_time.map(|time| time.0),
    }
}
