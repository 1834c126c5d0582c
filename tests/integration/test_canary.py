# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret of the inventory or of the cluster appears in no output, no diff, no result, no log, no record and no file."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import os
import secrets
import select
import shutil
import subprocess
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.tools import ensure_tool
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes, client_of
from .support import CACHE, inventory, kill_tree, playbook

SHM = Path("/dev/shm")
COMPONENTS = ["common", "cert_manager", "istio", "dex"]
DEX_CONFIG = """\
issuer: http://dex.auth.svc.cluster.local:5556/dex
storage: {type: memory}
connectors:
- type: ldap
  id: ldap
  config:
    host: ldap.example.com
    clientSecret: "%s"
"""
SECRETS = "/api/v1/namespaces/auth/secrets"


def canary() -> str:
    """A value that is nowhere else."""
    return "cnry-" + secrets.token_hex(12)


def forms(value: str) -> List[bytes]:
    """How a value may be hidden in a file: as it is, in hex, in base64 at each of its three positions."""
    plain = value.encode()
    found = [plain, plain.hex().encode()]
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + plain)
        found.append(coded[(0, 2, 3)[shift] : len(coded) // 4 * 4 - 4])  # without what its neighbours decide
    return found


def unpacked(data: bytes) -> Iterator[bytes]:
    """The data, and what is in it if it is compressed, also in base64 as the values of a Secret are."""
    yield data
    for candidate in (data, _decoded(data)):
        for unpack in (gzip.decompress, zlib.decompress, lzma.decompress):
            try:
                yield unpack(candidate)
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                continue


def _decoded(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        return b""


@dataclass
class World:
    """One cluster, the folder in which everything of its runs lies, and the secrets that must stay hidden.

    :ivar planted: every secret so far: where it was planted -> its value.
    """

    sandbox: Sandbox
    folder: Path
    kustomize: Path
    planted: Dict[str, str] = field(default_factory=dict)

    def plant(self, where: str) -> str:
        """A new secret."""
        return self.planted.setdefault(where, canary())

    def run(self, name: str, *arguments: str, **variables: Any) -> Tuple[int, str]:
        """A playbook as talkative as it can be; (exit status, output). Its inventory is gone afterwards."""
        told = {
            "kubeflow_components": COMPONENTS,
            "kubeflow_progress": "always",
            "kubeflow_version": "26.03",
            "kubeflow_kustomize": str(self.kustomize),
            "kubeflow_cache_dir": str(self.folder / "cache"),
            "kubeflow_results_dir": str(self.folder / "results"),
            **variables,
        }
        where = inventory(self.folder / "inventory", [self.sandbox], **told)
        process = playbook(name, where, "-vvv", "--diff", *arguments)
        try:
            output = process.communicate(timeout=600)[0]
        finally:
            kill_tree(process.pid)
            where.unlink()
        return process.returncode, output

    def traces(self, output: str = "") -> List[str]:
        """Where a secret can be found: in this output, in a file of the runs, in memory files, in our namespace."""
        places = [("output", output.encode())]
        for root in (self.folder, SHM):
            for path in root.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    places.append((str(path), _content(path)))
        client = client_of(self.sandbox)
        for collection in (
            "/api/v1/namespaces/mlplatform-kubeflow/secrets",
            "/api/v1/namespaces/mlplatform-kubeflow/configmaps",
            "/apis/coordination.k8s.io/v1/namespaces/mlplatform-kubeflow/leases",
        ):
            for item in client.get(collection).get("items", []):
                places.append((collection, json.dumps(item).encode()))
                places += [(collection + " " + key, str(value).encode()) for key, value in (item.get("data") or {}).items()]
        found = []
        for place, data in places:
            for text in unpacked(data):
                found += ["%s: %s" % (place, where) for where, value in self.planted.items() if any(form in text for form in forms(value))]
        return sorted(set(found))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it is gone already, or a socket
        return b""


@pytest.fixture(name="world", scope="module")
def _world(sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The cluster; temporary files and logs of every run are in its folder, too."""
    folder = tmp_path_factory.mktemp("canary")
    (folder / "tmp").mkdir()
    inside = {
        "TMPDIR": str(folder / "tmp"),
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
    }
    before = {name: os.environ.get(name) for name in inside}
    os.environ.update(inside)
    kustomize = ensure_tool("kustomize", Catalogue.load().release("26.03").kustomize_version, CACHE)
    yield World(sandboxes.make("canary"), folder, kustomize)
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    shutil.rmtree(folder)


def secret_patch(**data: str) -> Dict[str, Any]:
    """A patch of Dex' Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dex-oidc-client", "namespace": "auth"}, **{"stringData": data}}


def dex_patches(world: World) -> List[Any]:
    """A secret in each place in which users put them."""
    config = DEX_CONFIG % world.plant("a Dex connector in a ConfigMap")
    container = {"name": "dex", "env": [{"name": "LDAP_DSN", "value": world.plant("an environment variable")}]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dex", "namespace": "auth"}, "data": {"config.yaml": config}},
        secret_patch(EXTRA=world.plant("a Secret")),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "dex", "namespace": "auth"},
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
    ]


def test_the_search_finds_what_is_there(world: World) -> None:
    """A search that finds nothing has to be one that could have found something."""
    value = world.plant("a file of this test")
    hidden = {
        "plain": value.encode(),
        "base64": base64.b64encode(b"user:%s@host" % value.encode()),
        "gzip": gzip.compress(b"x" + value.encode()),
        "a Secret's value": base64.b64encode(gzip.compress(value.encode())),
        "a revision": base64.b64encode(lzma.compress(value.encode())),
    }
    for name, data in hidden.items():
        path = world.folder / name
        path.write_bytes(data)
        assert world.traces() == ["%s: a file of this test" % path]
        path.unlink()
    assert world.traces("x%sy" % value) == ["output: a file of this test"]
    assert world.traces() == []


def test_check_mode_shows_no_secret(world: World) -> None:
    """On an empty cluster, with everything that Ansible can print."""
    code, output = world.run("site", "--check", dex_patches=dex_patches(world))
    assert code == 0, output
    assert "Secret auth/dex-oidc-client" in output
    assert world.traces(output) == []


def test_a_run_shows_no_secret(world: World) -> None:
    """The secrets are in the cluster, where they belong, and in no other place; nor are they with a change of one of them."""
    code, output = world.run("site", dex_patches=dex_patches(world))
    assert code == 0, output
    live = client_of(world.sandbox).get(SECRETS + "/dex-oidc-client")
    assert base64.b64decode(live["data"]["EXTRA"]).decode() == world.planted["a Secret"]
    assert world.traces(output) == []
    world.planted["what was a Secret"] = world.planted.pop("a Secret")
    world.planted["what was in a ConfigMap"] = world.planted.pop("a Dex connector in a ConfigMap")
    code, output = world.run("plan", dex_patches=dex_patches(world))
    assert code == 0 and "Secret auth/dex-oidc-client" in output and "ConfigMap auth/dex" in output, output
    assert world.traces(output) == []
    code, output = world.run("site", dex_patches=dex_patches(world))
    assert code == 0, output
    assert world.traces(output) == []


def test_going_back_shows_no_secret(world: World) -> None:
    """To what held other secrets: refused without a value in it; then done, with the objects that lost theirs left as they are."""
    code, output = world.run("rollback", "--tags", "dex", dex_patches=dex_patches(world))
    assert code != 0 and "which no revision keeps" in output, output
    assert world.traces(output) == []
    accepted = ["ConfigMap auth/dex"]
    code, output = world.run("rollback", "--tags", "dex", dex_patches=dex_patches(world), kubeflow_rollback_accept=accepted)
    assert code == 0 and "left as you accepted" in output, output
    assert world.traces(output) == []


def test_a_secret_of_the_cluster_is_shown_as_drift_without_its_value(world: World) -> None:
    """Somebody edited it by hand: which object and key is told, neither the old nor the new value."""
    patches = dex_patches(world)
    value = base64.b64encode(world.plant("an edited Secret").encode()).decode()
    client_of(world.sandbox).patch(SECRETS + "/dex-passwords", {"data": {"DEX_USER_PASSWORD": value}}, manager="kubectl-edit")
    code, output = world.run("plan", dex_patches=patches)
    assert code == 0 and "Secret auth/dex-passwords" in output and "DEX_USER_PASSWORD" in output, output
    assert world.traces(output) == []
    code, output = world.run("site", dex_patches=patches, kubeflow_conflicts="ours")
    assert code == 0, output
    assert world.traces(output) == []


def test_a_refused_secret_is_not_quoted(world: World) -> None:
    """The API server, kustomize and the shape of a patch each refuse in their own words."""
    value = world.plant("a refused Secret")
    refused: Dict[str, Any] = {
        "by the API server": {**secret_patch(), "data": {"EXTRA2": value + " is no base64"}},
        "by its fields": {**secret_patch(), "immutable": value},
        "by kustomize": {
            "target": {"kind": "Secret", "name": "dex-oidc-client"},
            "patch": [{"op": "replace", "path": "/none/password", "value": value}],
        },
        "by its form": "kind: Secret\nmetadata: {name: dex-oidc-client}\nstringData: {password: %s" % value,
        "by its target": {"kind": "Secret", "metadata": {"name": "none"}, "stringData": {"password": value}},
    }
    for why, patch in refused.items():
        code, output = world.run("site", dex_patches=[*dex_patches(world), patch])
        assert code != 0, "not refused %s: %s" % (why, output)
        assert "dex" in output and "FAILED" in output, output
        assert world.traces(output) == [], why


def until_written(pipe: Path, process: subprocess.Popen[str], seconds: float = 120.0) -> str:
    """What a process prints until something is written to a named pipe."""
    assert process.stdout is not None
    output = b""
    end = time.monotonic() + seconds
    watched: List[Any] = [process.stdout]
    fifo = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while time.monotonic() < end:
            ready = select.select([fifo, *watched], [], [], 1.0)[0]
            if fifo in ready:
                return output.decode()
            more = os.read(process.stdout.fileno(), 65536) if ready else b"."
            output += more if ready else b""
            if not more:
                break
    finally:
        os.close(fifo)
    raise AssertionError("it did not come to that point: " + output.decode())


def test_a_run_that_is_killed_while_it_renders_leaves_nothing_behind_the_next_one(world: World) -> None:
    """What a killed run had to leave in memory, the next run of any kind removes."""
    reached = world.folder / "reached"
    os.mkfifo(reached)
    slow = world.folder / "kustomize"
    build = 'echo > "%s"; /bin/sleep 60; exec %s "$@"' % (reached, world.kustomize)
    slow.write_text('#!/bin/sh\n[ "$1" = version ] && exec %s version\n%s\n' % (world.kustomize, build), encoding="utf-8")
    slow.chmod(0o755)
    value = world.plant("a killed run")
    patches = [*dex_patches(world), secret_patch(KILLED=value)]
    where = inventory(
        world.folder / "inventory",
        [world.sandbox],
        kubeflow_components=COMPONENTS,
        kubeflow_kustomize=str(slow),
        kubeflow_cache_dir=str(world.folder / "cache"),
        kubeflow_results_dir=str(world.folder / "results"),
        kubeflow_version="26.03",
        dex_patches=patches,
    )
    process = playbook("plan", where, "-vvv", "--tags", "dex")
    output = until_written(reached, process)
    in_memory = [place for place in world.traces() if place.startswith(str(SHM))]
    kill_tree(process.pid)
    output += process.communicate()[0]
    where.unlink()
    reached.unlink()
    assert in_memory, "the run was to be killed while the secret was in its private folder"
    assert [place for place in world.traces(output) if not place.startswith(str(SHM))] == []
    code, text = world.run("plan")
    assert code == 0, text
    assert world.traces(text) == []
