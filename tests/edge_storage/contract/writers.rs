//! Two processes that land the same file at once.

use fhir_export_operator::ports::{Committed, ObjectStore};

use super::kit::{File, Kit};

pub async fn two_at_once<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    for round in 0..3 {
        for (size, other_etag) in [(part + 9, "1"), (part + 9, "2"), (9, "2")] {
            let key = format!("{round}-{size}-{other_etag}/Patient-1.ndjson");
            let (one, other) = (File::new(&key, "1", size), File::new(&key, other_etag, size));
            let (first, second) = futures::join!(kit.land(&one), kit.land(&other));
            let won = match (first.unwrap().0, second.unwrap().0) {
                (Committed::Now, Committed::AlreadyThere) => one,
                (Committed::AlreadyThere, Committed::Now) => other,
                // If each finished the other's commit, both find the object committed.
                (Committed::AlreadyThere, Committed::AlreadyThere) => {
                    if kit.content(&key).await.as_deref() == Some(&one.body[..]) { one } else { other }
                }
                (Committed::Now, Committed::Now) => panic!("{key} was committed twice"),
            };
            kit.assert_landed(&won, &key).await;
        }
    }
}
