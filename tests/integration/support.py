# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the engine and the playbooks on a sandbox, and what its API server says about it afterwards."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Discovery
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import (
    COMPONENT_LABEL,
    KubeObject,
    ObjectRef,
    get_path,
    ref_of,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Lines, Progress
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Request, Session
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

REPO = Path(__file__).resolve().parents[2]
COLLECTIONS = REPO / ".cache" / "collections"
MIRROR = os.environ.get("KUBEFLOW_MIRROR", "") or str(REPO.parent / "shared" / "mirror")
CACHE = Path(os.environ.get("KUBEFLOW_CACHE_DIR") or "~/.cache/mlplatform.kubeflow").expanduser()
# Whether the tests run that take too long for every change.
EXHAUSTIVE = bool(os.environ.get("KUBEFLOW_EXHAUSTIVE"))
RELEASES = ("26.03", "v1.10.2")
# What a write of ours is in the audit log.
OUR_AGENT = "mlplatform.kubeflow"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
# A set with every kind of order in it: CRDs, certificates, webhooks, workloads, custom resources.
FEW = ("common", "cert_manager", "istio", "oauth2_proxy", "dex", "admission_webhook", "katib")


# ---------------------------------------------------------------- running


def request_for(sandbox: Sandbox, release: str = "26.03", **settings: Any) -> Request:
    """What a run on this sandbox is told; ``settings`` are fields of Request."""
    told: Dict[str, Any] = {
        "cluster": sandbox.name,
        "kubeconfig": str(sandbox.kubeconfig),
        "version": release,
        "mirror": MIRROR,
        "cache_dir": str(CACHE),
        "timeout": 600.0,
        "lock_timeout": 120.0,
    }
    return Request(**{**told, **settings})


def lines(name: str) -> Progress:
    """Progress on standard error, which pytest shows for a test that failed."""
    return Lines(lambda line: print(line, file=sys.stderr), name)


def converge(sandbox: Sandbox, release: str = "26.03", **settings: Any) -> Outcome:
    """Bring a sandbox to what is asked for, in this process.

    :raises EngineError: the run was refused.
    """
    return Session(request_for(sandbox, release, **settings), lines(sandbox.name)).converge()


def plan(sandbox: Sandbox, release: str = "26.03", **settings: Any) -> Outcome:
    """Plan in this process; nothing is written."""
    return Session(request_for(sandbox, release, **settings), lines(sandbox.name)).plan()


def verdicts(outcome: Outcome) -> Dict[str, str]:
    """The objects that a plan would not leave alone: name -> verdict."""
    assert outcome.plan is not None
    return {str(item.ref): item.verdict.value for item in outcome.plan.items if item.verdict.value != "unchanged"}


def healthy(outcome: Outcome) -> Outcome:
    """The outcome itself, if all is well; else the test fails with what is not."""
    problems = [str(item) for item in (*outcome.errors, *outcome.findings, *outcome.absent)]
    assert outcome.healthy, "\n".join(problems)
    return outcome


def inventory(folder: Path, sandboxes: Sequence[Sandbox], **variables: Any) -> Path:
    """An inventory of these clusters with these variables for all of them."""
    told = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "kubeflow_mirror": MIRROR,
        "kubeflow_cache_dir": str(CACHE),
        **variables,
    }
    hosts = {sandbox.name: {"kubeflow_kubeconfig": str(sandbox.kubeconfig)} for sandbox in sandboxes}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "inventory.yml"
    path.write_text(json.dumps({"all": {"children": {"kubeflow_clusters": {"hosts": hosts, "vars": told}}}}), encoding="utf-8")
    return path


