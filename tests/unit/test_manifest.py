# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manifest is read as it was written, or refused with what is wrong with it: nothing is restored by a changed one."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.manifest import (
    BACKUP_ID,
    SCHEMA,
    BackupFile,
    Manifest,
    Part,
    backup_id,
    load_manifest,
    save_manifest,
    seconds,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.results import now
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

ID = "20261124T184500Z-factory-1"
SUBJECT = ID + "/manifest.json in /srv/backups"


def file(name: str, size: int = 10) -> BackupFile:
    """A file of the backup; its digests are those of its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return BackupFile("%s/%s" % (ID, name), size, digest, 3 * size, digest, name.endswith(".gz"))


KATIB = Part(
    "database", "katib", "katib", "done", (file("databases/katib.sql.gz", 100),), {"rows": 3, "tables": 2},
    "2026-11-24T18:45:10Z", "2026-11-24T18:46:00Z", {"server": "8.0.39", "rows": {"katib.observation_logs": 3}, "note": "Köln"},
)  # fmt: skip
RECORD = Part("record", "", "", "done", (file("record/secrets.jsonl.gz"), file("record/plain")), {"objects": 5, "rows": 1})
WHOLE = Manifest(
    SCHEMA, ID, "factory-1", "0aa9-uid", "26.03", "1.34.10", "1.2.0", "age", "done",
    "2026-11-24T18:45:00Z", "2026-11-24T19:00:00Z", (KATIB, RECORD),
)  # fmt: skip


def read(text: str) -> Manifest:
    """As from a store."""
    return Manifest.read(text.encode("utf-8", "surrogatepass"), SUBJECT)


def refusal(text: str) -> EngineError:
    """The error; it names the file and says what to do."""
    with pytest.raises(EngineError) as caught:
        read(text)
    assert caught.value.subject == SUBJECT and caught.value.next_step
    return caught.value


def resealed(change: Callable[[Dict[str, Any]], Any]) -> str:
    """The text of a manifest that somebody changed and who knew how to make the digest: from its definition, not our code."""
    document = json.loads(WHOLE.text())
    del document["digest"]
    change(document)
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({**document, "digest": digest}, sort_keys=True, indent=1) + "\n"


# ------------------------------------------------------------------ written and read


def test_it_is_read_as_it_was_written() -> None:
    """Every field; the same text for the same manifest; the digest is over the canonical form without itself."""
    assert read(WHOLE.text()) == WHOLE and read(WHOLE.text()).text() == WHOLE.text() == resealed(lambda document: None)
    assert json.loads(WHOLE.text())["parts"][0]["details"]["note"] == "Köln"


@pytest.mark.parametrize("name", ["", "ä", "\0", "\u2028", "\U0001f600", "\ud800", '"', "\\", "../x", "digest", "\r\n"])
def test_whatever_a_part_tells_comes_back(name: str) -> None:
    """Any text, any number, any nesting."""
    details = {name: [name, {name: [None, True, -(10**40), 2**63, 0.1, 1e300, -0.0, 1e-7, []]}], "digest": name}
    manifest = WHOLE.with_part(Part("objectstore", name, name, "running", (), {name: 10**40, "none": 0}, "", "", details))
    assert read(manifest.text()) == manifest


def test_parts_are_found_and_take_the_place_of_their_earlier_state() -> None:
    """In their order; the manifest that was there is not changed."""
    running = replace(KATIB, state="running", files=())
    later = WHOLE.with_part(running)
    assert [part.key for part in later.parts] == [("database", "katib"), ("record", "")]
    assert later.part("database", "katib") is running and WHOLE.part("database", "katib") is KATIB
    assert later.part("objects", "katib") is None
    other = replace(KATIB, name="pipelines")
    assert later.with_part(other).parts == (running, RECORD, other)
    assert (WHOLE.complete, later.complete, replace(WHOLE, state="running").complete) == (True, False, False)


def test_totals_are_the_sums_over_all_parts() -> None:
    """Bytes as stored and before packing, and what was counted."""
    totals = WHOLE.totals()
    assert (totals.files, totals.stored_bytes, totals.plain_bytes) == (3, 120, 360)
    assert totals.counts == {"rows": 4, "tables": 2, "objects": 5}


def test_the_last_sign_of_life_is_the_latest_time() -> None:
    """A run that was killed has no end, but its parts have."""
    running = replace(WHOLE, state="running", ended="")
    assert (WHOLE.last_sign, running.last_sign, replace(running, parts=()).last_sign) == (
        "2026-11-24T19:00:00Z", "2026-11-24T18:46:00Z", "2026-11-24T18:45:00Z",
    )  # fmt: skip


@pytest.mark.parametrize("cluster", ["factory-1", "edge.site_2", "10.0.0.1:6443", "../../etc", "Köln 3", ""])
def test_any_cluster_makes_an_id_that_is_a_name(cluster: str) -> None:
    """It sorts by time and leaves no folder."""
    name = backup_id("2026-11-24T18:45:00Z", cluster)
    assert BACKUP_ID.fullmatch(name) and name.startswith("20261124T184500Z-") and "/" not in name
    assert BACKUP_ID.fullmatch(backup_id(now(), cluster))


def test_times_are_utc() -> None:
    """Whatever the machine's time zone is."""
    assert seconds("1970-01-02T00:00:01Z") == 86401


