# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an uninstall deletes, and what it keeps and why. Pure: no request is sent.

What we recorded goes, with what the platform's own programs made of it. Data stays unless it is named: volumes, users'
objects of the platform's kinds (and then the kinds), profiles, and every namespace that holds something which is not ours.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from .aggregation import CLUSTER_ROLE, made_by_aggregation
from .errors import EngineError
from .forms import own_entry
from .objects import COMPONENT_LABEL, FIELD_MANAGER, OUR_NAMESPACE, ObjectRef, get_path
from .record import Entry, Record
from .release_data import Leftover
from .removing import DOOR_KINDS, is_built_in
from .survey import Survey, Thing
from .usage import PROFILE, per_namespace
from .verdicts import Removal, Verdict

CLASSES = ("volumes", "custom_resources", "profiles", "namespaces")
# Kinds that are data by themselves -> the class that names them.
DATA = {
    "PersistentVolumeClaim": "volumes",
    "PersistentVolume": "volumes",
    "StorageClass.storage.k8s.io": "volumes",
    "%s.%s" % (PROFILE[1], PROFILE[0]): "profiles",
}
KEEP, HELM_KEEP = "mlplatform.kubeflow/keep", "helm.sh/resource-policy"
KUBERNETES_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE_ACCOUNT = "kubernetes.io/service-account.name"
CRD = "CustomResourceDefinition.apiextensions.k8s.io"
HOLDERS = ("Namespace", CRD)
# What a namespace holds that nobody put there.
BORN_WITH_A_NAMESPACE = (("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default"))
BORN_OF_OTHERS = ("Endpoints", "EndpointSlice.discovery.k8s.io", "Lease.coordination.k8s.io")
# How many objects a reason names.
NAMED = 3


@dataclass(frozen=True)
class Choice:
    """What the user allows to be deleted although it is data: classes, and full names of single objects."""

    classes: FrozenSet[str] = frozenset()
    names: FrozenSet[str] = frozenset()

    def takes(self, kind: str, ref: ObjectRef) -> bool:
        """Whether an object of this class may go."""
        return kind in self.classes or str(ref) in self.names


def read_choice(items: Iterable[str]) -> Choice:
    """``kubeflow_delete_data`` as a choice.

    :raises EngineError: a word is no class and no full name.
    """
    given = [str(item).strip() for item in items]
    for item in given:
        if item not in CLASSES and " " not in item:
            near = difflib.get_close_matches(item, CLASSES, n=1)
            raise EngineError(
                "it is neither a class of data nor the full name of an object",
                subject="kubeflow_delete_data: %s" % item,
                expected="one of %s, or a name such as 'PersistentVolumeClaim namespace/name'" % ", ".join(CLASSES),
                next_step="did you mean '%s'?" % near[0] if near else "correct the list",
            )
    return Choice(frozenset(given) & frozenset(CLASSES), frozenset(given) - frozenset(CLASSES))


@dataclass(frozen=True)
class Ask:
    """What is asked for.

    :ivar components: what shall go, in dependency order; ``whole``: whether that is all that the record knows.
    :ivar leftovers: what programs of these releases write at run time.
    :ivar once: whether an object is written only once (generated credentials), so that kept data may need it.
    :ivar mounts: (namespace, kind, name) of a ConfigMap or Secret -> uids of the pods that mount it, where that was looked up.
    :ivar holders: pods (``namespace/name``) that an earlier look of this run saw -> their component.
    """

    components: Tuple[str, ...]
    whole: bool
    choice: Choice = Choice()
    leftovers: Tuple[Leftover, ...] = ()
    once: Callable[[ObjectRef], bool] = lambda ref: False
    mounts: Mapping[Tuple[str, str, str], Tuple[str, ...]] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UninstallPlan:
    """What becomes of everything that is ours, or that ours made.

    :ivar removals: a line for each object; a KEEP stays, the others go.
    :ivar followers: what goes by itself because its owner goes, and has to be waited for.
    :ivar gone: component -> recorded objects that are not there, or not ours, any more.
    :ivar made: objects of ``removals`` that go and are in no record yet.
    :ivar holders: the pods of what goes -> their component.
    :ivar unmatched: names in the user's choice that nothing answers to.
    """

    components: Tuple[str, ...] = ()
    removals: Tuple[Removal, ...] = ()
    followers: Tuple[Removal, ...] = ()
    gone: Mapping[str, Tuple[ObjectRef, ...]] = field(default_factory=dict)
    made: Tuple[Removal, ...] = ()
    holders: Mapping[str, str] = field(default_factory=dict)
    unmatched: Tuple[str, ...] = ()

    @property
    def going(self) -> Tuple[Removal, ...]:
        """What is deleted."""
        return tuple(one for one in self.removals if one.verdict is not Verdict.KEEP)

    @property
    def kept(self) -> Tuple[Removal, ...]:
        """What stays."""
        return tuple(one for one in self.removals if one.verdict is Verdict.KEEP)


