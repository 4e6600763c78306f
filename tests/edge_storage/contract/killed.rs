//! A process is killed at each of its await points, and another one continues.

use std::pin::Pin;
use std::task::{Context, Poll};

use fhir_export_operator::ports::{Committed, ObjectStore, Upload};

use super::kit::{File, Kit};

/// A future that polls another one at most `left` times and then gives up.
struct Killed<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The result of a future, or `None` if it is not ready after `polls` polls.
async fn killed_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    Killed { future: Box::pin(future), left: polls }.await
}

pub async fn at_each_await_point<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    // Stores with small parts get several of them.
    let parts = if part < 1 << 20 { 3 } else { 1 };
    for (size, ending) in [(parts * part + 9, "ndjson"), (9, "ndjson.gz")] {
        let mut continued = 0;
        // The store's progress between two polls varies, so one pass may miss the moment after a part.
        for pass in 0..10 {
            continued += at_each_poll(kit, size, &format!("{size}-{pass}"), ending).await;
            if (continued > 0) == (size > part) {
                break;
            }
        }
        assert_eq!(continued > 0, size > part, "{continued} of the uploads were continued");
    }
}

/// Kills a landing of a file of `size` bytes after each number of polls, until it ends by itself, and lands the
/// file once more. Returns how many of the uploads were continued.
async fn at_each_poll<S: ObjectStore>(kit: &Kit<S>, size: usize, folder: &str, ending: &str) -> usize {
    let mut continued = 0;
    for polls in 0.. {
        let file = File::new(&format!("{folder}-{polls}/Patient-1.{ending}"), "1", size);
        let first = killed_after(polls, kit.land(&file)).await.transpose().unwrap();
        if first.is_none() {
            kit.gone(&file).await;
            let (_, from) = kit.land(&file).await.unwrap();
            continued += usize::from(from > 0);
        }
        kit.assert_landed(&file, &format!("killed after {polls} polls")).await;
        if let Some((committed, from)) = first {
            assert_eq!((committed, from), (Committed::Now, 0));
            assert!(polls > 1, "it was killed at least once");
            break;
        }
    }
    continued
}

pub async fn answer_lost<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    for size in [9, part + 9] {
        for polls in 0.. {
            let file = File::new(&format!("{size}-{polls}/Patient-1.ndjson"), "1", size);
            let mut upload = kit.store.begin(kit.target(), &file.key, file.content, file.compression);
            let upto = file.parts(&mut upload, 0, usize::MAX).await.unwrap();
            let marks = file.marks();
            let heard = killed_after(polls, upload.commit(file.body.slice(upto..), &marks)).await;
            // A process that did not receive the answer lands the whole file again.
            let (again, _) = kit.land(&file).await.unwrap();
            kit.assert_landed(&file, &format!("killed after {polls} polls")).await;
            if let Some(committed) = heard {
                assert_eq!((committed.unwrap(), again), (Committed::Now, Committed::AlreadyThere));
                break;
            }
        }
    }
}