# ------------------------------------------------------------------ in a store


def test_it_is_kept_below_its_id(tmp_path: Path) -> None:
    """And found there; what cannot be read again is not written, and the one before stays."""
    store = FolderStore(str(tmp_path))
    save_manifest(store, WHOLE)
    assert load_manifest(store, ID) == WHOLE and (tmp_path / ID / "manifest.json").read_text() == WHOLE.text()
    with pytest.raises(EngineError, match=r"parts\[0\].files\[0\].sha256 in the manifest"):
        save_manifest(store, replace(WHOLE, parts=(replace(KATIB, files=(replace(KATIB.files[0], sha256="?"),)),)))
    assert load_manifest(store, ID) == WHOLE


def test_the_manifest_of_another_backup_is_refused(tmp_path: Path) -> None:
    """A folder that was renamed or copied over another one."""
    save_manifest(FolderStore(str(tmp_path)), WHOLE)
    (tmp_path / ID).rename(tmp_path / "20261125T000000Z-factory-1")
    with pytest.raises(EngineError) as caught:
        load_manifest(FolderStore(str(tmp_path)), "20261125T000000Z-factory-1")
    assert "that of another backup" in caught.value.cause and caught.value.found == ID
    with pytest.raises(EngineError, match="not there"):
        load_manifest(FolderStore(str(tmp_path)), ID)


@pytest.mark.parametrize("secret", ["s3cr3t-of-minio", 'with "quotes" \\ and\nlines', "Schlüssel-Köln"])
def test_no_credential_gets_into_a_manifest(tmp_path: Path, secret: str) -> None:
    """Wherever it is; it is not in the error either, and nothing is written."""
    leaking = WHOLE.with_part(replace(KATIB, details={"url": ["mysql://root:%s@mysql" % secret]}))
    with pytest.raises(EngineError) as caught:
        save_manifest(FolderStore(str(tmp_path)), leaking, secrets=["", "another-one", secret])
    assert "credential" in caught.value.cause and secret not in str(caught.value) and not list(tmp_path.iterdir())
    save_manifest(FolderStore(str(tmp_path)), leaking, secrets=["", "katib", "other-secret"])  # short ones are names


# ------------------------------------------------------------------ what is not right


def test_one_changed_byte_anywhere_is_noticed() -> None:
    """Also in white space, also where it stays JSON."""
    text = WHOLE.text()
    dice = random.Random(7)
    for at in dice.sample(range(len(text)), 120):
        other = dice.choice([char for char in ' 07abz",{}' if char != text[at]])
        refusal(text[:at] + other + text[at + 1 :])
    for edited in (text.rstrip(), text + "\n", text.replace("\n", "\r\n"), text.replace(": ", ":"), text.replace(": 100\n", ": 1e2\n")):
        assert edited != text
        assert "was edited" in refusal(edited).cause


def test_a_manifest_that_was_cut_off_is_noticed() -> None:
    """Wherever."""
    text = WHOLE.text()
    for end in range(0, len(text) - 1, 97):
        assert "cut off" in refusal(text[:end]).cause


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "7", "{}", '{"schema": "1"}', '{"schema": true}', '{"schema": 0}', '{"schema": null}', '{"digest": "x"}'],
)
def test_other_json_is_no_manifest(text: str) -> None:
    """Somebody's settings, an empty object."""
    assert "no manifest" in refusal(text).cause


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\0", b"<html>", b"{'schema': 1}", b'{"schema": NaN}', b"[" * 100_000, b'{"schema": 1' + b"0" * 5000 + b"}"]
)
def test_what_is_not_json_is_named(data: bytes) -> None:
    """A login page, a picture, a text that only looks like it."""
    with pytest.raises(EngineError, match="not JSON") as caught:
        Manifest.read(data, SUBJECT)
    assert caught.value.subject == SUBJECT


