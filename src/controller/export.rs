//! The reconcile of one `FhirExport`.

use std::sync::Arc;

use super::world::{ClusterFailure, World};
use crate::api::FhirExport;
use crate::core::effect::Requeue;

/// Looks at one export, does what is due, and says when to look again.
pub async fn reconcile_export<W: World>(
    world: &W,
    object: Arc<FhirExport>,
) -> Result<Requeue, ClusterFailure> {
    let _ = (world, object);
    std::future::ready(Ok(Requeue::AwaitChange)).await
}
