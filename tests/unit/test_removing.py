# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting in order: what comes before what, what is waited for, and what a run says of an object that does not go."""

from __future__ import annotations

import functools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import removing, watching
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.aggregation import AGGREGATOR, levels_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.removing import Remover, in_order, is_built_in
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Removal, Verdict

from .generated import examples

# In dependency order.
COMPONENTS = ("common", "mesh", "app")
KINDS: Dict[str, Tuple[str, str, bool]] = {
    "ValidatingWebhookConfiguration": ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False),
    "APIService": ("apiregistration.k8s.io/v1", "apiservices", False),
    "Thing": ("example.org/v1", "things", True),
    "DecoratorController": ("metacontroller.k8s.io/v1alpha1", "decoratorcontrollers", False),
    "Deployment": ("apps/v1", "deployments", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "Job": ("batch/v1", "jobs", True),
    "Pod": ("v1", "pods", True),
    "ConfigMap": ("v1", "configmaps", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles", False),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims", True),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "Namespace": ("v1", "namespaces", False),
}
FOLLOWING = ("Pod", "Thing", "Namespace")


def removal(kind: str, name: str = "x", component: str = "app", *, named: bool = False, live: Optional[KubeObject] = None) -> Removal:
    """A line that was allowed."""
    version, plural, namespaced = KINDS[kind]
    resource = Resource(version, kind, plural, namespaced)
    ref = ObjectRef(resource.group, kind, "n" if namespaced else "", name)
    return Removal(ref, component, resource, Verdict.PRUNE_SAFE, "", uid_of(ref), live, named=named)


def uid_of(ref: ObjectRef) -> str:
    """Every object has its own."""
    return "uid-%s-%s" % (ref.kind, ref.name)


# ------------------------------------------------------------------ order

Line = Tuple[str, str, bool]


def positions(lines: List[Line], followers: List[Line]) -> Dict[str, int]:
    """Number of the step in which each object's turn is, by kind, component and number."""
    going = [removal(kind, "%s-%d" % (component, at), component, named=named) for at, (kind, component, named) in enumerate(lines)]
    after = [removal(kind, "%s-f%d" % (component, at), component, named=named) for at, (kind, component, named) in enumerate(followers)]
    steps = in_order(going, after, COMPONENTS)
    assert sorted(one.ref for step in steps for one in step) == sorted(one.ref for one in going + after)
    return {"%s %s" % (one.ref.kind, one.ref.name): number for number, step in enumerate(steps) for one in step}


line = st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(COMPONENTS), st.booleans())
follower = st.tuples(st.sampled_from(FOLLOWING), st.sampled_from(COMPONENTS), st.booleans())


@settings(max_examples=examples(30), derandomize=True, deadline=None, database=None)
@given(st.lists(line, max_size=25), st.lists(follower, max_size=8))
def test_nothing_is_deleted_before_what_needs_it(lines: List[Line], followers: List[Line]) -> None:
    """Whatever goes together: the order that keeps a cluster usable and finalizers served holds."""
    at = positions(lines, followers)

    def steps(*kinds: str, component: str = "", following: bool = False) -> List[int]:
        return [
            number
            for name, number in at.items()
            if name.split()[0] in kinds and name.split()[1].startswith(component) and ("-f" in name) == following
        ]

    doors = steps("ValidatingWebhookConfiguration", "APIService")
    assert not doors or set(doors) == {0}
    workloads = ("Deployment", "StatefulSet", "Job")
    for number, component in enumerate(COMPONENTS):
        ours = steps("Thing", "DecoratorController", component=component) + steps("Thing", component=component, following=True)
        for needed in COMPONENTS[: number + 1]:
            assert not ours or not steps(*workloads, component=needed) or max(ours) < min(steps(*workloads, component=needed))
        for needed in COMPONENTS[:number]:
            mine, theirs = steps(*workloads, component=component), steps(*workloads, component=needed)
            assert not mine or not theirs or max(mine) < min(theirs)
    pods = steps("Pod", following=True)
    passive = steps("ConfigMap", "ServiceAccount", "ClusterRole", "PersistentVolumeClaim")
    definitions, namespaces = steps("CustomResourceDefinition"), steps("Namespace")
    everything_else = [number for name, number in at.items() if not name.startswith("Namespace") or "-f" in name]
    assert not pods or not steps(*workloads) or min(pods) > max(steps(*workloads))
    assert not passive or not pods + steps(*workloads) or min(passive) > max(pods + steps(*workloads))
    assert not definitions or not passive + steps("Thing") or min(definitions) > max(passive + steps("Thing"))
    assert not namespaces or not everything_else or min(namespaces) > max(everything_else)


