//! Which replica works. This version runs one replica, which always does.

use tracing::warn;

/// The right to work, until it is lost.
#[derive(Debug)]
pub struct Leadership(());

impl Leadership {
    /// Returns when this replica may work.
    ///
    /// There is no lease yet, so that is at once. Two replicas would do no harm to the data, since every write
    /// and every kick-off rests on a resource version, but would do everything twice.
    pub async fn acquire(elect: bool) -> Self {
        if elect {
            warn!("--leader-elect has no effect in this version: run one replica, with strategy Recreate");
        }
        std::future::ready(Self(())).await
    }

    /// Returns when this replica must stop at once: never, as long as nothing can take the place.
    pub async fn lost(&self) {
        std::future::pending::<()>().await;
    }
}
