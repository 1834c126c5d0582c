# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run, from variables to results: the only place that knows all arrows."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Union

from .api import Api
from .applying import Applied, Applier, ComponentOutcome
from .catalogue import Catalogue, Component, Release, release_order, resolve
from .data_guard import guard
from .errors import EngineError, sure
from .forms import desired_form
from .health_rules import HealthContext
from .linting import Lint, lint, refuse
from .locking import Lock
from .objects import ObjectRef
from .overlay import Declaration, declaration
from .planning import Plan, Policy, Wanted, examine, make_plan
from .progress import Progress
from .record import Record, ensure_namespace, load
from .redaction import Redactor, Scrubbed, learn_all
from .registries import Registry, switched
from .rendering import Render, render
from .revisions import KEEP, RevisionStore
from .sealing import Sealer
from .settling import Finding, Judge, is_judged, pods_reader
from .snapshot import Snapshot, take
from .sources import ensure_sources
from .tools import ensure_tool


@dataclass(frozen=True)
class Request:
    """Everything that a run is told.

    :ivar components: the desired set: a preset or names.
    :ivar scope: what this run touches, () for all of the desired set.
    :ivar declarations: component -> its role's ``patches``, ``images`` and ``replicas``.
    :ivar kustomize: path of the binary, or ``auto``.
    :ivar timeout: seconds that one component may take; ``lock_timeout``: seconds to wait for another run.
    :ivar revisions: how many are kept to go back to, 0 for none.
    :ivar lint: ``warn``, ``refuse`` or ``off``; ``lint_accept``: names of findings that are not refused.
    :ivar registry: where all images are pulled from; None for where upstream has them.
    :ivar backup_max_age: seconds after which a recorded backup answers nothing any more; 0 for never.
    """

    cluster: str
    kubeconfig: str = ""
    context: str = ""
    version: str = ""
    components: Union[str, Tuple[str, ...]] = "default"
    scope: Tuple[str, ...] = ()
    add_dependencies: bool = False
    declarations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mirror: str = ""
    cache_dir: str = "~/.cache/mlplatform.kubeflow"
    kustomize: str = "auto"
    policy: Policy = field(default_factory=Policy)
    timeout: float = 900.0
    lock_timeout: float = 600.0
    release_dirs: Tuple[str, ...] = ()
    lint: str = "warn"
    lint_accept: Tuple[str, ...] = ()
    revisions: int = KEEP
    backup_max_age: float = 86400.0
    registry: Optional[Registry] = None
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])


@dataclass
class Clock:
    """Seconds per phase, in order."""

    seconds: Dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def lap(self, phase: str) -> None:
        """The time since the last lap belongs to this phase."""
        now = time.monotonic()
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + now - self._last, 3)
        self._last = now


@dataclass(frozen=True)
class Chosen:
    """The release, the desired set, and the part of it that this run touches; in dependency order."""

    release: Release
    desired: Tuple[Component, ...]
    scope: Tuple[Component, ...]