def test_users_objects_go_while_every_controller_runs() -> None:
    """A user's object is looked after by controllers of several components: it goes before all of them."""
    at = positions([("Thing", "common", True), ("Thing", "app", False), ("Deployment", "app", False)], [("Namespace", "mesh", True)])
    assert at == {"Thing common-0": 0, "Namespace mesh-f0": 0, "Thing app-1": 1, "Deployment app-2": 2}


def role(name: str, gathers: Tuple[Dict[str, Any], ...] = (), **labels: str) -> Removal:
    """A ClusterRole that gathers the rules of others."""
    live: KubeObject = {"metadata": {"name": name, "labels": labels}, "rules": []}
    if gathers:
        live["aggregationRule"] = {"clusterRoleSelectors": list(gathers)}
    return removal("ClusterRole", name, live=live)


def test_a_role_that_gathers_goes_before_those_that_it_gathers() -> None:
    """Else Kubernetes sees its rules change while it is deleted, and makes it again."""
    roles = [
        role("view", to="admin"),
        role("admin", ({"matchLabels": {"to": "admin"}},), to="all"),
        role("all", ({"matchExpressions": [{"key": "to", "operator": "In", "values": ["all", "more"]}]},)),
        role("other", ({"matchLabels": {"to": "nobody"}}, {"matchLabels": {}, "matchExpressions": [{"key": "x", "operator": "Exists"}]})),
    ]
    steps = in_order([removal("Deployment"), removal("ConfigMap"), *roles], (), COMPONENTS)
    names = [sorted("%s %s" % (one.ref.kind, one.ref.name) for one in step) for step in steps]
    assert names == [["Deployment x"], ["ClusterRole all", "ClusterRole other"], ["ClusterRole admin"], ["ClusterRole view", "ConfigMap x"]]


def test_roles_that_gather_each_other_go_together() -> None:
    """A circle, and one that gathers whatever there is, itself too."""
    one, other = role("one", ({"matchLabels": {"a": "b"}},), c="d"), role("other", ({"matchLabels": {"c": "d"}},), a="b")
    first = role("first", ({},))
    lives = {item.ref: item.live for item in (one, other, first) if item.live is not None}
    assert levels_of(lives) == {first.ref: 0, one.ref: 1, other.ref: 1}


@pytest.mark.parametrize(
    ("operator", "values", "there", "gathered"),
    [
        ("In", ["x"], "x", True),
        ("NotIn", ["x"], "x", False),
        ("NotIn", ["x"], None, True),
        ("Exists", None, "", True),
        ("DoesNotExist", None, None, True),
        ("DoesNotExist", None, "x", False),
    ],
)
def test_selectors_mean_what_they_mean_to_kubernetes(
    operator: str, values: Optional[List[str]], there: Optional[str], gathered: bool
) -> None:
    """Which of them gathers which."""
    rule = {"key": "k", "operator": operator, **({"values": values} if values else {})}
    above = role("above", ({"matchExpressions": [rule]},), own="x", k="elsewhere")
    below = role("below", ({"matchLabels": {"nobody": "x"}},), **({"k": there} if there is not None else {}))
    lives = {item.ref: item.live for item in (above, below) if item.live is not None}
    assert levels_of(lives)[below.ref] == int(gathered)


@pytest.mark.parametrize(("group", "built_in"), [("apps", True), ("rbac.authorization.k8s.io", True), ("metacontroller.k8s.io", False)])
def test_a_group_of_kubernetes_name_may_be_somebody_elses(group: str, built_in: bool) -> None:
    """DecoratorControllers have a definition and a controller, and gateway.networking.k8s.io is no part of Kubernetes."""
    assert is_built_in(ObjectRef(group, "Kind", "", "x")) is built_in


# ------------------------------------------------------------------ carrying out


