# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claims of speed about day 2: plans of a hop, without a cluster, on one, and on one with a thousand tenants."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Optional, Tuple

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.comparing import compare
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Policy
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Progress, Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request, Session, choose, render_chosen
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import HopSession
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

HOP = ("v1.10.2", "v1.11.0")
TENANTS = 1000
CREATORS = 8
TENANTS_READY_SECONDS = 900.0
PROFILES = Resource("kubeflow.org/v1", "Profile", "profiles", False)
FINALIZER = "profile-finalizer"


class Day2:
    """Measures the plans of one hop.

    :param request: what a run on no cluster is told: mirror and cache.
    """

    def __init__(self, cache: Path, mirror: str, progress: Progress) -> None:
        self._cache, self._mirror, self._progress = cache, mirror, progress
        self._hop = sure(Catalogue.load().release(HOP[1]).hop)

    def _request(self, release: str, sandbox: Optional[Sandbox] = None) -> Request:
        where = str(sandbox.kubeconfig) if sandbox else ""
        return Request("bench", kubeconfig=where, version=release, cache_dir=str(self._cache), mirror=self._mirror)

    def offline(self) -> float:
        """Seconds from two releases to their plan, both renders cached: reading them is part of it."""
        seconds = 0.0
        for _turn in ("fill the cache", "measure"):
            started = time.monotonic()
            before, after = (self._request(release) for release in HOP)
            old, new = choose(before), choose(after)
            old_render, new_render = render_chosen(before, old, Silent()), render_chosen(after, new, Silent())
            compare(old.release, old_render, new.release, new_render, Policy())
            seconds = time.monotonic() - started
        return seconds

    def install(self, sandbox: Sandbox) -> None:
        """The release that the hop starts from, and one tenant."""
        outcome = Session(self._request(HOP[0], sandbox), self._progress).converge()
        if not outcome.healthy:
            raise SystemExit("the install did not become healthy: %s" % (outcome.findings or outcome.errors,))
        self._tenants(sandbox, 0, 1)

    def live(self, sandbox: Sandbox) -> Tuple[float, float]:
        """(seconds of a hop's plan, seconds of a site's plan) on the cluster; each the best of three."""
        acks = tuple(ack.name for ack in self._hop.acks)
        hop: List[float] = []
        site: List[float] = []
        for _turn in range(3):
            hop.append(HopSession(self._request(HOP[1], sandbox), self._hop, acks, Silent()).plan().clock.seconds["plan"])
            site.append(Session(self._request(HOP[0], sandbox), Silent()).plan().clock.seconds["plan"])
        return min(hop), min(site)

    def many_tenants(self, sandbox: Sandbox) -> None:
        """A thousand in all, each with the namespace that its controller makes."""
        self._tenants(sandbox, 1, TENANTS)

    def _tenants(self, sandbox: Sandbox, first: int, last: int) -> None:
        api = Api.connect(str(sandbox.kubeconfig))

        def create(number: int) -> None:
            owner = {"kind": "User", "name": "user-%d@example.com" % number}
            head = {"apiVersion": PROFILES.group_version, "kind": PROFILES.kind, "metadata": {"name": "tenant-%04d" % number}}
            api.create(PROFILES, {**head, "spec": {"owner": owner}})

        with ThreadPoolExecutor(CREATORS) as pool:
            list(pool.map(create, range(first, last)))
        end = time.monotonic() + TENANTS_READY_SECONDS
        while True:
            ready = [one for one in api.list(PROFILES)[0] if FINALIZER in (one["metadata"].get("finalizers") or [])]
            if len(ready) >= last:
                return
            if time.monotonic() > end:
                raise SystemExit("%d of %d tenants after %d s" % (len(ready), last, TENANTS_READY_SECONDS))
            self._progress.waiting("tenants", "%d of %d" % (len(ready), last))
            time.sleep(1)
