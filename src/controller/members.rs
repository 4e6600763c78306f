//! Lists the members of a group: reads their ids from the files of an export, compares them with an earlier list, and
//! stores the new lists beside those files. Ids are in memory only while they are compared, and are stored nowhere
//! but in the storage account.

use std::sync::Arc;

use kube::ResourceExt;

use super::listings::ListingResult;
use super::world::World;
use crate::api::{FhirExport, FhirExportSchedule, FhirServer, MemberList, PatientsBlob};
use crate::core::folder::{MEMBERS_FILE, NEWCOMERS_FILE};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::manifest::sha256_hex;
use crate::core::schedule::members::{MAX_LIST, Members, Reader, Unusable, files};
use crate::core::schedule::{ListMembers, Listed, Listing, Newcomers};
use crate::ports::{ObjectStore, Target};

/// Returns the state of the listing, and starts it beside the reconcile if it does not run. The listing wakes
/// the schedule when it is done.
pub(super) fn listing<W: World>(
    world: &Arc<W>,
    schedule: &FhirExportSchedule,
    asked: &ListMembers,
) -> Listing {
    let listings = world.runs().listings();
    let export = asked.export.uid().unwrap_or_default();
    if let Some(state) = listings.look(&export, asked.before.as_ref()) {
        return state;
    }
    let outcome = ListingResult::running();
    let (beside, places, teller, asked) =
        (Arc::clone(world), listings.places(), outcome.teller(), asked.clone());
    let before = asked.before.clone();
    let (namespace, name) = (schedule.namespace().unwrap_or_default(), schedule.name_any());
    let task = async move {
        let place = places.enter(&namespace).await;
        let ListMembers { server, export, before } = &asked;
        let listed = list(beside.as_ref(), server, export, before.as_ref()).await;
        drop(place);
        teller.tell(listed.map_or_else(Listing::Failed, Listing::Done));
        beside.wake_schedule(&namespace, &name);
    };
    let end = world.spawn(Box::pin(task));
    listings.started(&export, before.as_ref(), &outcome, end);
    Listing::Running
}

/// Lists the members that an export found, and those of them that an earlier list does not name. A repeated
/// listing finds and writes the same.
async fn list<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    export: &FhirExport,
    before: Option<&MemberList>,
) -> Result<Listed, StorageFailure> {
    let output = export.status.as_ref().and_then(|status| status.output.as_ref());
    let place = output.and_then(|output| Some((output.container.as_deref()?, output.folder.as_deref()?)));
    let members = match place {
        Some(place) => read(world, server, place).await,
        // An export of an empty group lands no files.
        None => Ok(Members::default()),
    };
    let members = match members {
        Ok(members) => members,
        Err(Problem::Storage(failure)) => return Err(failure),
        Err(Problem::Unusable(Unusable::TooMany)) => {
            return Ok(Listed {
                members: None,
                newcomers: Newcomers::Unknown(Unusable::TooMany.to_string()),
            });
        }
        Err(Problem::Unusable(why)) => return Err(permanent(why.to_string())),
    };
    let Some((container, folder)) = place.filter(|_| !members.is_empty()) else {
        let empty = MemberList { path: None, sha256: sha256_hex(b"") };
        return Ok(Listed { members: Some(empty), newcomers: Newcomers::None });
    };
    let newcomers = match before {
        None => Ok(Some(Members::default())),
        Some(before) => earlier(world, server, before).await?.map(|before| members.since(&before)),
    };
    let store = async |name: &str, list: &Members| {
        let path = format!("{folder}/{name}");
        let sha256 =
            world.objects().store(Target::new(server, container), &path, list.text().as_bytes()).await?;
        Ok::<_, StorageFailure>(PatientsBlob { path: format!("{container}/{path}"), sha256 })
    };
    let newcomers = match newcomers {
        Err(why) => Newcomers::Unknown(why),
        Ok(None) => Newcomers::TooMany,
        Ok(Some(none)) if none.is_empty() => Newcomers::None,
        Ok(Some(newcomers)) => Newcomers::Listed(store(NEWCOMERS_FILE, &newcomers).await?),
    };
    let PatientsBlob { path, sha256 } = store(MEMBERS_FILE, &members).await?;
    Ok(Listed { members: Some(MemberList { path: Some(path), sha256 }), newcomers })
}

enum Problem {
    Storage(StorageFailure),
    Unusable(Unusable),
}

/// Reads the members from the files that an export landed in a folder.
async fn read<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    (container, folder): (&str, &str),
) -> Result<Members, Problem> {
    let ledger =
        world.objects().ledger(Target::new(server, container), folder).await.map_err(Problem::Storage)?;
    let mut reader = Reader::default();
    for file in files(&ledger, folder) {
        let mut take = |piece: &[u8]| reader.feed(piece);
        let found = world.objects().read_through(Target::new(server, container), &file, &mut take).await;
        if !found.map_err(Problem::Storage)? {
            return Err(Problem::Storage(permanent(format!(
                "the blob {container}/{file} is gone; leave the files of runs where they are until they are taken in"
            ))));
        }
        reader.end_file();
    }
    reader.finish().map_err(Problem::Unusable)
}

/// Reads the text of an earlier list. The inner error says in half a sentence why the list cannot be used.
async fn earlier<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    list: &MemberList,
) -> Result<Result<String, String>, StorageFailure> {
    let Some(path) = &list.path else { return Ok(Ok(String::new())) };
    let place = path.split_once('/').unwrap_or((path, ""));
    let content = match world.objects().read(Target::new(server, place.0), place.1, MAX_LIST).await {
        Err(failure) if failure.kind == StorageFailureKind::NotFound => None,
        // The list exceeds the size that it can have been written with, so somebody has changed it.
        Err(failure) if failure.kind == StorageFailureKind::Permanent => None,
        content => content?,
    };
    let unchanged = content.filter(|content| sha256_hex(content) == list.sha256);
    let text = unchanged.and_then(|content| String::from_utf8(content).ok());
    Ok(text.ok_or_else(|| format!("the list of who was there before, {path}, is gone or was changed")))
}

fn permanent(message: String) -> StorageFailure {
    StorageFailure { kind: StorageFailureKind::Permanent, message }
}