class Server:
    """An API server of a few objects: LIST, DELETE with preconditions and finalizers, watches."""

    def __init__(self, scripted: Any, answer: Callable[..., Any]) -> None:
        self.objects: Dict[str, KubeObject] = {}
        self.deleted: List[str] = []
        self.forbidden: List[str] = []
        self.afterwards: Dict[str, Callable[[], Any]] = {}
        self._answer, self._version = answer, 0
        self._events: List[Tuple[int, str, KubeObject]] = []
        self._lock = threading.RLock()
        scripted.answer = self._reply

    def add(self, one: Removal, *, uid: str = "", finalizers: Tuple[str, ...] = (), **metadata: Any) -> Removal:
        """An object that is there; the line itself."""
        assert one.resource is not None
        with self._lock:
            self._version += 1
            held = {"finalizers": list(finalizers)} if finalizers else {}
            self.objects[one.resource.path(one.ref.namespace, one.ref.name)] = {
                "apiVersion": one.resource.group_version,
                "kind": one.ref.kind,
                "metadata": {
                    "name": one.ref.name,
                    **({"namespace": one.ref.namespace} if one.ref.namespace else {}),
                    "uid": uid or one.uid,
                    "resourceVersion": str(self._version),
                    **held,
                    **metadata,
                },
            }
        return one

    def let_go(self, path: str) -> None:
        """Its last finalizer is removed."""
        with self._lock:
            obj = self.objects.pop(path)
            self._version += 1
            obj["metadata"]["resourceVersion"] = str(self._version)
            self._events.append((self._version, "DELETED", obj))

    def _reply(self, asked: Any) -> Any:
        with self._lock:
            if asked.method == "DELETE":
                return self._delete(asked)
            if asked.path.endswith("/events"):
                event = {
                    "metadata": {},
                    "type": "Warning",
                    "reason": "Stuck",
                    "message": "cannot clean up",
                    "lastTimestamp": "2026-01-01T00:00:00Z",
                }
                return self._answer(200, {"metadata": {}, "items": [event]})
            if "watch" in asked.query:
                since = int(asked.query["resourceVersion"])
                found = [(kind, obj) for version, kind, obj in self._events if version > since and self._in(asked.path, obj)]
                return self._answer(200, [json.dumps({"type": kind, "object": obj}) + "\n" for kind, obj in found])
            items = [obj for path, obj in self.objects.items() if self._in(asked.path, obj)]
            return self._answer(200, {"metadata": {"resourceVersion": str(self._version)}, "items": items})

    @staticmethod
    def _in(collection: str, obj: KubeObject) -> bool:
        return KINDS[obj["kind"]][1] == collection.rsplit("/", 1)[1]

    def _delete(self, asked: Any) -> Any:
        path, wanted = asked.path, json.loads(asked.body)["preconditions"]["uid"]
        if path in self.forbidden:
            return self._answer(403, {"kind": "Status", "message": "you must not", "reason": "Forbidden"})
        obj = self.objects.get(path)
        if obj is None:
            return self._answer(404, {"kind": "Status", "message": "not found"})
        if obj["metadata"]["uid"] != wanted:
            text = "Precondition failed: UID in precondition: %s, UID in object meta: %s" % (wanted, obj["metadata"]["uid"])
            return self._answer(409, {"kind": "Status", "message": text, "reason": "Conflict"})
        self.deleted.append(path)
        if obj["metadata"].get("finalizers"):
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return self._answer(200, obj)
        self.let_go(path)
        self.afterwards.pop(path, lambda: None)()
        return self._answer(200, {"kind": "Status", "status": "Success"})


