//! Files of each size, and objects that exist already.

use bytes::Bytes;
use fhir_export_operator::ports::{Committed, ObjectStore, Upload};

use super::kit::{File, Kit};

pub async fn files_of_each_size<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    for size in [0, 1, part - 1, part, part + 1, 2 * part, 2 * part + 7] {
        for ending in ["ndjson", "ndjson.gz"] {
            let file = File::new(&format!("{size}-{ending}/deleted/Bundle-1.{ending}"), "1", size);
            assert_eq!(kit.land(&file).await.unwrap(), (Committed::Now, 0));
            kit.assert_landed(&file, &file.key).await;
        }
    }
}

pub async fn never_overwritten<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    for (there, later) in [(0, 0), (0, 9), (9, 0), (9, part + 9), (part + 9, 9), (part + 9, 2 * part)] {
        let key = format!("{there}-{later}/Patient-1.ndjson");
        let (first, second) = (File::new(&key, "1", there), File::new(&key, "2", later));
        assert_eq!(kit.land(&first).await.unwrap().0, Committed::Now);
        assert_eq!(kit.land(&second).await.unwrap().0, Committed::AlreadyThere, "{key}");
        kit.assert_landed(&first, &key).await;
    }
    // An object that no landing wrote.
    let foreign = "foreign/Patient-1.ndjson".to_owned();
    kit.put(std::slice::from_ref(&foreign), b"{}\n").await;
    for size in [9, part + 9] {
        let committed = kit.land(&File::new(&foreign, "1", size)).await.unwrap().0;
        assert_eq!(committed, Committed::AlreadyThere);
    }
    assert_eq!(kit.content(&foreign).await.as_deref(), Some(&b"{}\n"[..]));
    let ledger = kit.store.ledger(kit.target(), "foreign").await.unwrap();
    assert!(ledger.landed.len() == 1 && ledger.landed[0].marks.is_none());
}

pub async fn a_part_twice<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    // The server sends different bytes under the same ETag. The committed object has the bytes of one process only.
    let key = "same-etag/Patient-1.ndjson";
    let (one, mut other) = (File::new(key, "1", 2 * part + 9), File::new(key, "2", 2 * part + 9));
    other.content = one.content;
    let mut first = kit.store.begin(kit.target(), key, one.content, one.compression);
    one.parts(&mut first, 0, 2).await.unwrap();
    let mut second = kit.store.begin(kit.target(), key, other.content, other.compression);
    let upto = other.parts(&mut second, 0, 2).await.unwrap();
    drop(first);
    assert_eq!(second.commit(other.body.slice(upto..), &other.marks()).await.unwrap(), Committed::Now);
    kit.assert_landed(&other, key).await;

    // The last parts of two processes differ.
    let key = "last/Patient-1.ndjson";
    let (one, mut other) = (File::new(key, "1", part + 9), File::new(key, "1", part + 9));
    other.body = [&one.body[..part], b"otherwise"].concat().into();
    let mut first = kit.store.begin(kit.target(), key, one.content, one.compression);
    let mut second = kit.store.begin(kit.target(), key, one.content, one.compression);
    one.parts(&mut first, 0, 1).await.unwrap();
    other.parts(&mut second, 0, 1).await.unwrap();
    let committed = [
        second.commit(other.body.slice(part..), &other.marks()).await.unwrap(),
        first.commit(one.body.slice(part..), &one.marks()).await.unwrap(),
    ];
    assert_eq!(committed, [Committed::Now, Committed::AlreadyThere]);
    kit.assert_landed(&other, key).await;

    // An upload of one fetch that broke off is not continued by another fetch.
    let key = "fetches/Patient-1.ndjson";
    let (one, other) = (File::new(key, "1", 3 * part), File::new(key, "2", 2 * part + 1));
    let mut first = kit.store.begin(kit.target(), key, one.content, one.compression);
    one.parts(&mut first, 0, 3).await.unwrap();
    drop(first);
    let (_, from) = kit.begin_or_resume(&other).await.unwrap();
    assert_eq!(from, 0, "another content");
    assert_eq!(kit.land(&other).await.unwrap(), (Committed::Now, 0));
    kit.assert_landed(&other, key).await;
    assert!(kit.store.resume(kit.target(), key, other.compression).await.unwrap().is_none());
    let late = kit.store.begin(kit.target(), key, one.content, one.compression);
    assert_eq!(late.commit(Bytes::new(), &one.marks()).await.unwrap(), Committed::AlreadyThere);
}
