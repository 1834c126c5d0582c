# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the objects that we wrote and want no more: one verdict each. Pure: no request is sent.

Nothing is ever deleted that is not provably the object that we wrote, or that belongs to another object. What carries data,
and what data hangs on, is deleted only where a person named it. What hangs together stays together: what a workload that
stays reads, and what answers for a webhook that stays, is no safe deletion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

from .api import Discovery, Resource
from .catalogue import Row
from .errors import EngineError
from .forms import WEBHOOK_KINDS
from .objects import COMPONENT_LABEL, KubeObject, ObjectRef, get_path
from .planning import Policy, referenced_config
from .record import Entry, Record
from .usage import CLAIM, POD_SPECS, Usage, mounted_claims, per_namespace
from .verdicts import Removal, Verdict

KEEP_ANNOTATIONS = {"mlplatform.kubeflow/keep": "true", "helm.sh/resource-policy": "keep"}
CRD = "CustomResourceDefinition.apiextensions.k8s.io"
CONVERSION_SERVICE = "spec.conversion.webhook.clientConfig.service"
NO_MORE = "the release has it no more"
# What is lost with an object of these kinds; they go only by name.
PROTECTED = {
    CLAIM: "the data on it would be deleted",
    "PersistentVolume": "the data on it would be deleted",
    "Namespace": "everything in it would be deleted",
    "Profile.kubeflow.org": "its namespace and all that the tenant has there would be deleted",
    "StorageClass.storage.k8s.io": "volumes are asked for by its name",
}
TENANT = "it is in the namespace of a tenant"
# Of a run that is to delete more than half of what is there, something else is wrong.
SMALLEST_SHARE = 0.5


@dataclass(frozen=True)
class Candidate:
    """A recorded object that is wanted no more, and what is there of it.

    :ivar live: None only where its kind is not served, so that nobody can look.
    """

    ref: ObjectRef
    component: str
    entry: Entry
    resource: Optional[Resource]
    live: Optional[KubeObject]

    @property
    def is_ours(self) -> bool:
        """Whether what is there is the object that we wrote, and not another one of its name."""
        return self.live is not None and bool(self.entry.uid) and self.live["metadata"].get("uid") == self.entry.uid


def removals(
    record: Record,
    wanted: Collection[ObjectRef],
    live: Mapping[ObjectRef, KubeObject],
    usage: Usage,
    keep_rows: Sequence[Row],
    policy: Policy,
    *,
    discovery: Optional[Discovery] = None,
    in_use: FrozenSet[str] = frozenset(),
) -> Tuple[Removal, ...]:
    """A line for each recorded object that is wanted no more and is still there.

    :param wanted: every object that is wanted, whatever component it belongs to: what moved to another one is no removal.
    :param live: what is there of the others; what is missing is gone, and no line.
    :param keep_rows: objects that release data wants kept.
    :param discovery: what the API server serves; None offline.
    :param in_use: uids of live objects that are wanted: one object may be read under two API groups.
    """
    found = _candidates(record, wanted, live, discovery)
    judge = _Judge(found, usage, keep_rows, policy, in_use, frozenset(record.components))
    return tuple(judge.removal(one) for one in found)


def allowed(found: Sequence[Removal], policy: Policy) -> Tuple[Removal, ...]:
    """Those that are deleted: nothing with ``prune: report``, else the safe ones and what the user named."""
    if policy.prune == "report":
        return ()
    return tuple(one for one in found if one.verdict in (Verdict.PRUNE_SAFE, Verdict.ORPHAN_WEBHOOK) or one.named)


def gone(
    record: Record, wanted: Collection[ObjectRef], live: Mapping[ObjectRef, KubeObject], discovery: Optional[Discovery] = None
) -> Dict[str, Tuple[ObjectRef, ...]]:
    """What can be dropped from the record, by component: wanted no more, and not there any more."""
    there = {one.ref for one in _candidates(record, wanted, live, discovery)}
    found = {
        name: tuple(ref for ref in component.entries if ref not in wanted and ref not in there)
        for name, component in record.components.items()
    }
    return {name: refs for name, refs in found.items() if refs}