class Told(Silent):
    """Progress that remembers what was waited for."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def waiting(self, where: str, text: str) -> None:
        """Remember it."""
        self.lines.append("%s: %s" % (where, text))

    def hear(self, text: str, seconds: float = 10.0) -> None:
        """Until it was said."""
        end = time.monotonic() + seconds
        while not any(text in line for line in self.lines) and time.monotonic() < end:
            time.sleep(0.005)


@pytest.fixture(name="server")
def _server(scripted: Any, answer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Server:
    """Nobody here has to be spared: its pauses are short."""
    monkeypatch.setattr(watching, "AGAIN_SECONDS", (0.005,))
    monkeypatch.setattr(removing, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(removing, "LOOK_SECONDS", 0.0)
    return Server(scripted, answer)


RECORD = Record(
    {
        "app": ComponentRecord(
            "kubeflow",
            "1",
            True,
            {
                ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", "things.example.org"): Entry("v1", "u", "d", "l"),
                ObjectRef("apps", "Deployment", "n", "thing-controller"): Entry("v1", "u", "d", "l"),
            },
        )
    }
)


def test_each_deletion_names_the_uid_and_the_next_step_waits(api: Api, server: Server) -> None:
    """The workload is deleted only when the finalizer of the custom resource is removed, and not a moment before."""
    thing = server.add(removal("Thing"), finalizers=("example.org/clean-up",))
    work = server.add(removal("Deployment"))
    gone: List[str] = []

    told = Told()

    def controller() -> List[str]:
        told.hear("example.org/clean-up")
        deleted = list(server.deleted)
        server.let_go("/apis/example.org/v1/namespaces/n/things/x")
        return deleted

    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(controller)
        removed = Remover(api, COMPONENTS, told, 20.0, RECORD, lambda one: gone.append(str(one.ref))).remove([work, thing])
    assert seen.result() == ["/apis/example.org/v1/namespaces/n/things/x"]
    assert removed == (thing.ref, work.ref)
    assert gone == [str(thing.ref), str(work.ref)]
    assert server.deleted == ["/apis/example.org/v1/namespaces/n/things/x", "/apis/apps/v1/namespaces/n/deployments/x"]
    assert any("deleted at 2026-01-01T00:00:00Z; held by the finalizer example.org/clean-up" in line for line in told.lines)


def test_what_does_not_go_is_named_with_what_holds_it(api: Api, server: Server) -> None:
    """A finalizer that nobody removes ends in an error: object, finalizer, who looks after the kind, last event, next step."""
    thing = server.add(removal("Thing"), finalizers=("example.org/clean-up",))
    other = server.add(removal("Thing", "y"), finalizers=("example.org/other",))
    work = server.add(removal("Deployment"))
    remover = Remover(api, COMPONENTS, Told(), 0.1, RECORD)
    with pytest.raises(EngineError) as caught:
        remover.remove([work, thing, other])
    error = caught.value
    assert (error.subject, error.component) == ("Thing.example.org n/x", "app")
    assert "example.org/clean-up" in error.expected and "component app (Deployment.apps n/thing-controller)" in error.expected
    assert "deleted at 2026-01-01T00:00:00Z" in error.found and "cannot clean up" in error.found
    assert "Thing.example.org n/y: example.org/other" in error.found
    assert "run this again" in error.next_step
    assert remover.removed == []
    assert "/apis/apps/v1/namespaces/n/deployments/x" in server.objects


@pytest.mark.parametrize("finalizer", ["kubernetes.io/pvc-protection", "nobody.example/knows"])
def test_who_should_let_go_is_said(api: Api, server: Server, finalizer: str) -> None:
    """Of Kubernetes' own finalizers it is known who removes them and when; of others that somebody set them."""
    claim = server.add(removal("PersistentVolumeClaim"), finalizers=(finalizer,))
    with pytest.raises(EngineError) as caught:
        Remover(api, COMPONENTS, Told(), 0.05, RECORD).remove([claim])
    who = "Kubernetes, when no pod uses it any more" if "kubernetes" in finalizer else "whoever set it"
    assert caught.value.expected == "%s is removed by %s" % (finalizer, who)


def test_another_object_of_that_name_is_not_deleted(api: Api, server: Server) -> None:
    """Somebody deleted and recreated it since it was recorded: both uids are named, nothing after it is touched."""
    config = server.add(removal("ConfigMap"), uid="somebody-elses")
    later = server.add(removal("CustomResourceDefinition"))
    with pytest.raises(EngineError) as caught:
        Remover(api, COMPONENTS, Told(), 1.0).remove([config, later])
    assert config.uid in str(caught.value) and "somebody-elses" in str(caught.value)
    assert len(server.objects) == 2 and server.deleted == []


def test_what_is_gone_already_is_gone(api: Api, server: Server) -> None:
    """After a killed run: no error, and no line about a rejected write. A kind that nobody serves any more has no objects."""
    config, work = removal("ConfigMap"), server.add(removal("Deployment"))
    unserved = Removal(ObjectRef("old.example", "Old", "n", "x"), "app", None, Verdict.PRUNE_SAFE, "", "uid")
    assert set(Remover(api, COMPONENTS, Told(), 1.0).remove([config, work, unserved])) == {config.ref, work.ref, unserved.ref}
    assert api.traffic.rejected == []
    assert api.traffic.writes == 2


def test_what_goes_already_is_waited_for_and_not_deleted_again(api: Api, server: Server) -> None:
    """A run that resumes finds objects that an earlier one deleted."""
    live = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    thing = removal("Thing", live=live)
    server.add(thing, finalizers=("f/x",), deletionTimestamp="2026-01-01T00:00:00Z")
    threading.Timer(0.1, server.let_go, ["/apis/example.org/v1/namespaces/n/things/x"]).start()
    assert Remover(api, COMPONENTS, Told(), 20.0).remove([thing]) == (thing.ref,)
    assert server.deleted == []


