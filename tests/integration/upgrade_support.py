# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades on a sandbox, and what users have in a cluster meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, Tuple

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import Journey, Upgrader
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import client_of, wait_until
from .support import COLLECTIONS, lines, request_for

WAY = ("v1.9.1", "v1.10.2", "v1.11.0", "26.03")
PROFILES = "/apis/kubeflow.org/v1/profiles"


def all_acks() -> Tuple[str, ...]:
    """Yes to whatever the hops of the shipped releases ask."""
    catalogue = Catalogue.load()
    hops = [catalogue.release(name).hop for name in catalogue.names]
    return tuple(ack.name for hop in hops if hop is not None for ack in hop.acks)


def upgrade(sandbox: Sandbox, release: str = "26.03", acks: Tuple[str, ...] = (), **settings: Any) -> Journey:
    """Move a sandbox to a release, in this process."""
    return Upgrader(request_for(sandbox, release, **settings), acks, lines(sandbox.name)).run()


def story(journey: Journey) -> List[Tuple[str, str, str]]:
    """(from, to, state) of every hop."""
    return [(hop.source, hop.target, hop.state) for hop in journey.hops]


def problems(journey: Journey) -> str:
    """Everything that went wrong, for a failing test's message."""
    found = [str(error) for error in journey.errors]
    for hop in journey.hops:
        if hop.outcome is not None:
            found += [str(error) for error in hop.outcome.errors] + [str(one) for one in hop.outcome.findings]
    return "\n".join(found)


# ------------------------------------------------------------------ what users have


def _pod() -> Dict[str, Any]:
    return {"containers": [{"name": "main", "image": "example.invalid/user:1"}]}


def _resource(group_version: str, kind: str, plural: str) -> Resource:
    return Resource(group_version, kind, plural, True)


def _tensor_pod() -> Dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "pytorch", "image": "example.invalid/user:1"}]}}}


USER_KINDS: Dict[str, Tuple[Resource, Dict[str, Any]]] = {
    "PersistentVolumeClaim": (
        _resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    ),
    "Notebook": (_resource("kubeflow.org/v1", "Notebook", "notebooks"), {"template": {"spec": _pod()}}),
    "PyTorchJob": (
        _resource("kubeflow.org/v1", "PyTorchJob", "pytorchjobs"),
        {"pytorchReplicaSpecs": {"Master": {"replicas": 1, **_tensor_pod()}}},
    ),
    "InferenceService": (
        _resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices"),
        {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://data/model"}}},
    ),
    "Experiment": (
        _resource("kubeflow.org/v1beta1", "Experiment", "experiments"),
        {
            "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
            "algorithm": {"algorithmName": "random"},
            "parameters": [{"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.1", "max": "0.2"}}],
            "maxTrialCount": 1,
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "lr", "reference": "lr"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": {**_pod(), "restartPolicy": "Never"}}},
                },
            },
        },
    ),
}


def new_tenant(sandbox: Sandbox, name: str) -> None:
    """A Profile, and its namespace as soon as its controller has made it."""
    client = client_of(sandbox)
    spec = {"owner": {"kind": "User", "name": name + "@example.com"}}
    client.create(PROFILES, {"apiVersion": "kubeflow.org/v1", "kind": "Profile", "metadata": {"name": name}, "spec": spec})
    accounts = "/api/v1/namespaces/%s/serviceaccounts" % name
    wait_until(client, "/api/v1/namespaces", lambda one: one["metadata"]["name"] == name)
    wait_until(client, accounts, lambda one: one["metadata"]["name"] == "default-editor")


def admitted(api: Api, resource: Resource, obj: KubeObject, seconds: float = 30.0) -> KubeObject:
    """What the server made of an object that a user creates.

    A program may be Ready, by its own probe, a moment before it answers for all paths of its webhooks (the training operator
    is); a user then tries again, and so do we, by dry run, until the webhook knows the kind.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            api.create(resource, obj, dry=True)
            return api.create(resource, obj)
        except ApiError as error:
            if "failed calling webhook" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(0.2)


def work_of(tenant: str, release: str, api: Api) -> Dict[str, str]:
    """Make one object of every kind that the cluster serves; full name -> uid."""
    served = api.discover()
    made: Dict[str, str] = {}
    for kind, (resource, spec) in USER_KINDS.items():
        if kind == "PyTorchJob" and release not in ("v1.9.1", "v1.10.2"):
            continue  # its definition is still there, and nobody who would do the work
        if served.get(resource.group_version, kind) is None:
            continue
        name = "of-" + release.replace(".", "-")
        obj: KubeObject = {
            "apiVersion": resource.group_version,
            "kind": kind,
            "metadata": {"name": name, "namespace": tenant},
            "spec": spec,
        }
        written = admitted(api, resource, obj)
        made["%s %s/%s" % (kind, tenant, name)] = written["metadata"]["uid"]
    return made


def still_there(api: Api, made: Dict[str, str]) -> Dict[str, str]:
    """The same objects as they can be read now; full name -> uid, "" for one that is gone."""
    found = {}
    for key in made:
        kind, _space, path = key.partition(" ")
        namespace, _slash, name = path.partition("/")
        obj = api.get(USER_KINDS[kind][0], namespace, name)
        found[key] = obj["metadata"]["uid"] if obj else ""
    return found


# ------------------------------------------------------------------ upgrades that are killed at a known write

_KILLED_UPGRADE = """
import json, os, signal, sys
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import Upgrader

told = json.loads(sys.argv[1])
left, acks = [told.pop("writes")], tuple(told.pop("acks"))

def guard():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

for name, value in told.items():
    if isinstance(value, list):
        told[name] = tuple(value)
Upgrader(Request(**told), acks, Silent(), guard).run()
"""


def upgrade_killed_after(sandbox: Sandbox, release: str, writes: int, seconds: float = 300.0) -> bool:
    """Upgrade in a process that is killed just before write number ``writes + 1``; whether it was."""
    told = {key: value for key, value in vars(request_for(sandbox, release)).items() if key != "policy"}
    process = subprocess.run(
        [sys.executable, "-c", _KILLED_UPGRADE, json.dumps({**told, "writes": writes, "acks": all_acks()})],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        timeout=seconds,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0
