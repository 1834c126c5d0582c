# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gatekeeper: says of each write whether the webhooks that it calls answer, and probes those that may."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Set, Tuple

from .api import Api, ApiError
from .errors import EngineError
from .gates import PODS, Hook, NamespaceLabels, calls, closed_because, hooks_of, is_configuration, pod_of
from .objects import PROBE_MANAGER, KubeObject, ObjectRef
from .planning import Wanted

# Between two probes of a webhook that refused one.
PROBE_AGAIN_SECONDS = 0.5
Key = Tuple[ObjectRef, str]


class _Probe:
    """What is known of one webhook: whether it answered, what the last probe heard."""

    def __init__(self) -> None:
        self.open = False
        self.running = False
        self.heard = ""
        self.again_at = 0.0


class GateKeeper:
    """The webhooks of one run.

    :param wanted: everything that the run wants.
    :param needs: component -> all components that it needs, directly or not.
    :param read: the newest known state of an object.
    :param submit: runs a function beside the main loop, which is woken when it ends.
    :param runtime_rules: names of the configurations whose rules their controller fills.
    """

    def __init__(
        self,
        api: Api,
        wanted: Mapping[ObjectRef, Wanted],
        needs: Mapping[str, FrozenSet[str]],
        read: Callable[[ObjectRef, Wanted], Optional[KubeObject]],
        submit: Callable[[Callable[[], None]], Any],
        runtime_rules: FrozenSet[str],
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._needs = needs
        self._read = read
        self._submit = submit
        self._runtime_rules = runtime_rules
        self._configs = [ref for ref in wanted if is_configuration(ref)]
        self._there_before: Set[ObjectRef] = set()
        self._labels = NamespaceLabels([])
        self._hooks: List[Hook] = []
        self._calls: Dict[ObjectRef, Tuple[List[Hook], List[Hook]]] = {}
        self._probes: Dict[Key, _Probe] = {}
        self._definers = {
            want.obj["spec"]["group"]: want.component for ref, want in wanted.items() if ref.kind == "CustomResourceDefinition"
        }
        self._written: Set[ObjectRef] = set()

    def begin(self) -> None:
        """Note which configurations were there before the run, and every namespace's labels."""
        self._there_before = {ref for ref in self._configs if self._read(ref, self._wanted[ref]) is not None}
        self._written = set(self._there_before)
        namespaces = [want.obj for ref, want in self._wanted.items() if ref.kind == "Namespace"]
        lives = [self._read(ref, want) for ref, want in self._wanted.items() if ref.kind == "Namespace"]
        self._labels = NamespaceLabels([*(live for live in lives if live is not None), *namespaces])
        self.changed()

    def changed(self) -> None:
        """A configuration was written or changed: look at them again."""
        self._hooks = []
        for ref in self._configs:
            want = self._wanted[ref]
            live = self._read(ref, want)
            if live is not None:
                self._written.add(ref)
            self._hooks += hooks_of(live or want.obj, want.component, ref.name in self._runtime_rules)
        self._calls.clear()

    def down(self, error: ApiError) -> bool:
        """A write was turned away because a webhook could not be called: its gate closes again.

        :returns: whether it is one of ours; for somebody else's there is no gate.
        """
        ours = False
        for hook in self._hooks:
            if '"%s"' % hook.name in error.message:
                probe = self._probes.setdefault((hook.config, hook.name), _Probe())
                probe.open, probe.heard = False, error.message
                probe.again_at = time.monotonic() + PROBE_AGAIN_SECONDS
                ours = True
        return ours

    def closed(self, ref: ObjectRef, want: Wanted, live: Optional[KubeObject], endpoints: FrozenSet[str]) -> str:
        """Why this object must not be written yet; "" if every webhook that it calls answers."""
        if ref not in self._calls:
            operation = "CREATE" if live is None else "UPDATE"
            self._calls[ref] = calls(self._hooks, want.resource, want.obj, self._labels, operation)
        direct, by_pods = self._calls[ref]
        for hook in self._pending_hooks(want):
            if hook not in direct:
                return closed_because(hook, hook.config in self._written, endpoints)
        for hooks, for_pod in ((direct, False), (by_pods, True)):
            for hook in hooks:
                if not self._concerns(hook, want, for_pod):
                    continue
                reason = closed_because(hook, hook.config in self._written, endpoints) or self._probe(hook, want, for_pod)
                if reason:
                    return reason
        return ""

    def _pending_hooks(self, want: Wanted) -> List[Hook]:
        """Webhooks of the same component whose rules are still to come: they are about the kinds that it defines."""
        if self._definers.get(want.resource.group) != want.component:
            return []
        return [hook for hook in self._hooks if hook.pending_rules and hook.component == want.component]

    def _concerns(self, hook: Hook, want: Wanted, for_pod: bool) -> bool:
        """Whether this write has to wait for the webhook.

        One that was there before the run is called now. One that the run brings is waited for by what
        comes after it: its own component's custom resources, and the components that need it. What its
        own back end is made of (ConfigMaps, the Deployment) is written before it.
        """
        if hook.config in self._there_before:
            return True
        if hook.component == want.component:
            return not for_pod and want.resource.group in self._definers
        if hook.component in self._needs.get(want.component, frozenset()):
            return True
        return hook.config in self._written

    def _probe(self, hook: Hook, want: Wanted, for_pod: bool) -> str:
        probe = self._probes.setdefault((hook.config, hook.name), _Probe())
        if probe.open:
            return ""
        if not probe.running and time.monotonic() >= probe.again_at:
            probe.running = True
            self._submit(lambda: self._ask(probe, want, for_pod))
        return "webhook %s: %s" % (hook.name, probe.heard or "a dry-run probe is under way")

    def _ask(self, probe: _Probe, want: Wanted, for_pod: bool) -> None:
        """One dry run; whatever the webhook decides, it has answered. Only "could not call it" keeps the gate shut."""
        try:
            pod = pod_of(want.obj) if for_pod else None
            if pod is not None:
                self._api.create(PODS, pod, dry=True)
            else:
                self._api.apply(want.resource, want.obj, dry=True, force=True, manager=PROBE_MANAGER)
            probe.open = True
        except ApiError as error:
            answered = error.status not in (0, 404) and error.status < 500 or "does not support dry run" in error.message
            probe.open = answered
            probe.heard = error.message
        except EngineError as error:
            probe.heard = error.cause
        finally:
            probe.again_at = time.monotonic() + PROBE_AGAIN_SECONDS
            probe.running = False
