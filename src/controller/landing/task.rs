//! The task that lands one file.

use std::sync::Arc;

use futures::channel::oneshot;

use super::super::world::World;
use super::{Obstacle, file};
use crate::api::FhirServer;
use crate::core::landing::{LandFile, LandPlan, Landed};
use crate::ports::{EndTask, Panicked, guarded};

/// How the task that lands one file ended.
type Ended = Result<Result<Landed, Obstacle>, Panicked>;

/// Ends a task when it is dropped.
struct EndWith(Option<EndTask>);

impl Drop for EndWith {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// Lands one file of a plan in a task of its own, so that the files of a landing use all cores. The task ends
/// when this future is dropped. Returns the file and its index in the plan with the result.
pub(super) async fn land<'f, W: World>(
    world: &Arc<W>,
    server: &Arc<FhirServer>,
    plan: &'f Arc<LandPlan>,
    file: (usize, &'f LandFile),
    begun: bool,
) -> ((usize, &'f LandFile), Ended) {
    let (tell, ended) = oneshot::channel();
    let (of_task, server, of_plan, index) = (Arc::clone(world), Arc::clone(server), Arc::clone(plan), file.0);
    let task = async move {
        let Some(file) = of_plan.files.get(index) else { return };
        let landed = guarded(file::land(of_task.as_ref(), &server, &of_plan, file, begun)).await;
        // The receiver is gone if the landing was ended.
        drop(tell.send(landed));
    };
    let _end = EndWith(Some(world.spawn(Box::pin(task))));
    match ended.await {
        Ok(ended) => (file, ended),
        // The process is ending all of its tasks, this one too.
        Err(oneshot::Canceled) => std::future::pending().await,
    }
}