def check_blast_radius(record: Record, wanted: Collection[ObjectRef], found: Sequence[Removal], policy: Policy) -> None:
    """Refuse to delete where the desired set is empty or less than half of what is recorded.

    :raises EngineError: it is, and not every deletion was named.
    """
    recorded = sum(len(component.entries) for component in record.components.values())
    going = allowed(found, policy)
    unnamed = [one for one in going if not one.named]
    if not unnamed or (wanted and len(wanted) >= SMALLEST_SHARE * recorded):
        return
    raise EngineError(
        "the desired set is %s, and what is left of it would be deleted" % ("less than half of what is installed" if wanted else "empty"),
        subject="%s and %d more" % (unnamed[0].ref, len(unnamed) - 1) if len(unnamed) > 1 else str(unnamed[0].ref),
        expected="at least half of the %d recorded objects" % recorded,
        found="%d objects" % len(wanted),
        next_step="correct kubeflow_components, or set kubeflow_prune: report, or name every object in kubeflow_prune_named",
    )


# ------------------------------------------------------------------ who is judged


def _candidates(
    record: Record, wanted: Collection[ObjectRef], live: Mapping[ObjectRef, KubeObject], discovery: Optional[Discovery]
) -> List[Candidate]:
    """Recorded, not wanted, and there as far as anybody can see; each object once."""
    ours = {ref.name.partition(".")[2] for component in record.components.values() for ref in component.entries if ref.kind_group == CRD}
    found: Dict[ObjectRef, Candidate] = {}
    for name, component in record.components.items():
        for ref, entry in component.entries.items():
            if ref in wanted:
                continue
            resource = _resource(ref, entry, discovery)
            there = live.get(ref)
            # What we defined ourselves is gone with its definition; of anything else that is not served nobody knows.
            if there is None and (discovery is None or resource is not None or ref.group in ours):
                continue
            one = Candidate(ref, name, entry, resource, there)
            if ref not in found or one.is_ours:  # an object that moved may be recorded twice
                found[ref] = one
    return sorted(found.values(), key=lambda one: one.ref)


def _resource(ref: ObjectRef, entry: Entry, discovery: Optional[Discovery]) -> Optional[Resource]:
    if discovery is None:
        return None
    return discovery.get(entry.api_version, ref.kind) or next(iter(discovery.by_group_kind(ref.group, ref.kind)), None)


# ------------------------------------------------------------------ judging


@dataclass(frozen=True)
class _Said:
    """A verdict in the making."""

    verdict: Verdict
    reason: str
    counts: Mapping[str, int]


SAFE = _Said(Verdict.PRUNE_SAFE, NO_MORE, {})