def playbook(name: str, where: Path, *arguments: str, venv: str = "") -> subprocess.Popen[str]:
    """Start ``ansible-playbook mlplatform.kubeflow.<name>`` in a session of its own; output in one pipe.

    :param venv: the folder of the repository with another Ansible; default is the one that runs the tests.
    """
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_HOME": str(where.parent / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_DEPRECATION_WARNINGS": "true",
    }
    programs = REPO / venv / "bin" if venv else Path(sys.executable).parent
    program = programs / "ansible-playbook"
    return subprocess.Popen(
        [str(program), "--inventory", str(where), "mlplatform.kubeflow." + name, *arguments],
        cwd=where.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_playbook(name: str, where: Path, *arguments: str, seconds: float = 900.0, venv: str = "") -> str:
    """The output of a playbook that has to end well."""
    process = playbook(name, where, *arguments, venv=venv)
    try:
        output = process.communicate(timeout=seconds)[0]
    finally:
        kill_tree(process.pid)
    assert process.returncode == 0, output
    return output


def recap(output: str) -> Dict[str, Dict[str, int]]:
    """The figures of Ansible's PLAY RECAP by host."""
    found: Dict[str, Dict[str, int]] = {}
    for line in output.partition("PLAY RECAP")[2].splitlines()[1:]:
        host, colon, figures = line.partition(" : ")
        if colon:
            pairs = (figure.split("=") for figure in figures.split())
            found[host.strip()] = {key: int(value) for key, value in pairs}
    return found


# ---------------------------------------------------------------- killing


def _stat(pid: str) -> Tuple[int, str]:
    """(parent, state) of a process; (0, "") if there is none."""
    try:
        fields = Path("/proc/%s/stat" % pid).read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return int(fields[1]), fields[0]


def descendants(pid: int) -> List[int]:
    """Every process below one; Ansible's workers have sessions of their own, so a process group is not enough."""
    children: Dict[int, List[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            children.setdefault(_stat(entry)[0], []).append(int(entry))
    found: List[int] = []
    level = [pid]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def kill_tree(pid: int) -> int:
    """SIGKILL a process that we started and everything below it; how many there were."""
    victims = [pid, *descendants(pid)]
    count = 0
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
            count += 1
        except ProcessLookupError:
            continue
    return count


# ---------------------------------------------------------------- what the API server saw


@dataclass(frozen=True)
class Call:
    """One request as the API server's audit log has it.

    :ivar at: when it arrived; :ivar code: the answer's HTTP status.
    """

    verb: str
    uri: str
    agent: str
    code: int
    at: datetime
    stage: str

    @property
    def dry(self) -> bool:
        """Whether it asked for a dry run."""
        return "dryRun=" in self.uri

    @property
    def writes(self) -> bool:
        """Whether it was meant to change something."""
        return self.verb in WRITES and not self.dry

    @property
    def path(self) -> str:
        """The URI without its query."""
        return self.uri.partition("?")[0]

    def __str__(self) -> str:
        return "%s %s: %d" % (self.verb, self.uri, self.code)


class Audit:
    """The audit log of a sandbox from now on.

    :param agent: whose requests count.
    """

    def __init__(self, sandbox: Sandbox, agent: str = OUR_AGENT) -> None:
        assert sandbox.audit_log is not None
        self._path = sandbox.audit_log
        self._agent = agent
        self._start = self._path.stat().st_size

    def calls(self) -> List[Call]:
        """Every request since then, in the order of its answer; a watch counts once."""
        with self._path.open("rb") as stream:
            stream.seek(self._start)
            text = stream.read()
        found = []
        for line in text.split(b"\n")[:-1]:  # the last one may be half written
            event = json.loads(line)
            call = Call(
                event["verb"],
                event["requestURI"],
                event.get("userAgent", ""),
                int(get_path(event, "responseStatus.code", 0)),
                datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")),
                event["stage"],
            )
            if call.agent == self._agent and not (call.verb == "watch" and call.stage == "ResponseStarted"):
                found.append(call)
        return found

    def writes(self) -> List[Call]:
        """The requests that were meant to change something."""
        return [call for call in self.calls() if call.writes]

    def rejected(self) -> List[str]:
        """The writes that the API server turned down."""
        return [str(call) for call in self.writes() if call.code >= 400]

    def wait_for_writes(self, count: int, alive: Callable[[], bool], seconds: float = 300.0) -> int:
        """Follow the log until so many writes are in it; how many there are. Ends early when ``alive`` says no."""
        end = time.monotonic() + seconds
        position, found, rest = self._start, 0, b""
        agent = b'"userAgent":"%s"' % self._agent.encode()
        while found < count and time.monotonic() < end and alive():
            with self._path.open("rb") as stream:
                stream.seek(position)
                text = stream.read()
            position += len(text)
            *whole, rest = (rest + text).split(b"\n")
            found += sum(1 for line in whole if agent in line and _is_write(json.loads(line)))
            time.sleep(0.01)  # the log is a file that grows: there is nothing to wait on
        return found


def _is_write(event: Mapping[str, Any]) -> bool:
    return event["verb"] in WRITES and "dryRun=" not in event["requestURI"]


# ---------------------------------------------------------------- what is in the cluster


class Cluster:
    """All objects of a cluster by kind, read as they are now."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.api = Api.connect(str(sandbox.kubeconfig))
        self.discovery: Discovery = self.api.discover()

    def objects(self, refs: Iterable[ObjectRef], versions: Mapping[ObjectRef, str]) -> Dict[ObjectRef, KubeObject]:
        """Those of these objects that are there, one LIST per kind."""
        wanted = set(refs)
        kinds = {(versions[ref], ref.kind) for ref in wanted}
        found: Dict[ObjectRef, KubeObject] = {}
        for version, kind in sorted(kinds):
            resource = self.discovery.get(version, kind)
            if resource is None:
                continue
            for obj in self.api.list(resource)[0]:
                if ref_of(obj) in wanted and versions[ref_of(obj)] == version:  # upstream mixes versions of a kind
                    found[ref_of(obj)] = obj
        return found

    def of(self, outcome: Outcome) -> Dict[ObjectRef, KubeObject]:
        """The objects that a run wanted and that are there."""
        assert outcome.render is not None
        versions = {ref: item.obj["apiVersion"] for ref, item in outcome.render.objects.items()}
        return self.objects(versions, versions)

    def get(self, version: str, kind: str, namespace: str, name: str) -> Optional[KubeObject]:
        """One object, or None."""
        resource = self.discovery.get(version, kind)
        assert resource is not None
        return self.api.get(resource, namespace, name)

    def pods(self) -> List[KubeObject]:
        """Every pod."""
        resource = self.discovery.get("v1", "Pod")
        assert resource is not None
        return self.api.list(resource)[0]


def is_ready(pod: KubeObject) -> bool:
    """Whether a pod serves, or has done its work."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    return any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])


# Filled by the server or a controller, each time with something else: kind ("" for every one) -> paths, * for every item.
VOLATILE: Mapping[str, Sequence[str]] = {
    "": (
        "status",
        "metadata.creationTimestamp",
        "metadata.managedFields",
        "metadata.resourceVersion",
        "metadata.uid",
        "metadata.generation",
        "metadata.ownerReferences",
        "metadata.annotations.deployment|kubernetes|io/revision",
    ),
    "Service": ("spec.clusterIP", "spec.clusterIPs", "spec.healthCheckNodePort", "spec.ports.*.nodePort"),
    "PersistentVolumeClaim": ("spec.volumeName", "metadata.annotations", "metadata.finalizers"),
    "Job": ("spec.selector", "spec.template.metadata.labels", "metadata.labels"),
    "MutatingWebhookConfiguration": ("webhooks.*.clientConfig.caBundle", "webhooks.*.rules"),
    "ValidatingWebhookConfiguration": ("webhooks.*.clientConfig.caBundle", "webhooks.*.rules"),
    "CustomResourceDefinition": ("spec.conversion.webhook.clientConfig.caBundle",),
}


def _drop(value: Any, path: Sequence[str]) -> None:
    if path[0] == "*":
        for item in value if isinstance(value, list) else ():
            _drop(item, path[1:])
    elif isinstance(value, dict) and len(path) == 1:
        value.pop(path[0], None)
    elif isinstance(value, dict) and path[0] in value:
        _drop(value[path[0]], path[1:])
        if value[path[0]] == {}:
            del value[path[0]]


def comparable(obj: KubeObject) -> KubeObject:
    """An object without what differs between two clusters that are the same."""
    plain = copy.deepcopy(obj)
    for path in (*VOLATILE[""], *VOLATILE.get(plain["kind"], ())):
        _drop(plain, [part.replace("|", ".") for part in path.split(".")])
    if plain["kind"] == "Secret":
        plain["data"] = sorted(plain.get("data") or {})  # which keys there are; some values are made by chance
    if plain.get("aggregationRule"):
        plain.pop("rules", None)
    return plain


def differing(first: Mapping[ObjectRef, KubeObject], second: Mapping[ObjectRef, KubeObject]) -> Dict[str, str]:
    """Objects that are in one only, or not the same in both: name -> what is different."""
    found: Dict[str, str] = {}
    for ref in sorted(set(first) | set(second)):
        if ref not in first or ref not in second:
            found[str(ref)] = "only in the %s" % ("second" if ref not in first else "first")
            continue
        one, other = comparable(first[ref]), comparable(second[ref])
        if one != other:
            found[str(ref)] = _first_difference(one, other)
    return found


def _first_difference(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            if one.get(key) != other.get(key):
                return _first_difference(one.get(key), other.get(key), "%s.%s" % (path, key))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _first_difference(left, right, "%s[%d]" % (path, index))
    return "%s: %.200s / %.200s" % (path, one, other)


def labelled(cluster: Cluster, refs: Iterable[ObjectRef], versions: Mapping[ObjectRef, str]) -> Iterator[ObjectRef]:
    """Every object that carries our label, of the kinds of these."""
    kinds = {(versions[ref], ref.kind) for ref in refs}
    for version, kind in sorted(kinds):
        resource = cluster.discovery.get(version, kind)
        if resource is not None:
            for obj in cluster.api.list(resource, selector=COMPONENT_LABEL)[0]:
                if kind not in ("Pod", "EndpointSlice", "Endpoints", "ReplicaSet"):
                    yield ref_of(obj)


def at_proxy(sandbox: Sandbox, kubeconfig: Path) -> Sandbox:
    """The same sandbox, reached through another kubeconfig."""
    return replace(sandbox, kubeconfig=kubeconfig)


# ---------------------------------------------------------------- runs that are killed at a known write

_KILLED_RUN = """
import dataclasses, json, os, signal, sys
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request, Session

told = json.loads(sys.argv[1])
left = [told.pop("writes")]

def guard():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

for name in ("components", "scope", "release_dirs"):
    if isinstance(told.get(name), list):
        told[name] = tuple(told[name])
Session(Request(**told), Silent(), guard).converge()
"""


def killed_after(request: Request, writes: int, seconds: float = 300.0) -> bool:
    """Run the engine in a process that is killed just before write number ``writes + 1``; whether it was.

    Records, the lock and retries are writes, too. The request's policy is the default one.
    """
    told = {key: value for key, value in vars(request).items() if key != "policy"}
    process = subprocess.run(
        [sys.executable, "-c", _KILLED_RUN, json.dumps({**told, "writes": writes})],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        timeout=seconds,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0
