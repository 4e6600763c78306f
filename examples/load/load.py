#!/usr/bin/env python3
"""Loads the runs of a FhirExportSchedule into a SQLite database, in order, and each only once.

    az storage blob download-batch --account-name ACCOUNT --auth-mode login -s CONTAINER -d lake
    kubectl get fsched nightly -o json | python3 load.py lake fhir.db

The table `resources` then holds what the server had at `status.chain.coveredUntil`: type, id, and the resource as JSON.
Call it again after further runs. It loads the runs in `status.chain.history`, which lists the last ten that count. They
must lie in one container (`request.container`, or the server's `defaultContainer`). A run at level Group may have two
entries there: `Newcomers`, with everything about patients who joined, and `Incremental`.
"""

import gzip
import json
import pathlib
import sqlite3
import sys

# The extension with which Azure's service marks a deleted resource (includeAssociatedData: [_deleted]).
DELETED = "http://azurehealthcareapis.com/data-extensions/deleted-state"

TABLES = """
CREATE TABLE IF NOT EXISTS resources (type TEXT, id TEXT, resource TEXT, PRIMARY KEY (type, id));
CREATE TABLE IF NOT EXISTS runs (uid TEXT PRIMARY KEY, name TEXT);
"""


def lines(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def files(folder):
    return sorted(p for p in folder.glob("*.ndjson*") if p.name != "log.ndjson")


def check(folder):
    """Stops if a file that the manifest names is missing: a download may have broken off."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return
    content = json.loads(manifest.read_text(encoding="utf-8"))
    for entry in content.get("output", []) + content.get("deleted", []):
        name = entry["url"].split(f"/{folder.name}/", 1)[-1]
        if not (folder / name).exists():
            sys.exit(f"{folder / name} is missing: download it again")


def load(database, folder):
    newest, gone = {}, []
    for path in files(folder):
        for resource in lines(path):
            key = (resource["resourceType"], resource.get("id", ""))
            meta = resource.get("meta", {})
            if key[0] == "OperationOutcome":
                continue
            if any(e.get("url") == DELETED for e in meta.get("extension", [])):
                gone.append(key)
            # Patient and Group exports may contain a resource twice.
            elif key not in newest or meta.get("lastUpdated", "") > newest[key]:
                newest[key] = meta.get("lastUpdated", "")
                database.execute("INSERT OR REPLACE INTO resources VALUES (?, ?, ?)", (*key, json.dumps(resource)))
    # After the resources: a run never contains what it deletes.
    for path in files(folder / "deleted"):
        for bundle in lines(path):
            gone += [tuple(entry["request"]["url"].split("/")) for entry in bundle["entry"]]
    database.executemany("DELETE FROM resources WHERE type = ? AND id = ?", gone)


def main(lake, database):
    chain = json.load(sys.stdin)["status"].get("chain", {})
    database = sqlite3.connect(database)
    database.executescript(TABLES)
    loaded = {uid for (uid,) in database.execute("SELECT uid FROM runs")}
    history = chain.get("history", [])
    known = [place for place, run in enumerate(history) if run["uid"] in loaded]
    new = history[known[-1] + 1 :] if known else history
    if new and not known and new[0]["mode"] != "Full":
        sys.exit("the status no longer lists the runs before these: wait for the next full run, or ask for one")
    if any(run.get("container", "").startswith("export-") for run in new):
        sys.exit("each run has a container of its own: set request.container in the schedule")
    for run in new:
        # A run without changes has no folder.
        folder = pathlib.Path(lake) / run["folder"] if run.get("folder") else None
        if folder and not folder.is_dir():
            sys.exit(f"{folder} is missing: download it first")
        if folder:
            check(folder)
        # One transaction: load a run completely, or not at all.
        with database:
            if run["mode"] == "Full":
                database.execute("DELETE FROM resources")
            if folder:
                load(database, folder)
            database.execute("INSERT INTO runs VALUES (?, ?)", (run["uid"], run["name"]))
        print(f"{run['mode']} run {run['name']} is loaded")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
