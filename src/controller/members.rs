//! Who is in a group: read from what an export has landed, compared, and listed beside it. The ids are in memory for as
//! long as that takes, and nowhere else but in the storage account.

use std::sync::Arc;

use super::world::World;
use crate::api::{FhirExport, FhirServer, MemberList, PatientsBlob};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::manifest::sha256_hex;
use crate::core::schedule::members::{
    MAX_LIST, MEMBERS_FILE, Members, NEWCOMERS_FILE, Reader, Unusable, files,
};
use crate::core::schedule::{Listed, Newcomers};
use crate::ports::{ObjectStore, Target};

/// Lists the members that an export has found, and those of them that were not among the members before. Done again, it
/// finds and writes the same.
pub(super) async fn list<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    export: &FhirExport,
    before: Option<&MemberList>,
) -> Result<Listed, StorageFailure> {
    // One at a time: lists are large.
    let _alone = world.runs().alone_with_lists().await;
    let output = export.status.as_ref().and_then(|status| status.output.as_ref());
    let place = output.and_then(|output| Some((output.container.as_deref()?, output.folder.as_deref()?)));
    let members = match place {
        Some(place) => read(world, server, place).await,
        // Where nobody is in the group, nothing has landed.
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

/// Who is in the files of a folder.
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

/// A list that was written before; else why it cannot be used.
async fn earlier<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    list: &MemberList,
) -> Result<Result<String, String>, StorageFailure> {
    let Some(path) = &list.path else { return Ok(Ok(String::new())) };
    let place = path.split_once('/').unwrap_or((path, ""));
    let content = match world.objects().read(Target::new(server, place.0), place.1, MAX_LIST).await {
        Err(failure) if failure.kind == StorageFailureKind::NotFound => None,
        // It was no larger when it was written.
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