@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "[" * 400 + "]" * 400, "1.0", '{"a": 1, "a": 2}'])
def test_json_that_we_never_write_was_edited(value: str) -> None:
    """Infinite numbers, half characters, endless nesting, keys twice: an error, not a crash."""
    text = WHOLE.text().replace('"8.0.39"', value)
    assert text != WHOLE.text() and "edited" in refusal(text).cause


def test_a_newer_schema_says_which_collection_to_use() -> None:
    """Its other fields and its digest may be anything by then."""
    error = refusal('{"schema": 2, "collection": "3.1.0", "checksum": {}}')
    assert "newer version" in error.cause and error.found == "schema 2, collection 3.1.0" and "schema 1" in error.expected


def _in(*path: Any) -> Callable[[Dict[str, Any], Any], None]:
    def put(document: Any, value: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        if value is KeyError:
            del document[path[-1]]
        else:
            document[path[-1]] = value

    return put


FILE0: List[Any] = ["parts", 0, "files", 0]
WRONG = [
    (["cluster"], 7), (["id"], ""), (["id"], "../20261124T184500Z-x"), (["id"], "20261124T184500Z-x/y"), (["state"], "finished"),
    (["encryption"], "rot13"), (["encryption"], None), (["started"], ""), (["started"], "yesterday"), (["ended"], "2026-13-01T00:00:00Z"),
    (["parts"], {}), (["parts"], [7]), (["parts", 0, "kind"], "volume"), (["parts", 0, "kind"], ["database"]),
    (["parts", 0, "counts"], {"rows": "3"}), (["parts", 0, "counts"], {"rows": True}), (["parts", 0, "counts"], {"rows": -1}),
    (["parts", 0, "details"], []), (["parts", 0, "files"], "none"), ([*FILE0, "size"], -1), ([*FILE0, "size"], 1.5),
    ([*FILE0, "size"], True), ([*FILE0, "plain_size"], "10"), ([*FILE0, "sha256"], "A" * 64), ([*FILE0, "plain_sha256"], "0" * 63),
    ([*FILE0, "compressed"], 1),
    ([*FILE0, "name"], ID + "/../../etc/passwd"), ([*FILE0, "name"], "/etc/passwd"), ([*FILE0, "name"], ID + "//x"),
    ([*FILE0, "name"], ID + "/\0"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_a_value_of_another_kind_is_named_with_its_place(path: List[Any], value: Any) -> None:
    """Also with a digest that fits: what we did not write is not trusted."""
    error = refusal(resealed(lambda document: _in(*path)(document, value)))
    place = "".join("[%d]" % step if isinstance(step, int) else "." + step for step in path).lstrip(".")
    assert error.cause.startswith(place) and error.expected and error.found


@pytest.mark.parametrize("path", [["cluster_uid"], ["parts"], ["parts", 1, "details"], [*FILE0, "plain_sha256"]])
def test_a_missing_or_unknown_field_is_named(path: List[Any]) -> None:
    """By its place."""
    place = "".join("[%d]" % step if isinstance(step, int) else "." + step for step in path).lstrip(".")
    error = refusal(resealed(lambda document: _in(*path)(document, KeyError)))
    assert error.cause == "the manifest lacks a field" and error.found == place
    error = refusal(resealed(lambda document: _in(*path[:-1], "zzz")(document, 1)))
    assert "not known" in error.cause and error.found.endswith("zzz")


def test_two_of_one_name_and_files_of_other_backups_are_refused() -> None:
    """One would be restored over the other, or what no digest of this backup covers."""
    assert "two parts with the same name database katib" in refusal(replace(WHOLE, parts=(KATIB, KATIB)).text()).cause
    twice = replace(WHOLE, parts=(KATIB, replace(RECORD, files=KATIB.files)))
    assert "two files with the same name %s/databases/katib.sql.gz" % ID in refusal(twice.text()).cause
    stray = replace(KATIB, files=(replace(KATIB.files[0], name="20250101T000000Z-factory-1/x"),))
    assert "not of this backup" in refusal(WHOLE.with_part(stray).text()).cause