@dataclass
class Outcome:
    """What one run found and did; fit to be shown (secrets are masked).

    :ivar plan: None if the run ended before there was one.
    :ivar findings: what is not healthy; ``healthy`` says whether all of the scope is.
    """

    request: Request
    chosen: Optional[Chosen] = None
    plan: Optional[Plan] = None
    components: Mapping[str, ComponentOutcome] = field(default_factory=dict)
    findings: Tuple[Finding, ...] = ()
    judged: Mapping[str, int] = field(default_factory=dict)
    errors: Tuple[EngineError, ...] = ()
    kubernetes: str = ""
    clock: Clock = field(default_factory=Clock)
    traffic: Dict[str, Any] = field(default_factory=dict)
    render: Optional[Render] = None
    lints: Tuple[Lint, ...] = ()
    changed: bool = False
    absent: Tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether everything of the scope is there and healthy."""
        return not self.errors and not self.findings and not self.absent


def choose(request: Request) -> Chosen:
    """The release and its components, as asked for."""
    catalogue = Catalogue.load([Path(item).expanduser() for item in request.release_dirs])
    release = catalogue.release(request.version or catalogue.newest)
    desired = resolve(release, request.components, add_dependencies=request.add_dependencies)
    if not request.scope:
        return Chosen(release, desired, desired)
    names = {item.name for item in desired}
    outside = [name for name in request.scope if name not in names]
    if outside:
        resolve(release, outside, add_dependencies=True)  # an unknown name is said to be unknown
        raise EngineError(
            "not in the desired set of this cluster",
            subject="component %s" % ", ".join(outside),
            found="desired: %s" % ", ".join(sorted(names)),
            next_step="add it to kubeflow_components",
        )
    return Chosen(release, desired, tuple(item for item in desired if item.name in request.scope))


def declared(request: Request, components: Sequence[Component]) -> Dict[str, Declaration]:
    """The overlays' contents, from the roles' variables."""
    found = {}
    for component in components:
        given = request.declarations.get(component.name) or {}
        found[component.name] = declaration(
            component.name,
            patches=given.get("patches") or [],
            images=given.get("images") or {},
            replicas=given.get("replicas") or {},
        )
    return found


def render_chosen(request: Request, chosen: Chosen, progress: Progress, sites: Optional[Mapping[str, Declaration]] = None) -> Render:
    """Sources, overlay and kustomize: what the scope shall look like.

    :param sites: what the site changes of the components, if it is not what the request says.
    """
    cache = Path(request.cache_dir).expanduser()
    tree = ensure_sources(chosen.release, cache, request.mirror, progress)
    version = chosen.release.kustomize_version
    if request.kustomize in ("", "auto"):
        binary = ensure_tool("kustomize", version, cache, progress=progress)
    else:
        binary = Path(request.kustomize).expanduser()
    rendered = render(
        chosen.release,
        chosen.scope,
        declared(request, chosen.scope) if sites is None else sites,
        tree,
        kustomize=binary,
        cache_dir=cache,
        progress=progress,
    )
    return switched(rendered, request.registry, chosen.release) if request.registry is not None else rendered


def _numbers(version: str) -> Tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int("".join(char for char in minor if char.isdigit()))


def check_kubernetes(release: Release, version: str, progress: Progress) -> None:
    """Refuse a cluster below the release's hard floor; warn outside of what was tested."""
    if _numbers(version) < _numbers(release.kubernetes_minimum):
        raise EngineError(
            "this Kubernetes is too old for Kubeflow %s" % release.name,
            subject="API server",
            expected="Kubernetes %s or newer" % release.kubernetes_minimum,
            found=version,
            next_step="upgrade the cluster, or choose an older kubeflow_version",
        )
    tested = {_numbers(item) for item in release.kubernetes_tested}
    if tested and _numbers(version) not in tested:
        progress.say(
            "",
            "warning: Kubeflow %s was tested on Kubernetes %s, this is %s" % (release.name, ", ".join(release.kubernetes_tested), version),
        )


class OtherRelease(EngineError):
    """The record has another release than the one that was asked for: going there is an upgrade."""


def check_release(chosen: Chosen, record: Record) -> None:
    """Refuse another release in the record: going from one to another is an upgrade.

    :raises OtherRelease: the record has one, or an upgrade was interrupted.
    """
    if record.upgrade is not None:
        hop = record.upgrade
        back = release_order(hop.target) < release_order(hop.source)
        again = "rollback again, to a revision of %s" if back else "upgrade again with kubeflow_version %s"
        raise OtherRelease(
            "a change of release has begun and not ended",
            subject="record",
            found="from %s to %s, since %s" % (hop.source, hop.target, hop.since),
            next_step="run %s; it goes on from here" % (again % hop.target),
        )
    for name, known in record.components.items():
        component = chosen.release.components.get(name)
        if component is not None and known.catalogue == component.catalogue and known.version != component.version:
            raise OtherRelease(
                "this cluster has another release",
                subject="component %s" % name,
                expected=component.version,
                found="%s in the record" % known.version,
                next_step="set kubeflow_version to %s; going from %s to %s is an upgrade"
                % (known.version, known.version, component.version),
            )


