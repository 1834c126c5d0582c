# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filled site is saved, put into a cluster that has only the platform, and is the same there.

Databases and the object store are real servers on loopback, reached by the client programs of this machine: no container
runs in a sandbox.
"""

from __future__ import annotations

import gzip
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.backups import listing, manifests, verify
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError, sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.manifest import save_manifest
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.s3 import Bucket, connect, list_objects, make_sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import open_store
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from . import mariadb_support
from .backup_support import (
    PASSWORD_OF_A_USER,
    SECRET_KEY,
    S3Server,
    Site,
    backup,
    data_of,
    empty_bucket,
    fill,
    killed_backup,
    killed_restore,
    restore,
    users_objects,
)
from .platform_fixtures import Maker
from .support import EXHAUSTIVE, inventory, run_playbook

RUNS, OBJECTS = (10_000, 3_000) if EXHAUSTIVE else (300, 150)
KILLS = 20 if EXHAUSTIVE else 1
PASSPHRASE = "a passphrase that nobody may see"
KEY = BackupKey(passphrase=PASSPHRASE)


@pytest.fixture(name="make_site", scope="module")
def _make_site(
    sandboxes: Maker, installed: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """Makes a site with the whole platform and without users, and ends all of them."""
    sites: List[Site] = []
    servers: List[S3Server] = []

    def make(name: str) -> Site:
        folder = tmp_path_factory.mktemp(name)
        sandbox: Sandbox = sandboxes.make(name, snapshot=installed("26.03"), release="26.03", real=True)
        servers.append(S3Server(folder / "s3.log"))
        sites.append(Site(sandbox, mariadb_support.start(folder / "db"), servers[-1].settings))
        return sites[-1]

    yield make
    for server in servers:
        server.stop()
    for site in sites:
        site.database.stop()
        sandboxes.remove(site.sandbox.name)


@pytest.fixture(name="full", scope="module")
def _full(make_site: Callable[[str], Site]) -> Site:
    """A site with users, whose data no test changes."""
    site = make_site("full")
    fill(site, RUNS, OBJECTS)
    return site


@pytest.fixture(name="fresh", scope="module")
def _fresh(make_site: Callable[[str], Site]) -> Site:
    """A site that backups are put into."""
    return make_site("fresh")


@pytest.fixture(name="saved", scope="module")
def _saved(full: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with one encrypted backup of the full site, that no test changes."""
    place = tmp_path_factory.mktemp("saved") / "backups"
    outcome = backup(full, place, key=KEY)
    manifest = sure(outcome.manifest)
    assert manifest.complete and not outcome.resumed and manifest.encryption == "passphrase"
    return place


def copy_of(saved: Path, place: Path) -> Path:
    """A place that a test may damage."""
    subprocess.run(["cp", "-a", str(saved), str(place)], check=True)
    return place


def files_of(place: Path) -> Dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------ there and back


def test_a_site_is_the_same_in_a_new_cluster(full: Site, fresh: Site, saved: Path) -> None:
    """Every row, every artifact, every object; and once more with the same result."""
    wanted, data = users_objects(full), data_of(full)
    assert len(wanted) >= 16 and data[1][0] == OBJECTS
    outcome = restore(fresh, saved, key=KEY)
    assert {line.part: line.state for line in outcome.lines} == {
        "record": "left",
        "objects": "done",
        "database/pipelines": "done",
        "database/katib": "done",
        "objectstore/pipelines": "done",
    }
    assert users_objects(fresh) == wanted
    assert data_of(fresh) == data
    again = restore(fresh, saved, key=KEY, overwrite=("database",), confirm=fresh.sandbox.name, parts=("objects", "database"))
    objects = next(line for line in again.lines if line.kind == "objects")
    assert sure(objects.tally).counts.keys() <= {"same", "different"}
    assert users_objects(fresh) == wanted
    assert data_of(fresh) == data


