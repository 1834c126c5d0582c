# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is rendered and whatever is there: after a run there is nothing left to do, says the plan and says the server."""

from __future__ import annotations

import base64
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Policy
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rendering import Render, RenderedObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Chosen, Session
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .support import EXHAUSTIVE, Audit, lines, request_for

SPACE = "generated"
COMPONENT = "common"
OURS = Policy(conflicts="ours", adopt=("all",))
EXAMPLES = 300 if EXHAUSTIVE else 25

# Values that a server keeps as they are, writes otherwise, fills in, or leaves out.
TEXTS = st.sampled_from(["", "a", "x: y\n", "true", "1", "ä\u00a0\u2028", " "])
NAMES = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from(["one", "two.cfg", "three_3"])
QUANTITIES = st.sampled_from(["1000m", "1", "0.5", 2, "1Gi", "1024Mi", "1e3"])
MAPS = st.dictionaries(KEYS, TEXTS, max_size=3)
LABELS = st.one_of(st.none(), st.dictionaries(st.sampled_from(["tier", "x.example.com/y"]), st.sampled_from(["", "web", "1"]), max_size=2))


def _head(kind: str, version: str, name: str, labels: Any) -> KubeObject:
    metadata: Dict[str, Any] = {"name": name, "namespace": SPACE}
    if labels is not None:
        metadata["labels"] = dict(labels)
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


@st.composite
def config_maps(draw: Any) -> KubeObject:
    """Also without data, also with empty data."""
    obj = _head("ConfigMap", "v1", draw(NAMES), draw(LABELS))
    return {**obj, "data": draw(MAPS)} if draw(st.booleans()) else obj


@st.composite
def secrets(draw: Any) -> KubeObject:
    """In both forms, also for the same key."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in draw(MAPS).items()}
    return {**_head("Secret", "v1", draw(NAMES), draw(LABELS)), "data": data, "stringData": draw(MAPS), "type": "Opaque"}


@st.composite
def services(draw: Any) -> KubeObject:
    """Ports with what the server fills in left out or not."""
    numbers = draw(st.lists(st.sampled_from([80, 443, 8080]), min_size=1, max_size=3, unique=True))
    ports: List[Dict[str, Any]] = []
    for number in numbers:
        port: Dict[str, Any] = {"name": "p%d" % number, "port": number}
        port.update(draw(st.sampled_from([{}, {"protocol": "TCP"}, {"targetPort": number}, {"targetPort": "http"}])))
        ports.append(port)
    return {
        **_head("Service", "v1", draw(NAMES), draw(LABELS)),
        "spec": {"ports": ports, "selector": draw(st.sampled_from([{}, {"app": "a"}]))},
    }


@st.composite
def roles(draw: Any) -> KubeObject:
    """Rules in any order, also none."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": draw(st.permutations(["get", "list", "watch"]))}
    return {
        **_head("Role", "rbac.authorization.k8s.io/v1", draw(NAMES), draw(LABELS)),
        "rules": draw(st.sampled_from([[], [rule], [rule, rule]])),
    }


@st.composite
def quotas(draw: Any) -> KubeObject:
    """The same quantity has many spellings."""
    hard = draw(st.dictionaries(st.sampled_from(["requests.cpu", "limits.memory", "requests.storage"]), QUANTITIES, max_size=3))
    return {**_head("ResourceQuota", "v1", draw(NAMES), draw(LABELS)), "spec": {"hard": hard}}


@st.composite
def deployments(draw: Any) -> KubeObject:
    """Environment and resources in a container; nothing runs of it."""
    name = draw(NAMES)
    variables = [{"name": key.replace(".", "_").upper(), "value": text} for key, text in draw(MAPS).items()]
    container: Dict[str, Any] = {"name": "main", "image": "example.invalid/x:1", "env": variables}
    container["resources"] = draw(st.sampled_from([{}, {"limits": {"cpu": "1000m"}}, {"requests": {"memory": "1024Mi"}}]))
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {**_head("Deployment", "apps/v1", name, draw(LABELS)), "spec": spec}


OBJECTS = st.one_of(config_maps(), secrets(), services(), roles(), quotas(), deployments())
RENDERS = st.lists(OBJECTS, min_size=1, max_size=6, unique_by=lambda obj: (obj["kind"], obj["metadata"]["name"]))
# What somebody else does to an object meanwhile.
DEEDS = st.sampled_from(["nothing", "delete", "label", "annotation", "data", "beforehand"])


class Generated(Session):
    """A run whose render is given, and all else as always."""

    objects: Tuple[KubeObject, ...] = ()

    def _render(self, chosen: Chosen) -> Render:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
        found: Dict[ObjectRef, RenderedObject] = {}
        for obj in (space, *self.objects):
            metadata = {**obj["metadata"], "labels": {**(obj["metadata"].get("labels") or {}), COMPONENT_LABEL: COMPONENT}}
            found[ref_of(obj)] = RenderedObject(COMPONENT, {**obj, "metadata": metadata}, False)
        self.outcome.render = Render(chosen.release.name, found, "", 0.0, 0)
        return self.outcome.render


def session(sandbox: Sandbox, objects: List[KubeObject]) -> Generated:
    """A run on this cluster that wants these objects."""
    made = Generated(request_for(sandbox, components=(COMPONENT,), policy=OURS, timeout=60.0), lines(sandbox.name))
    made.objects = tuple(objects)
    return made


def meddle(api: Api, obj: KubeObject, deed: str) -> None:
    """Somebody changes, or makes, an object that is in the next render."""
    ref = ref_of(obj)
    resource = sure(api.discover().get(obj["apiVersion"], obj["kind"]))
    live = api.get(resource, ref.namespace, ref.name)
    if live is None:
        if deed == "beforehand":
            api.create(resource, obj)
        return
    patches: Mapping[str, KubeObject] = {
        "label": {"metadata": {"labels": {"tier": "somebody"}}},
        "annotation": {"metadata": {"annotations": {"somebody": "was here"}}},
        "data": {"data": {"one": "c29tZWJvZHk="}},
    }
    if deed == "delete":
        api.delete(resource, ref.namespace, ref.name, live["metadata"]["uid"])
    elif deed in patches and (deed != "data" or obj["kind"] in ("ConfigMap", "Secret")):
        api.patch(resource, ref.namespace, ref.name, patches[deed], content_type="application/merge-patch+json")


@pytest.fixture(name="own", scope="module")
def _own(sandboxes: Any) -> Iterator[Sandbox]:
    """One cluster for all examples: each finds what those before it left, and its record."""
    sandbox = sandboxes.make("generated")
    yield sandbox
    sandboxes.remove(sandbox.name)


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # an example depends on those before it: a smaller one would be another
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(objects=RENDERS, deeds=st.lists(DEEDS, min_size=6, max_size=6))
def test_after_a_run_the_plan_is_empty(own: Sandbox, objects: List[KubeObject], deeds: List[str]) -> None:
    """plan -> apply -> plan: and the next run writes nothing, says the audit log."""
    api = Api.connect(str(own.kubeconfig))
    if api.get(sure(api.discover().get("v1", "Namespace")), "", SPACE) is not None:
        for obj, deed in zip(objects, deeds):
            meddle(api, obj, deed)
    first = session(own, objects).converge()
    assert not first.errors, first.errors
    plan = sure(session(own, objects).plan().plan)
    left: Dict[ObjectRef, Any] = {item.ref: (item.verdict, item.changes) for item in plan.items if item.verdict.value != "unchanged"}
    assert not left and not plan.writes
    audit = Audit(own)
    again = session(own, objects).converge()
    assert not again.changed and audit.writes() == []