def plan_uninstall(record: Record, survey: Survey, ask: Ask) -> UninstallPlan:
    """Decide about every object of the components, and about what they left elsewhere."""
    return _Planner(record, survey, ask).plan()


def _names(things: Sequence[Thing]) -> str:
    shown = ", ".join(str(thing.ref) for thing in sorted(things, key=lambda one: one.ref)[:NAMED])
    return shown + (" and %d more" % (len(things) - NAMED) if len(things) > NAMED else "")


class _Planner:
    """One plan in the making.

    ``_lines``: what is decided; ``_roots``: uid -> the line of what is deleted; ``_going``: uid -> (thing, the root that takes
    it along).
    """

    def __init__(self, record: Record, survey: Survey, ask: Ask) -> None:
        self._record, self._survey, self._ask = record, survey, ask
        self._lines: Dict[ObjectRef, Removal] = {}
        self._roots: Dict[str, Removal] = {}
        self._going: Dict[str, Tuple[Thing, Removal]] = {}
        self._gone: Dict[str, List[ObjectRef]] = {}
        self._made: List[ObjectRef] = []
        self._definitions: Dict[ObjectRef, str] = {}
        self._namespaces: Dict[ObjectRef, str] = {}
        self._holders: Dict[str, str] = dict(ask.holders)

    def plan(self) -> UninstallPlan:
        """Every decision, each on those before it."""
        self._recorded()
        self._users_data()
        self._spread()
        self._made_at_run_time()
        self._spread()
        self._judge_definitions()
        self._spread()
        self._judge_namespaces()
        self._spread()
        self._judge_our_namespace()
        place = {name: number for number, name in enumerate(self._ask.components)}
        lines = sorted(self._lines.values(), key=lambda one: (place.get(one.component, len(place)), one.ref))
        named = {str(one.ref) for one in lines if one.verdict is not Verdict.KEEP}
        return UninstallPlan(
            self._ask.components,
            tuple(lines),
            tuple(self._followers()),
            {name: tuple(refs) for name, refs in self._gone.items()},
            tuple(self._lines[ref] for ref in self._made if self._lines[ref].verdict is not Verdict.KEEP),
            self._holders,
            tuple(sorted(self._ask.choice.names - named)),
        )

    # ---------------------------------------------------------------- lines

    def _go(self, thing: Thing, component: str, reason: str, *, data: bool = False, counts: Optional[Mapping[str, int]] = None) -> None:
        verdict = Verdict.PRUNE_DANGEROUS if data else Verdict.PRUNE_SAFE
        line = Removal(thing.ref, component, thing.resource, verdict, reason, thing.uid, thing.live, counts or {}, data)
        self._lines[thing.ref] = self._roots[thing.uid] = line
        self._going[thing.uid] = (thing, line)

    def _keep(self, thing: Thing, component: str, reason: str, counts: Optional[Mapping[str, int]] = None) -> None:
        self._roots.pop(thing.uid, None)
        self._lines[thing.ref] = Removal(thing.ref, component, thing.resource, Verdict.KEEP, reason, thing.uid, thing.live, counts or {})

    # ---------------------------------------------------------------- what is recorded

    def _recorded(self) -> None:
        ours: List[Tuple[str, Entry, Thing]] = []
        known = ((name, self._record.components.get(name)) for name in self._ask.components)
        for name, component in known:
            for ref, entry in component.entries.items() if component is not None else ():
                thing = self._survey.things.get(ref)
                if thing is not None and thing.uid != entry.uid and ref.kind_group == CLUSTER_ROLE and made_by_aggregation(thing.live):
                    self._go(thing, name, "Kubernetes' aggregation of roles made it again while it was deleted")
                elif thing is None or not _is_ours(thing, entry):
                    self._gone.setdefault(name, []).append(ref)
                else:
                    ours.append((name, entry, thing))
        for name, entry, thing in ours:
            self._decide(name, entry, thing)

    def _decide(self, name: str, entry: Entry, thing: Thing) -> None:
        ref, choice = thing.ref, self._ask.choice
        kind = DATA.get(ref.kind_group) or ("volumes" if self._ask.once(ref) else "")
        owners = [self._survey.by_uid[uid] for uid in thing.owners if uid in self._survey.by_uid]
        owner = next((one for one in owners if self._record.entry(one.ref) is None), None)
        if entry.desired and COMPONENT_LABEL not in thing.labels:
            self._gone.setdefault(name, []).append(ref)  # whoever took the label from it wants it to be theirs
            self._keep(thing, name, "somebody took our label from it")
        elif _says_keep(thing) and str(ref) not in choice.names:
            self._keep(thing, name, "its annotation says that it is to be kept")
        elif owner is not None:
            self._keep(thing, name, "it belongs to %s" % owner.ref)
        elif ref.kind_group == "Namespace":
            self._namespaces[ref] = name
        elif ref.kind_group == CRD:
            self._definitions[ref] = name
        elif kind and not choice.takes(kind, ref):
            self._keep(thing, name, "it holds data" if ref.kind_group in DATA else "kept data may need it")
        elif kind:
            self._go(thing, name, "kubeflow_delete_data names it", data=True)
        else:
            self._go(thing, name, "before what serves it" if ref.kind_group in DOOR_KINDS else "we wrote it")

    # ---------------------------------------------------------------- what users made

    def _users_data(self) -> None:
        """What goes because the user names it, though it is not ours."""
        choice = self._ask.choice
        for ref, name in self._definitions.items():
            for thing in self._survey.instances.get(ref.name, ()):
                kind = DATA.get(thing.ref.kind_group, "custom_resources")
                if choice.takes(kind, thing.ref) or str(ref) in choice.names:
                    self._take_users(thing, name)
        for namespace, name in self._namespaces.items():
            for thing in self._survey.inside.get(namespace.name, ()):
                if choice.takes(DATA.get(thing.ref.kind_group, "only by name"), thing.ref):
                    self._take_users(thing, name)

    def _take_users(self, thing: Thing, component: str) -> None:
        """Delete it unless it is decided on, is a component's own state, or belongs to something: then its owner decides."""
        owned = any(uid in self._survey.by_uid for uid in thing.owners)
        if thing.ref not in self._lines and not owned and not self._is_state(thing) and self._record.entry(thing.ref) is None:
            self._go(thing, component, "kubeflow_delete_data names it", data=True)

    # ---------------------------------------------------------------- what goes along

    def _spread(self) -> None:
        """What goes with what is deleted: owned by it, or in a namespace that goes with it. Data that is not named is not taken
        along: then what owns it stays."""
        while True:
            self._going = {uid: (self._survey.by_uid[uid], line) for uid, line in self._roots.items()}
            # From the end: what an object takes along by owning it comes before what namespaces and definitions hold.
            queue = sorted(self._going.values(), key=lambda pair: pair[0].ref.kind_group not in HOLDERS)
            lost: List[Tuple[Thing, Removal]] = []
            while queue:
                thing, root = queue.pop()
                for child in self._taken_along(thing):
                    if child.uid in self._going:
                        continue
                    if self._must_stay(child, root):
                        lost.append((child, root))
                    self._going[child.uid] = (child, root)
                    queue.append((child, root))
            if not lost:
                break
            for child, root in lost:
                self._keep(self._survey.by_uid[root.uid], root.component, "%s would go with it" % child.ref)
        for thing, root in self._going.values():
            if thing.ref.kind_group == "Pod":
                self._holders[thing.ref.path] = root.component

    def _taken_along(self, thing: Thing) -> List[Thing]:
        """What is owned by nothing else that stays; what is in a namespace; what a definition defines."""
        owned = self._survey.children.get(thing.uid, ())
        found = [one for one in owned if not any(uid in self._survey.by_uid and uid not in self._going for uid in one.owners)]
        if thing.ref.kind_group == "Namespace":
            return [*found, *self._survey.inside.get(thing.ref.name, ())]
        return [*found, *self._survey.instances.get(thing.ref.name, ())] if thing.ref.kind_group == CRD else found

    def _must_stay(self, thing: Thing, root: Removal) -> bool:
        """Whether something must not be taken along: data that nobody named, and what holds other things and was not judged.

        A Profile is its namespace with all that is in it.
        """
        if DATA.get(root.ref.kind_group) == "profiles":
            return False
        kind = DATA.get(thing.ref.kind_group)
        return thing.ref.kind_group in HOLDERS or kind is not None and not self._ask.choice.takes(kind, thing.ref)

    # ---------------------------------------------------------------- what programs made

    def _made_at_run_time(self) -> None:
        """Locks of the pods that go, and what release data knows of."""
        for thing in self._survey.things.values():
            if thing.uid in self._going or thing.ref in self._lines or self._record.entry(thing.ref) is not None:
                continue
            holder = self._holder_of(thing)
            if holder:
                self._made.append(thing.ref)
                self._go(thing, self._holders[holder], "the lock of pod %s" % holder)
                continue
            row, component = self._row_of(thing)
            if row is None:
                continue
            if thing.ref.kind_group == CRD:
                self._made.append(thing.ref)
                self._definitions[thing.ref] = component
                continue
            users = self._ask.mounts.get((thing.ref.namespace, thing.ref.kind, thing.ref.name), ())
            staying = [self._survey.by_uid[uid] for uid in users if uid in self._survey.by_uid and uid not in self._going]
            if staying:
                self._keep(thing, component, "%s mounts it" % _names(staying))
            else:
                self._made.append(thing.ref)
                self._go(thing, component, row.why)

    def _holder_of(self, thing: Thing) -> str:
        """The pod of ours that holds a lock: one of the lock's namespace, or of any if the lock is in one of Kubernetes'."""
        pods = [pod for pod in self._holders if thing.holder and pod.endswith("/" + thing.holder)]
        near = [pod for pod in pods if pod == "%s/%s" % (thing.ref.namespace, thing.holder)]
        return next(iter(near or (pods if thing.ref.namespace in KUBERNETES_NAMESPACES else [])), "")

    def _row_of(self, thing: Thing) -> Tuple[Optional[Leftover], str]:
        """The row of release data that is about an object, and the component that it goes with."""
        for row in self._ask.leftovers:
            if not row.match.matches(thing.ref):
                continue
            if row.component in self._ask.components:
                return row, row.component
            name = thing.annotations.get(row.annotation) if row.annotation else None
            if name:
                kind, _dot, group = row.owner.partition(".")
                owner = self._survey.things.get(ObjectRef(group, kind, thing.ref.namespace, name))
                if owner is not None and owner.uid in self._going:
                    return row, self._going[owner.uid][1].component
        return None, ""

    def _is_state(self, thing: Thing) -> bool:
        """Whether it is a component's own state, kept in objects of a kind of its own."""
        definition = ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", thing.definition)
        rows = (row for row in self._ask.leftovers if row.instances_in and row.component in self._ask.components)
        return any(row.instances_in == thing.ref.namespace and row.match.matches(definition) for row in rows)

    # ---------------------------------------------------------------- what holds others

    def _judge_definitions(self) -> None:
        """A definition takes every object of its kind along: it goes only if none of them is somebody else's."""
        for ref, name in self._definitions.items():
            definition = self._survey.things[ref]
            instances = self._survey.instances.get(ref.name, [])
            foreign = [thing for thing in instances if thing.uid not in self._going and not self._is_state(thing)]
            if foreign:
                self._keep(
                    definition,
                    name,
                    "of its kind, %s stay%s" % (_names(foreign), "s" * (len(foreign) == 1)),
                    per_namespace(thing.ref for thing in foreign),
                )
                continue
            self._go(definition, name, "no object of its kind stays")

    def _judge_namespaces(self) -> None:
        """A namespace takes everything in it along: it goes only if nothing in it is somebody else's, or data."""
        for ref, name in self._namespaces.items():
            namespace = self._survey.things[ref]
            content = self._content(ref.name)
            data = [thing for thing in content if thing.ref.kind_group in DATA or not is_built_in(thing.ref) or thing.ref in self._lines]
            if ref.name in KUBERNETES_NAMESPACES:
                self._keep(namespace, name, "it is Kubernetes' own")
            elif not content:
                self._go(namespace, name, "nothing is left in it")
            elif not data and self._ask.choice.takes("namespaces", ref):
                self._go(
                    namespace,
                    name,
                    "kubeflow_delete_data names it; with it goes %s" % _names(content),
                    data=True,
                    counts={ref.name: len(content)},
                )
            else:
                self._keep(namespace, name, "it holds %s" % _names(data or content), {ref.name: len(content)})

    def _content(self, namespace: str) -> List[Thing]:
        """What is in a namespace and stays, without what belongs to something else in it."""
        there = [thing for thing in self._survey.inside.get(namespace, ()) if thing.uid not in self._going and not self._is_born(thing)]
        uids = {thing.uid for thing in there}
        return [thing for thing in there if not uids.intersection(thing.owners)]

    def _is_born(self, thing: Thing) -> bool:
        """Whether nobody put it there: what Kubernetes makes for a namespace, a Service or a ServiceAccount, and locks."""
        ref = thing.ref
        if ref.kind_group in BORN_OF_OTHERS or (ref.kind_group, ref.name) in BORN_WITH_A_NAMESPACE:
            return True
        return ref.kind_group == "Secret" and SERVICE_ACCOUNT in thing.annotations

    def _judge_our_namespace(self) -> None:
        """Our own namespace goes last, when the record has nothing to remember."""
        namespace = self._survey.things.get(ObjectRef("", "Namespace", "", OUR_NAMESPACE))
        remembered = [line for line in self._lines.values() if line.verdict is Verdict.KEEP and self._record.entry(line.ref)]
        remembered = [line for line in remembered if line.ref not in self._gone.get(line.component, ())]
        if namespace is None or not self._ask.whole or remembered:
            return
        inside = self._survey.inside.get(OUR_NAMESPACE, ())
        foreign = [thing for thing in inside if FIELD_MANAGER not in thing.managers and not self._is_born(thing)]
        if foreign:
            self._keep(namespace, "", "it holds %s" % _names(foreign), {OUR_NAMESPACE: len(foreign)})
        else:
            self._go(namespace, "", "the record, the lock and the revisions are in it")

    def _followers(self) -> Iterable[Removal]:
        """What has to be waited for though nobody deletes it: pods, objects that a controller cleans up after, claims."""
        for thing, root in self._going.values():
            waits = thing.ref.kind_group in ("Pod", "Namespace", "PersistentVolumeClaim") or not is_built_in(thing.ref)
            if waits and root.ref.kind_group not in HOLDERS and thing.uid not in self._roots:
                reason = "goes with %s" % root.ref
                yield Removal(thing.ref, root.component, thing.resource, root.verdict, reason, thing.uid, thing.live, named=root.named)


def _is_ours(thing: Thing, entry: Entry) -> bool:
    """Whether it is the object that we recorded: by its uid, or where the run ended before that was known, by our fields in it."""
    return thing.uid == entry.uid if entry.uid else own_entry(thing.live) is not None


def _says_keep(thing: Thing) -> bool:
    """Whether somebody asked for it to stay.

    Upstream's charts put Helm's annotation on definitions so that Helm does not delete users' objects with them: where it came
    with what we applied it is nobody's wish, and whether users have objects is looked at anyway.
    """
    if thing.annotations.get(KEEP) == "true":
        return True
    if thing.annotations.get(HELM_KEEP) != "keep":
        return False
    applied = get_path((own_entry(thing.live) or {}).get("fieldsV1") or {}, "f:metadata.f:annotations", {})
    return thing.ref.kind != "CustomResourceDefinition" or "f:" + HELM_KEEP not in applied