def test_what_is_there_is_not_overwritten_without_a_name(full: Site, saved: Path) -> None:
    """Nothing is written; a name without the confirmation is no permission either."""
    before = data_of(full)
    for settings in ({}, {"overwrite": ("all",)}, {"overwrite": ("all",), "confirm": "another"}):
        with pytest.raises(EngineError, match="there is data already") as refused:
            restore(full, saved, key=KEY, **settings)
        assert "kubeflow_restore_overwrite" in refused.value.next_step and "nothing was written" in refused.value.next_step
        assert "database/katib" in str(refused.value) and "objectstore/pipelines" in str(refused.value)
    assert data_of(full) == before


def test_the_record_says_when_the_data_were_saved(full: Site, saved: Path) -> None:
    """That is what answers the acknowledgements of an upgrade."""
    backups = load(full.api).backups
    manifest = manifests(open_store(str(saved)))[0]
    assert {name: (one.release, one.at) for name, one in backups.items()} == {
        name: ("26.03", manifest.ended) for name in ("pipelines", "katib")
    }


def test_a_part_that_is_not_all_of_a_component_is_not_recorded(full: Site, tmp_path: Path) -> None:
    """A dump without the artifacts is no backup of pipelines."""
    before = load(full.api).backups
    outcome = backup(full, tmp_path / "b", parts=("database",))
    assert [(part.kind, part.name) for part in sure(outcome.manifest).parts] == [("database", "pipelines"), ("database", "katib")]
    after = load(full.api).backups
    assert after["pipelines"] == before.get("pipelines") and after["katib"].place.endswith(sure(outcome.manifest).id)


# ------------------------------------------------------------------ secrets


def test_no_secret_is_in_a_backup_that_is_not_encrypted(full: Site, tmp_path: Path) -> None:
    """Not in the manifest, not in a name, not in a file; values of Secrets and the record are left out."""
    outcome = backup(full, tmp_path / "b")
    manifest = sure(outcome.manifest)
    assert manifest.part("record", "") is None
    for name, content in files_of(tmp_path / "b").items():
        plain = gzip.decompress(content) if name.endswith(".gz") else content
        for secret in (PASSWORD_OF_A_USER, mariadb_support.PASSWORD, SECRET_KEY):
            assert secret not in name and secret.encode() not in plain, name
    assert not [name for name in files_of(tmp_path / "b") if "secrets" in name]


