//! Lists objects, folders and buckets.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use rusty_s3::Method;

use super::answer::{BucketList, ObjectPage};
use super::bucket::Bucket;
use super::call::{Call, Right};
use super::failure;
use super::object::is_plain;
use super::side::{Beside, Side, is_hidden};
use crate::core::landing::LedgerEntry;
use crate::core::ledger::{Ledger, StorageFailure};

/// How many objects are asked for their marks at the same time: a list does not tell them.
const PARALLEL: usize = 32;
/// The most keys of one listing; each page counts as one more, so that a listing has an end.
pub(super) const MOST_KEYS: usize = 1_000_000;

impl Bucket {
    /// Keys and sizes of all objects of the container whose keys begin with `prefix`, in the order of the store.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageFailure> {
        Ok(self.pages(prefix, None).await?.0)
    }

    /// The folders at the root of the container whose names begin with `prefix`, without their slash.
    pub(super) async fn folders(&self, prefix: &str) -> Result<Vec<String>, StorageFailure> {
        let folders = self.pages(prefix, Some("/")).await?.1;
        Ok(folders.into_iter().map(|folder| folder.trim_end_matches('/').to_owned()).collect())
    }

    async fn pages(
        &self,
        prefix: &str,
        delimiter: Option<&'static str>,
    ) -> Result<(Vec<(String, u64)>, Vec<String>), StorageFailure> {
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        let mut after: Option<String> = None;
        let mut listed = 0;
        loop {
            let mut call = Call::get("").ask("list-type", "2").ask("encoding-type", "url");
            call = call.ask("prefix", self.prefix(prefix));
            if let Some(delimiter) = delimiter {
                call = call.ask("delimiter", delimiter);
            }
            if let Some(after) = &after {
                call = call.ask("continuation-token", after);
            }
            let page: ObjectPage =
                self.done(&call).await?.document().ok_or_else(|| failure::not_of_s3(self))?;
            let next = page.next();
            let (found, below) = page.into_parts();
            listed += 1 + found.len() + below.len();
            if listed > MOST_KEYS {
                return Err(failure::too_many(self, MOST_KEYS));
            }
            // What lies elsewhere was not asked for.
            let ours = |key: &str| self.below(key).filter(|key| key.starts_with(prefix)).map(str::to_owned);
            objects.extend(found.into_iter().filter_map(|(key, size)| Some((ours(&key)?, size))));
            folders.extend(below.iter().filter_map(|folder| ours(folder)));
            if next.is_none() || next == after {
                return Ok((objects, folders));
            }
            after = next;
        }
    }

    /// Whether the container can be listed: asks for one key.
    pub(super) async fn one(&self) -> Result<(), StorageFailure> {
        let call = Call::get("").ask("list-type", "2").ask("max-keys", "1").ask("prefix", self.prefix(""));
        let page: Option<ObjectPage> = self.done(&call).await?.document();
        page.map(drop).ok_or_else(|| failure::not_of_s3(self))
    }

    /// The buckets of the account whose names begin with `prefix`, each with the time when it was created.
    pub(super) async fn buckets(&self, prefix: &str) -> Result<Vec<(String, Timestamp)>, StorageFailure> {
        let call = Call::new(Method::Get, Right::ListBuckets, "");
        let list: BucketList = self.done(&call).await?.document().ok_or_else(|| failure::not_of_s3(self))?;
        Ok(list.into_iter().filter(|(name, _)| name.starts_with(prefix)).collect())
    }

    /// The objects of a folder with their marks, and the keys of those whose upload has begun.
    pub(super) async fn ledger(self, folder: &str) -> Result<Ledger, StorageFailure> {
        let listed = self.list(&format!("{folder}/")).await?.into_iter().map(|(key, _)| key);
        let bucket = Arc::new(self);
        let (beside, objects): (Vec<String>, Vec<String>) =
            listed.filter(|key| is_plain(key)).partition(|key| is_hidden(key));
        let marked = objects.into_iter().map(|key| {
            let bucket = Arc::clone(&bucket);
            async move {
                let marks = bucket.marks(&key).await?;
                Ok::<_, StorageFailure>(marks.map(|marks| LedgerEntry { blob: key, marks }))
            }
        });
        let landed = stream::iter(marked).buffered(PARALLEL).try_filter_map(|entry| async { Ok(entry) });
        let mut ledger = Ledger { landed: landed.try_collect().await?, begun: Vec::new() };
        ledger.landed.sort_by(|one, other| one.blob.cmp(&other.blob));
        for key in &beside {
            let upload = Beside::parse(key).filter(|beside| beside.side == Side::Upload);
            let Some(object) = upload.map(|upload| upload.object()) else { continue };
            if ledger.landed.binary_search_by(|entry| entry.blob.cmp(&object)).is_err() {
                ledger.begun.push(object);
            }
        }
        ledger.begun.sort();
        ledger.begun.dedup();
        Ok(ledger)
    }
}