def test_a_new_object_of_that_name_is_not_waited_for(api: Api, server: Server) -> None:
    """What an earlier run deleted is gone, and somebody made another one since."""
    thing = removal("Thing", live={"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    server.add(thing, uid="a new one", finalizers=("f/x",))
    assert Remover(api, COMPONENTS, Told(), 0.2).remove([thing]) == (thing.ref,)
    assert server.deleted == [] and len(server.objects) == 1


def test_what_follows_is_waited_for_and_never_deleted(api: Api, server: Server) -> None:
    """Pods go because their owner goes: what they read is deleted only when they are gone."""
    pod, work, config = server.add(removal("Pod")), server.add(removal("Deployment")), server.add(removal("ConfigMap"))
    told = Told()

    def kubelet() -> bool:
        told.hear("waiting for Pod n/x")
        there = "/api/v1/namespaces/n/configmaps/x" in server.objects
        server.let_go("/api/v1/namespaces/n/pods/x")
        return there

    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(kubelet)
        removed = Remover(api, COMPONENTS, told, 20.0).remove([work, config], [pod])
    assert seen.result() is True
    assert removed == (work.ref, config.ref)
    assert "/api/v1/namespaces/n/pods/x" not in server.deleted


def test_a_refusal_ends_the_run_and_says_what_was_refused(api: Api, server: Server) -> None:
    """What was deleted in the same step is known to be gone; nothing of a later step is touched."""
    good, bad, later = server.add(removal("ConfigMap", "a")), server.add(removal("ConfigMap", "b")), server.add(removal("Namespace"))
    server.forbidden.append("/api/v1/namespaces/n/configmaps/b")
    remover = Remover(api, COMPONENTS, Told(), 1.0)
    with pytest.raises(EngineError) as caught:
        remover.remove([good, bad, later])
    assert (caught.value.subject, caught.value.cause) == ("ConfigMap n/b", "you must not")
    assert remover.removed == [good.ref]
    assert "/api/v1/namespaces/x" in server.objects


def test_nothing_is_deleted_when_the_run_is_over(api: Api, server: Server) -> None:
    """The guard is asked before every deletion: a worker that outlives its parent deletes nothing."""
    config = server.add(removal("ConfigMap"))

    def guard() -> None:
        raise EngineError("the process that started this run is gone")

    api.guard = guard
    with pytest.raises(EngineError, match="is gone"):
        Remover(api, COMPONENTS, Told(), 1.0).remove([config])
    assert server.deleted == [] and len(server.objects) == 1


def test_a_dry_deletion_changes_nothing_and_counts_as_a_dry_run(api: Api, scripted: Any) -> None:
    """For plans that want to ask: the body says so to the server, and it is no write of ours."""
    scripted.answers({"kind": "Status", "status": "Success"})
    assert api.delete(Resource("v1", "ConfigMap", "configmaps", True), "n", "x", "u", dry=True) is False
    asked = scripted.asked[-1]
    assert json.loads(asked.body)["dryRun"] == ["All"] and asked.query["dryRun"] == "All"
    assert json.loads(asked.body)["propagationPolicy"] == "Background"
    assert (api.traffic.writes, api.traffic.dry_runs) == (0, 1)


def test_a_role_that_kubernetes_made_again_is_deleted_again(api: Api, server: Server) -> None:
    """Its aggregation applies the rules of a role that is deleted at that moment. What anybody else wrote of that name stays."""
    names = ("again", "empty", "somebodys", "aggregated", "labelled")
    roles = [server.add(removal("ClusterRole", name)) for name in names]
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/"
    more: Dict[str, Dict[str, Any]] = {
        "again": {"managedFields": [{"manager": AGGREGATOR}]},
        "somebodys": {"managedFields": [{"manager": "kubectl"}]},
        "labelled": {"labels": {"whose": "somebodys"}},
    }

    def again(one: Removal) -> None:
        server.add(one, uid="another", **more.get(one.ref.name, {}))
        if one.ref.name == "aggregated":
            server.objects[path + "aggregated"]["aggregationRule"] = {"clusterRoleSelectors": []}

    server.afterwards.update({path + role.ref.name: functools.partial(again, role) for role in roles})
    left: List[List[str]] = []
    Remover(api, COMPONENTS, Told(), 1.0, gone=lambda _one: left.append(sorted(server.objects))).remove(roles)
    # The record forgets a role only when it is known that it stays away.
    assert left == [[path + name for name in ("aggregated", "labelled", "somebodys")]] * len(roles)