def test_an_encrypted_backup_cannot_be_read_without_the_key(saved: Path, fresh: Site) -> None:
    """Only the manifest is readable, and no secret is in it."""
    for name, content in files_of(saved).items():
        for secret in (PASSWORD_OF_A_USER, mariadb_support.PASSWORD, SECRET_KEY, PASSPHRASE):
            assert secret.encode() not in content and secret not in name, name
        if not name.endswith("manifest.json"):
            assert content.startswith((b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")), name
    with pytest.raises(EngineError, match="encrypted and there is no key"):
        restore(fresh, saved)
    with pytest.raises(EngineError, match="passphrase"):
        restore(fresh, saved, key=BackupKey(passphrase="another one"))


# ------------------------------------------------------------------ killed


def test_a_killed_backup_goes_on(full: Site, tmp_path: Path) -> None:
    """Whenever it was killed: the backup that is finished then is whole and holds what an undisturbed one holds."""
    random.seed(6)
    began = time.monotonic()
    assert killed_backup(full, tmp_path / "whole", PASSPHRASE, 600.0) == 0
    seconds = time.monotonic() - began
    undisturbed = _figures(manifests(open_store(str(tmp_path / "whole")))[0])
    killed = 0
    for number in range(KILLS):
        place = tmp_path / ("b%d" % number)
        killed += killed_backup(full, place, PASSPHRASE, seconds * random.uniform(0.2, 0.9)) == -signal.SIGKILL
        whole_before = sum(one.complete for one in manifests(open_store(str(place))))
        outcome = backup(full, place, key=KEY)
        assert _figures(outcome.manifest) == undisturbed
        there = manifests(open_store(str(place)))
        assert all(one.complete for one in there)
        # It may have been killed when it was through already: then there are two.
        assert len(there) == 1 + whole_before
        assert verify(open_store(str(place)), there[0], KEY, Silent()).problems == ()
    assert killed >= KILLS / 2, "%d of %d were killed in time" % (killed, KILLS)


def _figures(manifest: Any) -> Dict[str, Any]:
    """What two backups of the same site have in common; kinds that the platform itself writes all the time are left out."""
    found: Dict[str, Any] = {}
    for part in sure(manifest).parts:
        if part.kind == "database":
            found[part.name + " rows"] = part.details["rows"]
        if part.kind == "objectstore":
            found[part.name] = dict(part.counts)
        if part.kind == "objects":
            kinds = part.details["kinds"]
            found.update({name: kinds[name]["digest"] for name in ("workflows.argoproj.io", "experiments.kubeflow.org", "configmaps")})
    return found


def test_a_killed_restore_goes_on(full: Site, fresh: Site, saved: Path) -> None:
    """Nobody says that it may overwrite: the half that it left is no data, and what it had done is not touched again."""
    random.seed(7)
    wanted, data = users_objects(full), data_of(full)
    killed = 0
    for _number in range(KILLS):
        fresh.database.empty()
        empty_bucket(fresh)
        killed += killed_restore(fresh, saved, PASSPHRASE, random.uniform(1.0, 8.0), {}) == -signal.SIGKILL
        restore(fresh, saved, key=KEY)
        assert users_objects(fresh) == wanted
        assert data_of(fresh) == data
        with pytest.raises(EngineError, match="there is data already"):
            restore(fresh, saved, key=KEY)
    assert killed >= KILLS / 2, "%d of %d were killed in time" % (killed, KILLS)


# ------------------------------------------------------------------ bad input


def test_a_damaged_backup_is_named(saved: Path, fresh: Site, tmp_path: Path) -> None:
    """One byte is enough, in any file; a file that is cut off or missing is seen without reading it."""
    place = copy_of(saved, tmp_path / "b")
    (dump,) = (path for path in place.rglob("katib.sql*"))
    whole = dump.read_bytes()
    dump.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    store = open_store(str(place))
    problems = verify(store, manifests(store)[0], KEY, Silent()).problems
    assert len(problems) == 1 and "katib.sql" in str(problems[0]) and problems[0].next_step
    before = data_of(fresh)
    with pytest.raises(EngineError, match=r"katib\.sql"):
        restore(fresh, place, key=KEY, parts=("database/katib",), overwrite=("all",), confirm=fresh.sandbox.name)
    assert data_of(fresh) == before, "what is there is not given up for a dump that cannot be played"
    dump.write_bytes(whole[:-1])
    (listed,) = listing(store)
    assert "katib.sql" in listed.problem and not listed.usable
    with pytest.raises(EngineError, match="no complete backup"):
        restore(fresh, place, key=KEY)
    manifest = next(place.rglob("manifest.json"))
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"rows": ', '"rows": 1', 1), encoding="utf-8")
    with pytest.raises(EngineError, match="edited"):
        restore(fresh, place, key=KEY, backup=manifest.parent.name)


def test_a_backup_of_another_cluster_or_a_newer_release_is_refused(saved: Path, fresh: Site, tmp_path: Path) -> None:
    place = copy_of(saved, tmp_path / "b")
    store = open_store(str(place))
    manifest = manifests(store)[0]
    save_manifest(store, replace(manifest, cluster="elsewhere", cluster_uid="00000000-0000-4000-8000-000000000000"))
    with pytest.raises(EngineError, match="another cluster") as refused:
        restore(fresh, place, key=KEY)
    assert "elsewhere" in str(refused.value) and "kubeflow_confirm" in refused.value.next_step
    save_manifest(store, replace(manifest, release="27.10"))
    with pytest.raises(EngineError, match="newer release") as refused:
        restore(fresh, place, key=KEY)
    assert "upgrade the cluster to 27.10" in refused.value.next_step


def test_nothing_to_save_and_nowhere_to_put_it(full: Site, sandbox: Sandbox, tmp_path: Path) -> None:
    """An empty cluster, a place that is a file, a part that is none, a database that does not answer."""
    empty = replace(full, sandbox=sandbox)
    with pytest.raises(EngineError, match="nothing to save"):
        backup(empty, tmp_path / "b")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(EngineError, match="file"):
        backup(full, tmp_path / "file")
    with pytest.raises(EngineError, match="no such part") as refused:
        backup(full, tmp_path / "b", parts=("database/nobody",))
    assert "database/katib" in refused.value.expected
    gone = {name: {"socket": str(tmp_path / "no-socket"), "user": "root"} for name in ("pipelines", "katib")}
    with pytest.raises(EngineError) as refused:
        backup(full, tmp_path / "b", databases=gone)
    assert "database" in refused.value.subject and refused.value.next_step
    assert not manifests(open_store(str(tmp_path / "b")))


def test_a_bucket_that_nobody_made_yet_is_no_error(fresh: Site, tmp_path: Path) -> None:
    """A component makes its bucket with the first thing that it keeps: until then there is nothing to save of it."""
    empty_bucket(fresh)
    fresh.bucket.call("delete_bucket")
    try:
        outcome = backup(fresh, tmp_path / "b", parts=("objectstore",))
    finally:
        make_sure(fresh.bucket)
    part = sure(sure(outcome.manifest).part("objectstore", "pipelines"))
    assert part.state == "done" and part.counts == {"objects": 0, "bytes": 0} and part.files == ()
    assert verify(open_store(str(tmp_path / "b")), sure(outcome.manifest), BackupKey(), Silent()).problems == ()
    restore(fresh, tmp_path / "b")
    assert data_of(fresh)[1][0] == 0


# ------------------------------------------------------------------ as a user runs it


def test_the_playbooks_save_list_and_restore(full: Site, fresh: Site, tmp_path: Path) -> None:
    """Into a folder and into a bucket, with check mode first, which writes nothing; the results are where they always are."""
    variables: Dict[str, Any] = {
        "kubeflow_backup_place": str(tmp_path / "b"),
        "kubeflow_backup_passphrase": PASSPHRASE,
        "kubeflow_backup_databases": _as_list(full.reach()["databases"]),
        "kubeflow_backup_stores": _as_list(full.reach()["stores"]),
    }
    where = inventory(tmp_path / "site", [full.sandbox], **variables)
    shown = run_playbook("backup", where, "--check")
    assert "would save to" in shown and not (tmp_path / "b").exists()
    shown = run_playbook("backup", where)
    assert "encrypted with a passphrase" in shown
    for secret in (PASSPHRASE, mariadb_support.PASSWORD, SECRET_KEY):
        assert secret not in shown
    ours = [line for line in shown.splitlines() if line.startswith(("backup ", "  ", "Values"))]
    assert len(ours) >= 6 and [line for line in ours if len(line) > 80 and str(tmp_path) not in line] == []
    bucket = Bucket(connect(fresh.s3), "backups")
    make_sure(bucket)
    place = {"kubeflow_backup_place": "s3://backups/of/sites", "kubeflow_backup_s3": dict(fresh.s3)}
    remote = inventory(tmp_path / "remote", [full.sandbox], **{**variables, **place}, kubeflow_backup_parts=["objects"])
    shown = run_playbook("backup", remote)
    assert "s3://backups/of/sites" in shown and SECRET_KEY not in shown
    assert {key.split("/")[:2] == ["of", "sites"] for key in (item.key for item in list_objects(bucket))} == {True}
    reach = fresh.reach()
    variables.update(place)
    told = {**variables, "kubeflow_backup_databases": _as_list(reach["databases"]), "kubeflow_backup_stores": _as_list(reach["stores"])}
    there = inventory(tmp_path / "new", [fresh.sandbox], **told, kubeflow_restore_parts=["objects"])
    assert "would restore backup" in run_playbook("restore", there, "--check")
    assert "done in" in run_playbook("restore", there)
    assert users_objects(fresh) == users_objects(full)


def _as_list(settings: Dict[str, Dict[str, Any]]) -> List[Dict[str, Any]]:
    return [{"name": name, **values} for name, values in settings.items()]
