# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying: every write of a plan, each as soon as what it needs is true, none before.

One thread decides, a few write, one watch per kind tells what became of it. Nothing is retried in the
hope that it may work: a write waits for its namespace, its CustomResourceDefinition, its component's
needs and its webhooks, and then has to succeed.
"""

from __future__ import annotations

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .api import Api, ApiError, Resource, resource_of_crd
from .blame import SHOWN, broken, timed_out
from .catalogue import Component, Release
from .errors import EngineError
from .gatekeeping import GateKeeper
from .gates import is_configuration
from .health_rules import HealthContext, ready_services
from .kstatus import State, kstatus
from .ledger import Ledger
from .objects import COMPONENT_LABEL, KubeObject, ObjectRef
from .planning import Item, Plan, Policy, Wanted
from .progress import Progress
from .record import Record
from .runs import DEFINITION, NAMESPACE, PASSIVE, WEBHOOK, WORKLOAD, Run, Work, rank_of
from .settling import Finding, Judge, is_judged, pods_reader
from .snapshot import ENDPOINT_SLICES, Snapshot
from .watching import Watcher
from .writing import carry_out

WRITERS = 6
# Of them for CustomResourceDefinitions, which take the server a hundred times as long as others: the rest goes on beside.
DEFINITION_WRITERS = 3
TICK_SECONDS = 0.5
# A write that came too early is not made again before this.
AGAIN_SECONDS = 1.0
# A component that settles for longer than this is asked why, again after as long.
LOOK_SECONDS = 4.0
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)


@dataclass(frozen=True)
class ComponentOutcome:
    """What became of one component: healthy, failed or blocked; seconds from its first write to its end."""

    name: str
    state: str
    written: int
    unwritten: int
    seconds: float
    findings: Tuple[Finding, ...]
    error: Optional[EngineError]
    blocked_by: str = ""


@dataclass(frozen=True)
class Applied:
    """What one run did, and the record as it stands now."""

    components: Mapping[str, ComponentOutcome]
    record: Record

    @property
    def errors(self) -> Tuple[EngineError, ...]:
        """The first causes, in the order of the components."""
        return tuple(outcome.error for outcome in self.components.values() if outcome.error is not None)


class Applier:
    """Carries out one plan.

    :param components: the components of this run, in dependency order.
    :param timeout: seconds that a component may take from its first write to health.
    """

    def __init__(
        self,
        api: Api,
        plan: Plan,
        record: Record,
        snapshot: Snapshot,
        release: Release,
        components: Sequence[Component],
        wanted: Mapping[ObjectRef, Wanted],
        policy: Policy,
        progress: Progress,
        timeout: float,
    ) -> None:
        self._api, self._snapshot = api, snapshot
        self._ledger = Ledger(api, record)
        self._policy, self._progress, self._timeout = policy, progress, timeout
        self._wanted = wanted
        self._events: queue.SimpleQueue[Tuple[str, Any, Any]] = queue.SimpleQueue()
        self._watcher = Watcher(api, lambda ref: self._events.put(("live", ref, None)))
        self._pool = ThreadPoolExecutor(WRITERS + 2, thread_name_prefix="write")
        self._running = self._definitions_running = 0
        self._written: Dict[ObjectRef, KubeObject] = {}
        self._served: Dict[Resource, str] = {}
        self._endpoints = snapshot.endpoints
        self._endpoints_dirty = False
        self._waited_since: Dict[str, str] = {}
        self._rules = release.health
        self._judge = Judge(release.health, pods_reader(api))
        self._runs = {item.name: Run(item) for item in components}
        self._fill(plan)
        runtime_rules = frozenset(name for name, facts in release.webhooks.items() if facts.rules)
        self._gates = GateKeeper(api, wanted, self._all_needs(), self._live, self._beside, runtime_rules)

    def _fill(self, plan: Plan) -> None:
        for item in plan.writes:
            self._runs[item.component].works.append(Work(item, rank_of(item)))
        for ref, want in self._wanted.items():
            if is_judged(want.resource, self._rules):
                self._runs[want.component].judged.append((ref, want))
        definitions = {work.item.ref.name: work for run in self._runs.values() for work in run.works if work.rank == DEFINITION}
        self._coming: Dict[Resource, Work] = {
            resource: work for work in definitions.values() for resource in resource_of_crd(work.item.wanted.obj)
        }
        self._queue = [work for run in self._runs.values() for work in run.works]
        self._queue.sort(key=lambda work: work.rank > DEFINITION)
        self._new_namespaces = {work.item.ref.name: work for work in self._queue if work.rank == NAMESPACE and work.item.live is None}

    def _all_needs(self) -> Dict[str, FrozenSet[str]]:
        needs: Dict[str, FrozenSet[str]] = {}
        for name, run in self._runs.items():
            direct = [need for need in run.component.needs if need in self._runs]
            needs[name] = frozenset(direct).union(*(needs.get(need, frozenset()) for need in direct))
        return needs

    # ---------------------------------------------------------------- the loop

    def run(self) -> Applied:
        """Do it. The record is written before the first write, as components end, and at the end whatever happens."""
        self._ledger.announce(self._runs.values())
        self._start_watches()
        self._gates.begin()
        try:
            while self._step():
                self._wait_for_event()
        finally:
            self._watcher.stop()
            self._pool.shutdown(wait=True)
            self._drain()
            for run in self._runs.values():
                if run.state != "healthy":
                    self._ledger.note(run, self._written)
            self._ledger.close()
        return Applied({name: self._outcome(run) for name, run in self._runs.items()}, self._ledger.record)

    def _step(self) -> bool:
        """Advance everything that can be advanced; False when every component has come to an end."""
        if self._endpoints_dirty:
            self._endpoints_dirty = False
            self._endpoints = ready_services(list(self._watcher.all(ENDPOINT_SLICES).values()))
            for run in self._runs.values():
                run.dirty = True
        while sum(self._advance(run) for run in self._runs.values()):
            pass  # one that moved may let another one move
        self._submit()
        self._ledger.save_sometimes()
        return any(run.state in ("waiting", "writing", "settling") for run in self._runs.values()) or self._running > 0

    def _wait_for_event(self) -> None:
        try:
            self._handle(self._events.get(timeout=TICK_SECONDS))
        except queue.Empty:
            self._show()
            return
        self._drain()
        self._show()

    def _drain(self) -> None:
        while True:
            try:
                self._handle(self._events.get_nowait())
            except queue.Empty:
                return

    def _handle(self, event: Tuple[str, Any, Any]) -> None:
        what, subject, result = event
        if what == "written":
            self._running -= 1
            self._definitions_running -= subject.rank == DEFINITION
            self._finish(subject, result)
        elif what == "served":
            self._served[subject] = result
        elif what == "live":
            ref: ObjectRef = subject
            if ref.kind == "EndpointSlice":
                self._endpoints_dirty = True
                return
            if is_configuration(ref):
                self._gates.changed()
            want = self._wanted.get(ref)
            if want is not None and want.component in self._runs:
                self._runs[want.component].dirty = True

    def _beside(self, function: Callable[[], None]) -> None:
        """Run something beside the loop and wake it afterwards."""

        def call() -> None:
            function()
            self._events.put(("beside", None, None))

        self._pool.submit(call)

    # ---------------------------------------------------------------- components

    def _advance(self, run: Run) -> bool:
        """Move a component one state on if it is time; whether it moved."""
        before = run.state
        if run.state == "waiting":
            self._maybe_start(run)
        if run.state == "writing" and not run.left:
            run.state, run.settling_since, run.dirty = "settling", time.monotonic(), True
            self._ledger.note(run, self._written)
        if run.state in ("writing", "settling"):
            self._look(run)
        if run.state in ("writing", "settling") and time.monotonic() - run.started > self._timeout:
            self._fail(run, self._timed_out(run))
        return run.state != before

    def _maybe_start(self, run: Run) -> None:
        for need in run.component.needs:
            other = self._runs.get(need)
            if other is None or other.state == "healthy":
                continue
            if other.state in ("failed", "blocked"):
                run.state, run.reason = "blocked", need
                run.ended = time.monotonic()
            else:
                run.reason = "waits for %s" % need
            return
        run.state, run.started, run.reason = "writing", time.monotonic(), ""

    def _context(self) -> HealthContext:
        return HealthContext(
            now=datetime.now(timezone.utc),
            binding_modes=self._snapshot.binding_modes,
            ready_endpoints=self._endpoints,
        )

    def _look(self, run: Run) -> None:
        """Settled is who has no findings. Something final ends a component also while it is being written:
        a controller that crashes is why its webhook does not answer."""
        now = time.monotonic()
        look = now - max(run.settling_since, run.started, run.looked) > LOOK_SECONDS
        if not look and (run.state == "writing" or not run.dirty):
            return
        run.dirty = False
        if look:
            run.looked = now
        run.findings = self._findings(run, look)
        final = [finding for finding in run.findings if finding.final]
        if final:
            self._fail(run, broken(run.component.name, final[0]))
        elif not run.findings and run.state == "settling":
            run.state, run.ended = "healthy", now
            self._report(run)

    def _findings(self, run: Run, look_at_pods: bool) -> Tuple[Finding, ...]:
        """What is not healthy of what this component has already."""
        coming = {work.item.ref for work in run.left}
        objects = [(ref, want, self._live(ref, want), self._generation(ref)) for ref, want in run.judged if ref not in coming]
        return self._judge.findings(objects, self._context(), look_at_pods=look_at_pods)

    def _report(self, run: Run) -> None:
        done = [work for work in run.works if work.state == "done"]
        if done:
            self._progress.say(
                run.component.name,
                "healthy: %d objects written, %.1f s" % (len(done), run.ended - run.started),
            )

    def _fail(self, run: Run, error: EngineError) -> None:
        run.state, run.error, run.ended = "failed", error, time.monotonic()
        error.component = error.component or run.component.name
        left = run.left
        if left and not error.next_step:
            error.next_step = "mend the cause and run this again; it goes on from here"
        self._progress.say(run.component.name, "failed: %s" % str(error).split("\n", maxsplit=1)[0])

    def _timed_out(self, run: Run) -> EngineError:
        left = sorted(run.left, key=lambda work: work.rank)[:SHOWN]
        closed = [(work.item.ref, self._closed(run, work) or "being written") for work in left]
        return timed_out(run.component.name, self._timeout, self._findings(run, True), closed)

    # ---------------------------------------------------------------- writes

    def _submit(self) -> None:
        """Start every write that may be started, in order, as many as there are writers."""
        rest: List[Work] = []
        for position, work in enumerate(self._queue):
            if self._running >= WRITERS:
                rest += self._queue[position:]
                break
            run = self._runs[work.item.component]
            if run.state in ("failed", "blocked"):
                continue
            crowded = work.rank == DEFINITION and self._definitions_running >= DEFINITION_WRITERS
            if crowded or self._closed(run, work):
                rest.append(work)
                continue
            work.state = "running"
            self._definitions_running += work.rank == DEFINITION
            self._running += 1
            self._pool.submit(self._write, work)
        self._queue = rest

    def _closed(self, run: Run, work: Work) -> str:
        """Why this write must not be made yet; "" if it may."""
        item = work.item
        if time.monotonic() < work.again_at:
            return work.heard
        if work.rank in (NAMESPACE, DEFINITION):
            return ""
        if run.state == "waiting":
            return run.reason or "its turn has not come"
        namespace = self._new_namespaces.get(item.ref.namespace)
        if namespace is not None and namespace.state != "done":
            return "Namespace %s is not there yet" % item.ref.namespace
        if item.wanted.resource in self._coming:
            reason = self._unserved(item.wanted.resource)
            if reason:
                return reason
        reason = self._too_early(run, work)
        if reason:
            return reason
        return self._gates.closed(item.ref, item.wanted, item.live, self._endpoints)

    def _too_early(self, run: Run, work: Work) -> str:
        """What of its own component has to come before a workload, a restart or a webhook configuration."""
        if work.rank == WEBHOOK:
            return self._no_backend(work.item) if work.item.live is None else ""
        if work.rank < WORKLOAD:
            return ""
        before = (PASSIVE,) if work.rank == WORKLOAD else (PASSIVE, WORKLOAD)
        if any(other.rank in before for other in run.left if other is not work):
            return "what it reads is not written yet"
        # A controller that starts before its kinds are served crashes, and backs off for longer than this takes.
        definitions = (other for other in run.works if other.rank == DEFINITION)
        return next(filter(None, map(self._not_established, definitions)), "")

    def _no_backend(self, item: Item) -> str:
        """On first install a webhook configuration is written after its back end is there, or it blocks everybody."""
        for hook in item.wanted.obj.get("webhooks") or []:
            service = (hook.get("clientConfig") or {}).get("service")
            if service and "%s/%s" % (service["namespace"], service["name"]) not in self._endpoints:
                return "Service %s/%s has no ready endpoint" % (service["namespace"], service["name"])
        return ""

    def _unserved(self, resource: Resource) -> str:
        """Why a kind whose definition this run writes cannot be used yet: not Established, or not served yet."""
        work = self._coming[resource]
        known = self._served.get(resource, "")
        if known == "yes":
            return ""
        reason = self._not_established(work)
        if reason:
            return reason
        if known != "asking":
            self._served[resource] = "asking"
            self._pool.submit(self._ask_served, resource)
        return "%s is established, but not served yet" % work.item.ref.name

    def _not_established(self, work: Work) -> str:
        """Why a CustomResourceDefinition of this run does not count yet."""
        name = work.item.ref.name
        if work.state != "done":
            return "CustomResourceDefinition %s is not written yet" % name
        live = self._watcher.get(CRDS, work.item.ref)
        verdict = kstatus(live, datetime.now(timezone.utc)) if live else None
        if verdict is not None and verdict.state is State.CURRENT:
            return ""
        more = ": " + verdict.message if verdict and verdict.message else ""
        return "CustomResourceDefinition %s is not established%s" % (name, more)

    def _ask_served(self, resource: Resource) -> None:
        """Established and served are two moments: read the kind once before anything is written to it."""
        try:
            self._api.send("GET", resource.path(), query={"limit": "1"}, subject=resource.plural)
            answer = "yes"
        except EngineError:
            time.sleep(0.1)
            answer = ""
        self._events.put(("served", resource, answer))
        if answer:
            self._watch(resource)

    def _write(self, work: Work) -> None:
        """In a writer's thread."""
        try:
            result: Any = carry_out(self._api, work.item, self._policy)
        except Exception as problem:  # handed to the loop, which fails the component or ends the run
            result = problem
        self._events.put(("written", work, result))

    def _finish(self, work: Work, result: Any) -> None:
        """What a write answered, in the loop."""
        run = self._runs[work.item.component]
        run.dirty = True
        if isinstance(result, dict):
            work.state = "done"
            self._written[work.item.ref] = result
            self._watcher.put(work.item.wanted.resource, result)
            if is_configuration(work.item.ref):
                self._gates.changed()
            return
        if isinstance(result, ApiError) and (self._gates.down(result) if result.webhook_down else _early(result)):
            work.state, work.heard, work.again_at = "pending", result.message, time.monotonic() + AGAIN_SECONDS
            self._queue.insert(0, work)
            return
        work.state = "failed"
        if not isinstance(result, EngineError):
            raise result
        if isinstance(result, ApiError) and result.webhook_down:
            result.next_step = "bring back what serves that webhook, or remove its configuration; then run this again"
        if run.state not in ("failed", "blocked"):
            self._fail(run, result)

    # ---------------------------------------------------------------- what is there

    def _live(self, ref: ObjectRef, want: Wanted) -> Optional[KubeObject]:
        if self._watcher.watches(want.resource):
            return self._watcher.get(want.resource, ref)
        return self._written.get(ref) or self._snapshot.objects.get(ref)

    def _generation(self, ref: ObjectRef) -> Optional[int]:
        written = self._written.get(ref)
        generation = written["metadata"].get("generation") if written else None
        return generation if isinstance(generation, int) else None

    def _start_watches(self) -> None:
        resources = {want.resource for run in self._runs.values() for _ref, want in run.judged}
        for resource in resources:
            if self._snapshot.served.get(resource.group_version, resource.kind):
                self._watch(resource)
        self._watcher.start(ENDPOINT_SLICES, self._snapshot.endpoint_version, self._snapshot.endpoint_slices)

    def _watch(self, resource: Resource) -> None:
        if not is_judged(resource, self._rules):
            return
        version = self._snapshot.versions.get(resource, "")
        objects = [obj for ref, obj in self._snapshot.objects.items() if ref.kind == resource.kind and ref.group == resource.group]
        self._watcher.start(resource, version, objects, COMPONENT_LABEL)

    # ---------------------------------------------------------------- telling

    def _show(self) -> None:
        """One line about the oldest thing that is waited for."""
        active = [run for run in self._runs.values() if run.state in ("writing", "settling")]
        if not active:
            return
        run = min(active, key=lambda item: item.started)
        if run.state == "settling" and run.findings:
            more = " and %d more" % (len(run.findings) - 1) if len(run.findings) > 1 else ""
            self._progress.waiting(run.component.name, "%s for %s%s" % (self._since(str(run.findings[0].ref)), run.findings[0], more))
            return
        left = run.left
        reasons = [reason for reason in (self._closed(run, work) for work in left if work.state == "pending") if reason]
        done = len(run.works) - len(left)
        text = "%d of %d objects written" % (done, len(run.works))
        if reasons:
            text += ", %s: %s" % (self._since(reasons[0]), reasons[0])
        troubled = next((finding for finding in run.findings if finding.evidence), None)
        if reasons and troubled is not None:
            text += "; %s" % troubled
        self._progress.waiting(run.component.name, text)

    def _since(self, what: str) -> str:
        """Since when this is waited for, by the clock on the wall."""
        return "waiting since " + self._waited_since.setdefault(what, datetime.now().strftime("%H:%M:%S"))

    def _outcome(self, run: Run) -> ComponentOutcome:
        done = sum(1 for work in run.works if work.state == "done")
        return ComponentOutcome(
            name=run.component.name,
            state=run.state,
            written=done,
            unwritten=len(run.works) - done,
            seconds=max(0.0, run.ended - run.started) if run.started else 0.0,
            findings=run.findings,
            error=run.error,
            blocked_by=run.reason if run.state == "blocked" else "",
        )


def _early(error: ApiError) -> bool:
    """The write came a moment too early: the namespace of that name is still going away, or the object just changed."""
    if error.status == 403 and "being terminated" in error.message:
        return True
    return error.status == 409 and not error.field_conflict and "object has been modified" in error.message