def check_needs(chosen: Chosen, record: Record) -> None:
    """Refuse a scope whose needs were never installed."""
    inside = {item.name for item in chosen.scope}
    for component in chosen.scope:
        missing = [need for need in component.needs if need not in inside and need not in record.components]
        if missing:
            raise EngineError(
                "it needs %s, which is neither installed nor in this run" % ", ".join(missing),
                subject="component %s" % component.name,
                next_step="run without --tags, add %s, or set kubeflow_add_dependencies: true" % ", ".join(missing),
                component=component.name,
            )


def want(rendered: Render, release: Release, snapshot: Snapshot) -> Dict[ObjectRef, Wanted]:
    """What is sent: the render with the release's modes applied."""
    wanted: Dict[ObjectRef, Wanted] = {}
    for ref, item in rendered.objects.items():
        modes = release.mode_of(ref)
        fields = [path for mode in modes if mode.mode == "fields_not_ours" for path in mode.fields]
        resource = sure(snapshot.discovery.get(item.obj["apiVersion"], item.obj["kind"]))  # take() refused it otherwise
        once = any(mode.mode == "create_once" for mode in modes)
        wanted[ref] = Wanted(item.component, desired_form(item.obj, fields), resource, once, item.user_patched)
    return wanted


class Session:
    """One cluster during one run: connected, chosen, rendered; can plan and converge.

    :param guard: called before every write; raises to stop the run.
    """

    def __init__(self, request: Request, progress: Progress, guard: Optional[Callable[[], None]] = None) -> None:
        self.request = request
        self.redactor = Redactor()
        self.progress: Progress = Scrubbed(progress, self.redactor)
        self.outcome = Outcome(request)
        self._guard = guard
        self._lock: Optional[Lock] = None
        for given in request.declarations.values():
            for patch in given.get("patches") or []:
                self.redactor.learn_value(patch)

    def _open(self) -> Tuple[Api, Chosen, Record]:
        """Everything that can be refused before anything is rendered."""
        chosen = self.outcome.chosen = choose(self.request)
        for site in declared(self.request, chosen.scope).values():
            for patch in site.patches:
                self.redactor.learn_patch(patch)
        api = Api.connect(self.request.kubeconfig, self.request.context)
        api.guard = self._check
        self._api = api
        self.outcome.kubernetes = api.version()
        check_kubernetes(chosen.release, self.outcome.kubernetes, self.progress)
        record = load(api)
        self._check_record(chosen, record)
        self.outcome.clock.lap("connect")
        return api, chosen, record

    def _check_record(self, chosen: Chosen, record: Record) -> None:
        """What must be true of the record before anything is rendered."""
        check_release(chosen, record)
        check_needs(chosen, record)

    def _check(self) -> None:
        """Asked before every write: does the run that ordered it still live, and do we still hold the lock?"""
        if self._guard is not None:
            self._guard()
        if self._lock is not None and not self._lock.held:
            raise EngineError(
                "the lock was lost: the API server could not be reached for longer than it lasts",
                subject="cluster %s" % self.request.cluster,
                next_step="run this again when the API server answers; it goes on from here",
            )

    def _render(self, chosen: Chosen) -> Render:
        rendered = render_chosen(self.request, chosen, self.progress)
        learn_all(self.redactor, (item.obj for item in rendered.objects.values()))
        self.outcome.render = rendered
        self._lint(rendered)
        self.outcome.clock.lap("render")
        return rendered

    def _lint(self, rendered: Render) -> None:
        """What is wrong in the release itself; refused before anything is written where the user wants that."""
        if self.request.lint != "off":
            self.outcome.lints = lint({ref: (item.component, item.obj) for ref, item in rendered.objects.items()})
        problem = refuse(self.outcome.lints, self.request.lint_accept) if self.request.lint == "refuse" else None
        if problem is not None:
            raise problem

    def _plan(self, api: Api, chosen: Chosen, rendered: Render, record: Record) -> Tuple[Snapshot, Any, Record]:
        snapshot = take(api, {ref: item.obj for ref, item in rendered.objects.items()}, record)
        learn_all(self.redactor, snapshot.objects.values())
        wanted = want(rendered, chosen.release, snapshot)
        plan = self._shaped(api, make_plan(wanted, record, snapshot, self.request.policy), record, snapshot, wanted)
        plan, record = examine(api, plan, record, self.request.policy, self.redactor)
        self.outcome.plan = guard(plan, chosen.release.data, self.request.policy)
        self.outcome.clock.lap("plan")
        return snapshot, wanted, record

    def _shaped(self, api: Api, plan: Plan, record: Record, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted]) -> Plan:
        """The plan before the server is asked about its changes: here a kind of run adds what only it looks at."""
        return plan

    def _has_work(self, plan: Plan) -> bool:
        """Whether there is anything to write."""
        return bool(plan.writes)

    def _judge(self, api: Api, chosen: Chosen, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted]) -> None:
        """Health from what the plan has read already: no request unless something is late."""
        rules = chosen.release.health
        judged = [(ref, want_, snapshot.objects.get(ref), None) for ref, want_ in wanted.items() if is_judged(want_.resource, rules)]
        counts: Dict[str, int] = {}
        for _ref, want_, _live, _generation in judged:
            counts[want_.component] = counts.get(want_.component, 0) + 1
        context = HealthContext(
            now=datetime.now(timezone.utc),
            binding_modes=snapshot.binding_modes,
            ready_endpoints=snapshot.endpoints,
        )
        self.outcome.judged = counts
        self.outcome.findings = Judge(rules, pods_reader(api)).findings(judged, context, look_at_pods=True)
        missing = {want_.component for ref, want_ in wanted.items() if ref not in snapshot.objects}
        self.outcome.absent = tuple(item.name for item in chosen.scope if item.name in missing)

    # ---------------------------------------------------------------- what can be asked for

    def plan(self) -> Outcome:
        """Plan and judge; nothing is written."""
        api, chosen, record = self._open()
        try:
            rendered = self._render(chosen)
            snapshot, wanted, _record = self._plan(api, chosen, rendered, record)
            self._judge(api, chosen, snapshot, wanted)
            self.outcome.clock.lap("health")
        finally:
            self._note_traffic(api)
        return self.outcome

    def converge(self) -> Outcome:
        """Plan, and carry the plan out; a run with nothing to write writes nothing and takes no lock."""
        api, chosen, record = self._open()
        try:
            rendered = self._render(chosen)
            snapshot, wanted, record = self._plan(api, chosen, rendered, record)
            plan = sure(self.outcome.plan)
            # Objects that look like somebody else's are another run's if the record changed while we planned.
            overtaken = bool(plan.stops) and load(api).resource_version != record.resource_version
            if plan.stops and not overtaken:
                raise refusal(plan)
            self._judge(api, chosen, snapshot, wanted)
            self.outcome.clock.lap("health")
            if self._has_work(plan) or overtaken:
                self._with_lock(api, chosen, rendered, snapshot, wanted, record)
            else:
                if self.outcome.findings:
                    record = self._carry_out(api, chosen, snapshot, wanted, record)
                self._keep(api, chosen, wanted, record)
        finally:
            self._note_traffic(api)
        return self.outcome

    def _with_lock(
        self,
        api: Api,
        chosen: Chosen,
        rendered: Render,
        snapshot: Snapshot,
        wanted: Mapping[ObjectRef, Wanted],
        record: Record,
    ) -> None:
        ensure_namespace(api)
        with Lock(api, self.request.run_id, self.request.lock_timeout, self.progress) as lock:
            self._lock = lock
            self.progress.say("", plan_line(self.outcome.plan))
            fresh = load(api)
            if fresh.resource_version != record.resource_version:
                # Another run wrote in the meantime: what we planned on is no longer what is there.
                self._check_record(chosen, fresh)
                snapshot, wanted, record = self._plan(api, chosen, rendered, fresh)
                plan = sure(self.outcome.plan)
                if plan.stops:
                    raise refusal(plan)
                self._judge(api, chosen, snapshot, wanted)
                if not self._has_work(plan) and not self.outcome.findings:
                    return
            record = self._carry_out(api, chosen, snapshot, wanted, record)
            self._keep(api, chosen, wanted, record)
        self._lock = None

    def _keep(self, api: Api, chosen: Chosen, wanted: Mapping[ObjectRef, Wanted], record: Record) -> None:
        """What all is healthy with can be gone back to; nothing is written if the newest revision holds it already."""
        if self.outcome.healthy and wanted:
            patches = [patch for site in declared(self.request, chosen.scope).values() for patch in site.patches]
            sealer = Sealer(record.hasher, self.redactor, patches)
            RevisionStore(api).save(wanted, chosen.scope, chosen.release, record, sealer, self.request.run_id, self.request.revisions)
            self.outcome.clock.lap("revision")

    def _carry_out(self, api: Api, chosen: Chosen, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted], record: Record) -> Record:
        """Apply the plan and wait for health; the record as it stands then."""
        plan = sure(self.outcome.plan)
        applier = Applier(
            api,
            plan,
            record,
            snapshot,
            chosen.release,
            chosen.scope,
            wanted,
            self.request.policy,
            self.progress,
            self.request.timeout,
        )
        applied: Applied = applier.run()
        self.outcome.components = applied.components
        self.outcome.changed = any(item.written for item in applied.components.values())
        self.outcome.findings = tuple(finding for item in applied.components.values() for finding in item.findings)
        unwritten = [name for name, item in applied.components.items() if item.unwritten]
        self.outcome.absent = tuple(unwritten)
        self.outcome.errors = applied.errors
        self.outcome.clock.lap("apply")
        return applied.record

    def _note_traffic(self, api: Api) -> None:
        traffic = api.traffic
        self.outcome.traffic = {
            "requests": traffic.total,
            "writes": traffic.writes,
            "dry_runs": traffic.dry_runs,
            "retries": traffic.retries,
            "rejected": [self.redactor.scrub(item) for item in traffic.rejected],
        }


def plan_line(plan: Optional[Plan]) -> str:
    """The plan in one line: "675 objects: 670 create, 5 unchanged"."""
    if plan is None:
        return "no plan"
    counts = ", ".join("%d %s" % (count, name) for name, count in plan.counts().items() if count)
    return "%d objects: %s" % (len(plan.items), counts or "nothing")


def refusal(plan: Plan) -> EngineError:
    """The error for a plan that a person has to decide on."""
    first = plan.stops[0]
    more = ["%s: %s" % (item.ref, item.reason) for item in plan.stops[1:6]]
    if len(plan.stops) > 6:
        more.append("and %d more" % (len(plan.stops) - 6))
    steps = {
        "adopt-refused": "name the component in kubeflow_adopt to take it over, or remove the object",
        "conflict": "set kubeflow_conflicts to ours or theirs (also per object), or undo the other manager's change",
        "refused": "this is never done by itself: look at what uses it first",
        "replace-needed": "name it in kubeflow_replace to delete it and make it anew",
    }
    return EngineError(
        first.reason,
        subject=str(first.ref),
        found="; ".join(more),
        next_step=steps[first.verdict.value] + "; nothing was written",
        component=first.component,
    )