class _Judge:
    """Decides about all candidates together, as what becomes of one may hang on what becomes of another."""

    def __init__(
        self,
        found: Sequence[Candidate],
        usage: Usage,
        keep_rows: Sequence[Row],
        policy: Policy,
        in_use: FrozenSet[str],
        components: FrozenSet[str],
    ) -> None:
        self._found = {one.ref: one for one in found}
        self._usage, self._keep_rows, self._policy = usage, keep_rows, policy
        self._in_use, self._components = in_use, components
        self._names = frozenset(policy.prune_named) if policy.prune != "report" else frozenset()
        self._said: Dict[ObjectRef, _Said] = {}
        self._settle(found)

    def _settle(self, found: Sequence[Candidate]) -> None:
        """First what stands for itself, then what hangs on it: workloads, definitions, what those need that stay, webhooks."""
        self._said = {one.ref: self._alone(one) for one in found}
        for one in found:
            if self._said[one.ref] is SAFE and one.ref.kind_group in POD_SPECS:
                self._said[one.ref] = self._workload(one)
        for one in found:
            if self._said[one.ref] is SAFE and one.ref.kind_group == CRD:
                self._said[one.ref] = self._definition(one)
        for one in found:
            if not self._goes(one.ref):
                self._hold_what_it_needs(one)
        for one in found:
            if self._said[one.ref] is SAFE and one.ref.kind in WEBHOOK_KINDS:
                self._said[one.ref] = self._webhook(one)

    def _named(self, ref: ObjectRef) -> bool:
        return str(ref) in self._names

    def _goes(self, ref: ObjectRef) -> bool:
        """Whether the object will be deleted, under any policy that deletes."""
        said = self._said[ref]
        return said.verdict is not Verdict.KEEP and (said.verdict is not Verdict.PRUNE_DANGEROUS or self._named(ref))

    def removal(self, one: Candidate) -> Removal:
        """The line of the plan."""
        said = self._said[one.ref]
        named = self._named(one.ref) and said.verdict is not Verdict.KEEP
        reason = "%s; kubeflow_prune_named names it" % said.reason if named else said.reason
        return Removal(one.ref, one.component, one.resource, said.verdict, reason, one.entry.uid, one.live, said.counts, named)

    # ---------------------------------------------------------------- what stands for itself

    def _alone(self, one: Candidate) -> _Said:
        stays = self._never(one) or ("" if self._named(one.ref) else self._kept(one))
        if stays:
            return _Said(Verdict.KEEP, stays, {})
        lost = PROTECTED.get(one.ref.kind_group, "")
        if one.ref.kind == CLAIM:
            users = self._usage.mounts.get(one.ref, ())
            lost += "; mounted by %s" % ", ".join(users) if users else ""
        if not lost and one.ref.namespace in self._usage.tenants:
            lost = TENANT
        return _Said(Verdict.PRUNE_DANGEROUS, lost, {}) if lost else SAFE

    def _never(self, one: Candidate) -> str:
        """Why an object is not deleted whatever anybody says; "" if nothing speaks against it."""
        if one.live is None:
            return "the API server does not serve its kind, so that nobody can look at it"
        metadata = one.live["metadata"]
        if not one.entry.uid:
            return "the run that was to write it was interrupted: nobody knows whether it is ours"
        if not one.is_ours:
            return "it is not the object that we wrote: somebody made it anew"
        if one.entry.uid in self._in_use:
            return "it is the same object as one that is wanted"
        if metadata.get("deletionTimestamp"):
            return "it is being deleted already"
        owners = ["%s %s" % (owner.get("kind"), owner.get("name")) for owner in metadata.get("ownerReferences") or []]
        return "it belongs to %s" % ", ".join(owners) if owners else ""

    def _kept(self, one: Candidate) -> str:
        """Why an object stays unless somebody names it; "" if there is no reason."""
        metadata: Mapping[str, Mapping[str, str]] = one.live["metadata"] if one.live else {}
        annotations = metadata.get("annotations") or {}
        for name, value in KEEP_ANNOTATIONS.items():
            if annotations.get(name) == value:
                return "its annotation %s says so" % name
        for row in self._keep_rows:
            if row.match.matches(one.ref):
                return row.why
        labelled = (metadata.get("labels") or {}).get(COMPONENT_LABEL) in self._components
        return "" if labelled or self._policy.prune == "all" else "it does not carry our label any more"

    # ---------------------------------------------------------------- what hangs on others

    def _workload(self, one: Candidate) -> _Said:
        """It stays with the volumes that stay."""
        obj = one.live or {}
        claims = [ObjectRef("", CLAIM, one.ref.namespace, name) for name in sorted(mounted_claims(obj))]
        staying = [str(claim) for claim in claims if claim not in self._said or not self._goes(claim)]
        if staying:
            return _Said(Verdict.PRUNE_DANGEROUS, "it mounts %s, which stays" % ", ".join(staying), {})
        if get_path(obj, "spec.volumeClaimTemplates"):
            return _Said(Verdict.PRUNE_DANGEROUS, "its pods' volume claims would stay without it", {})
        return SAFE

    def _definition(self, one: Candidate) -> _Said:
        """A definition takes its custom resources with it; those of ours that go anyway do not count."""
        instances = self._usage.instances.get(one.ref)
        if instances is None:
            problem = self._usage.uncounted.get(one.ref) or "nobody counted them"
            text = "its custom resources could not be counted: %s" % problem
            unknown = "its custom resources would be deleted, and without a cluster nobody knows how many there are"
            return _Said(Verdict.PRUNE_DANGEROUS, text if self._usage.known else unknown, {})
        others = [ref for ref in instances if ref not in self._said or not self._goes(ref)]
        if others:
            return _Said(Verdict.PRUNE_DANGEROUS, "its custom resources would be deleted", per_namespace(others))
        return SAFE

    def _webhook(self, one: Candidate) -> _Said:
        """A fail-closed configuration goes before its back end: without it nothing could be written that it guards."""
        services = [ref for ref in fail_closed(one.live or {}) if ref in self._said and self._goes(ref)]
        if not services:
            return SAFE
        names = ", ".join(str(ref) for ref in services)
        text = "it refuses every write that it guards once its %s is gone" % names
        if self._policy.prune == "report":
            return _Said(Verdict.ORPHAN_WEBHOOK, "%s: a danger, as kubeflow_prune: report leaves both to you; delete it first" % text, {})
        return _Said(Verdict.ORPHAN_WEBHOOK, "%s, so it goes first" % text, {})

    def _hold_what_it_needs(self, one: Candidate) -> None:
        """What an object that stays cannot do without does not go by itself."""
        obj = one.live or {}
        needed: Set[ObjectRef] = set()
        if one.ref.kind_group in POD_SPECS:
            needed = read_by_pods(one.ref, obj)
        elif one.ref.kind in WEBHOOK_KINDS or one.ref.kind_group == CRD:
            needed = {ref for service in back_ends(obj) for ref in self._behind(service)}
        for ref in needed:
            if self._said.get(ref) is SAFE:
                self._said[ref] = _Said(Verdict.PRUNE_DANGEROUS, "%s, which stays, needs it" % one.ref, {})
                self._hold_what_it_needs(self._found[ref])

    def _behind(self, service: ObjectRef) -> List[ObjectRef]:
        """A Service and the workloads that it leads to."""
        there = self._found.get(service)
        selector = get_path(there.live, "spec.selector") if there is not None else None
        found = [service]
        for ref, one in self._found.items():
            labels = get_path(one.live, "spec.template.metadata.labels") or {}
            if selector and ref.namespace == service.namespace and selector.items() <= labels.items():
                found.append(ref)
        return found


