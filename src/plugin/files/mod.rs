//! `files`: what an export brought. Beside it, what `download` and `verify` share: the place of the files, the caller's
//! credential, and reading.

mod aws_login;
mod azure_login;
mod open;
mod place;
mod store;

use clap::{Args, ValueEnum};
use indicatif::DecimalBytes;
use serde_json::json;

use super::connection::Connected;
use super::describe::export;
use super::exit::Exit;
use super::paint::Paint;
use super::table::Table;
use crate::core::landing::FileKind;
use crate::core::stored_manifest::StoredFile;
use crate::show::{Line, Page};
use crate::stop::Stop;

pub use place::StoreArgs;
pub use store::{Files, Listed, Reading, Sink, Unlisted};

/// How many characters of a SHA-256 are shown in a table.
const SHORT: usize = 12;

/// The flags of `files`.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// Name of the export
    #[arg(value_name = "NAME")]
    name: String,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum)]
    output: Option<FileForm>,
    #[command(flatten)]
    store: StoreArgs,
}

/// The form of a list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileForm {
    /// One JSON document, with whole checksums
    Json,
    /// One YAML document, with whole checksums
    Yaml,
    /// The URLs, one a line; on a volume, the paths in the container
    Url,
}

/// Reads the manifest of an export, and prints the list of its files.
pub async fn files(cluster: &Connected, args: &FilesArgs, paint: Paint) -> Result<Exit, Stop> {
    let export = export(cluster, &args.name).await?;
    let store = Files::of(cluster, &export, &args.store).await?;
    let listed = match store.manifest().await {
        Ok(listed) => listed,
        Err(unlisted) => return unlisted.into_exit(),
    };
    page(&listed.files, args.output, paint)?.print()?;
    Ok(Exit::Done)
}

/// What a file holds, as a word.
fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Output => "data",
        FileKind::Deleted => "deleted",
        FileKind::Error => "errors",
    }
}

fn page(files: &[StoredFile], form: Option<FileForm>, paint: Paint) -> Result<Page, Stop> {
    let documents = || -> Vec<serde_json::Value> {
        let document = |file: &StoredFile| {
            json!({ "path": file.path, "kind": word(file.kind), "type": file.type_, "url": file.url, "resources": file.count,
                "bytes": file.bytes, "sha256": file.sha256 })
        };
        files.iter().map(document).collect()
    };
    match form {
        None => Ok(table(files).page(paint)),
        Some(FileForm::Json) => Page::json(&documents()),
        Some(FileForm::Yaml) => Page::yaml(&documents()),
        Some(FileForm::Url) => Ok(files.iter().map(|file| Line::of(&url(file))).collect()),
    }
}

fn url(file: &StoredFile) -> String {
    if file.url.contains("://") { file.url.clone() } else { file.key.clone() }
}

fn table(files: &[StoredFile]) -> Table {
    let mut table = Table::new(vec!["FILE", "KIND", "TYPE", "RESOURCES", "SIZE", "SHA256"]);
    for file in files {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let sum = file.sha256.as_deref().map_or("-", |sum| sum.get(..SHORT).unwrap_or(sum));
        table.row(vec![
            file.path.clone().into(),
            word(file.kind).into(),
            file.type_.clone().unwrap_or_else(|| "-".to_owned()).into(),
            number(file.count).into(),
            file.bytes.map_or_else(|| "-".to_owned(), |bytes| DecimalBytes(bytes).to_string()).into(),
            sum.into(),
        ]);
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn listed() -> Vec<StoredFile> {
        let of = |kind, path: &str, url: &str, sum: Option<&str>| StoredFile {
            kind,
            type_: sum.map(|_| "Patient".to_owned()),
            url: url.to_owned(),
            key: format!("f/{path}"),
            path: path.to_owned(),
            count: sum.map(|_| 3),
            bytes: sum.map(|_| 1500),
            sha256: sum.map(str::to_owned),
        };
        vec![
            of(
                FileKind::Output,
                "Patient-1.ndjson",
                "https://lake/c/f/Patient-1.ndjson",
                Some("0123456789abcdef"),
            ),
            of(FileKind::Error, "error/OperationOutcome-1.ndjson", "error/OperationOutcome-1.ndjson", None),
        ]
    }

    #[test]
    fn each_form_of_the_list() {
        let text = |form| page(&listed(), form, Paint::Plain).unwrap().as_str().to_owned();
        assert_eq!(
            text(None),
            "FILE                              KIND     TYPE      RESOURCES   SIZE      SHA256\n\
             Patient-1.ndjson                  data     Patient   3           1.50 kB   0123456789ab\n\
             error/OperationOutcome-1.ndjson   errors   -         -           -         -\n"
        );
        assert_eq!(
            text(Some(FileForm::Url)),
            "https://lake/c/f/Patient-1.ndjson\nf/error/OperationOutcome-1.ndjson\n"
        );
        let json: Value = serde_json::from_str(&text(Some(FileForm::Json))).unwrap();
        assert_eq!((&json[0]["sha256"], &json[1]["resources"]), (&json!("0123456789abcdef"), &Value::Null));
        let yaml: Value = serde_saphyr::from_str(&text(Some(FileForm::Yaml))).unwrap();
        assert_eq!(yaml, json);
    }

    #[test]
    fn no_form_brings_an_escape_sequence() {
        let planted = |word: &str| format!("\u{1b}[2J\u{9b}2J {word}");
        let file = StoredFile {
            kind: FileKind::Output,
            type_: Some(planted("type")),
            url: planted("url"),
            key: planted("key"),
            path: planted("path"),
            count: None,
            bytes: None,
            sha256: Some(planted("sum")),
        };
        for (form, shown) in [
            (None, vec!["type", "path"]),
            (Some(FileForm::Url), vec!["key"]),
            (Some(FileForm::Json), vec!["type", "url", "path", "sum"]),
            (Some(FileForm::Yaml), vec!["type", "url", "path", "sum"]),
        ] {
            let page = page(std::slice::from_ref(&file), form, Paint::Plain).unwrap();
            let text = page.as_str();
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{form:?}: {text:?}");
            for field in shown {
                assert!(text.contains(&format!("2J {field}")), "{form:?}: {text}");
            }
        }
    }
}
