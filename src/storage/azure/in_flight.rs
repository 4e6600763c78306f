//! Blocks of one upload that are on their way to the store. There are several at once, so that more than one
//! block is stored per round trip.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::core::ledger::StorageFailure;

/// The blocks of one upload that were sent. Dropping this value stops those that have not arrived.
pub(super) struct InFlight {
    tasks: JoinSet<Result<u32, StorageFailure>>,
    /// The index of the first block that is not known to be stored.
    first: u32,
    /// The indices of stored blocks after that one.
    behind: BTreeSet<u32>,
}

impl InFlight {
    /// Starts with no block on its way and the first `stored` blocks stored.
    pub(super) fn after(stored: u32) -> Self {
        Self { tasks: JoinSet::new(), first: stored, behind: BTreeSet::new() }
    }

    /// Sends the block of this index.
    pub(super) fn send(
        &mut self,
        index: u32,
        block: impl Future<Output = Result<(), StorageFailure>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { block.await.map(|()| index) });
    }

    /// Records the blocks that have arrived by now. Fails if one of them could not be stored.
    pub(super) fn take_in(&mut self) -> Result<(), StorageFailure> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.arrived(ended)?;
        }
        Ok(())
    }

    /// Waits until all blocks have arrived. Fails if one of them could not be stored.
    pub(super) async fn settle(&mut self) -> Result<(), StorageFailure> {
        while let Some(ended) = self.tasks.join_next().await {
            self.arrived(ended)?;
        }
        Ok(())
    }

    /// The number of blocks that are known to be stored, from the first one without a gap.
    pub(super) fn stored(&self) -> u32 {
        self.first
    }

    fn arrived(
        &mut self,
        ended: Result<Result<u32, StorageFailure>, tokio::task::JoinError>,
    ) -> Result<(), StorageFailure> {
        match ended {
            Ok(stored) => drop(self.behind.insert(stored?)),
            // The task that lands the file catches the panic, counts it and reports it.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(StorageFailure::transient("the operator is stopping")),
        }
        while self.behind.remove(&self.first) {
            self.first += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn only_blocks_without_a_gap_before_them_count_as_stored() {
        let mut blocks = InFlight::after(2);
        let (first, waits) = oneshot::channel::<()>();
        blocks.send(2, async move {
            let _ = waits.await;
            Ok(())
        });
        blocks.send(3, async { Ok(()) });
        while blocks.tasks.len() > 1 {
            blocks.take_in().unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(blocks.stored(), 2, "block 2 has not arrived");
        first.send(()).unwrap();
        blocks.settle().await.unwrap();
        assert_eq!(blocks.stored(), 4);
    }

    #[tokio::test]
    async fn a_block_that_is_not_stored_is_told_and_no_later_one_counts() {
        let mut blocks = InFlight::after(0);
        blocks.send(0, async { Err(StorageFailure::transient("full")) });
        blocks.send(1, async { Ok(()) });
        assert_eq!(blocks.settle().await.unwrap_err().message, "full");
        let _ = blocks.settle().await;
        assert_eq!(blocks.stored(), 0);
    }

    #[tokio::test]
    async fn blocks_on_their_way_end_with_their_upload() {
        let mut blocks = InFlight::after(0);
        let (arrives, arrived) = oneshot::channel::<()>();
        blocks.send(0, async move {
            let _arrives = arrives;
            std::future::pending().await
        });
        drop(blocks);
        assert!(arrived.await.is_err());
    }

    #[tokio::test]
    #[should_panic(expected = "at a block")]
    async fn a_panic_is_that_of_whoever_waits() {
        let mut blocks = InFlight::after(0);
        blocks.send(0, async { panic!("at a block") });
        let _ = blocks.settle().await;
    }
}