def fail_closed(obj: KubeObject) -> List[ObjectRef]:
    """The Services without which a webhook configuration refuses what it guards."""
    hooks = obj.get("webhooks") or []
    services = (get_path(hook, "clientConfig.service") for hook in hooks if hook.get("failurePolicy", "Fail") == "Fail")
    return sorted({_service(service) for service in services if service})


def back_ends(obj: KubeObject) -> List[ObjectRef]:
    """The Services that must answer as long as this webhook configuration or definition is there."""
    if obj.get("kind") in WEBHOOK_KINDS:
        return fail_closed(obj)
    service = get_path(obj, CONVERSION_SERVICE)
    return [_service(service)] if service else []


def _service(reference: Mapping[str, str]) -> ObjectRef:
    return ObjectRef("", "Service", reference.get("namespace", ""), reference.get("name", ""))


def read_by_pods(ref: ObjectRef, obj: KubeObject) -> Set[ObjectRef]:
    """What the pods of a workload cannot start without: ConfigMaps, Secrets and their ServiceAccount."""
    spec = get_path(obj, POD_SPECS[ref.kind_group]) or {}
    found = {ObjectRef("", kind, ref.namespace, name) for kind, name in referenced_config({"spec": spec})}
    if spec.get("serviceAccountName"):
        found.add(ObjectRef("", "ServiceAccount", ref.namespace, spec["serviceAccountName"]))
    return found
