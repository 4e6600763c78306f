//! The reconcile of one `FhirServer`.

use std::sync::Arc;

use super::world::{ClusterFailure, World};
use crate::api::FhirServer;
use crate::core::effect::Requeue;

/// Looks at one server, does what is due, and says when to look again.
pub async fn reconcile_server<W: World>(
    world: &W,
    object: Arc<FhirServer>,
) -> Result<Requeue, ClusterFailure> {
    let _ = (world, object);
    std::future::ready(Ok(Requeue::AwaitChange)).await
}
