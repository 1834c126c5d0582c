# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: one run at a time writes to a cluster.

A Lease in our namespace. It is taken only by a run that has something to write, renewed while that
run lives, and expires by itself if the run was killed.
"""

from __future__ import annotations

import datetime
import os
import re
import socket
import threading
import time
from types import TracebackType
from typing import Any, Dict, Optional, Type

from .api import Api, ApiError, Resource
from .errors import EngineError
from .objects import OUR_NAMESPACE, KubeObject
from .progress import Progress

NAME = "lock"
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases", True)
DURATION_SECONDS = 20
RENEW_SECONDS = 5.0
SUBJECT = "Lease %s/%s" % (OUR_NAMESPACE, NAME)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def machine() -> str:
    """Names this machine and process space, so that a dead holder on it can be told from a live one elsewhere."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip()
        return "%s/%s" % (boot[:8], os.readlink("/proc/self/ns/pid")[5:-1])
    except OSError:
        return ""


def gone(holder: str) -> bool:
    """Whether the holder is a process of this machine that no longer runs: its run was killed."""
    found = re.search(r" process (\d+) on (\S+) ", holder)
    if not found or not machine() or found.group(2) != machine():
        return False
    return not os.path.exists("/proc/%s" % found.group(1))


def _expired(spec: Dict[str, Any], seen_for: float) -> bool:
    """Whether the holder let it lapse, by our own clock since we first saw this renewal (clocks differ)."""
    return not spec.get("holderIdentity") or seen_for > float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)


class Lock:
    """Hold the cluster for one run; a context manager.

    :param timeout: seconds to wait for another run; 0 says at once who holds it.
    """

    def __init__(self, api: Api, run_id: str, timeout: float, progress: Progress) -> None:
        self._api = api
        who = "%s@%s" % (os.environ.get("USER") or "ansible", socket.gethostname())
        self._holder = "%s process %d on %s run %s" % (who, os.getpid(), machine() or "?", run_id)
        self._timeout = timeout
        self._progress = progress
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._version = ""
        self._valid_until = 0.0
        self._abandoned = False
        self.waited = False

    def __enter__(self) -> Lock:
        self._acquire()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.held and not self._abandoned:
            self._release()

    def abandon(self) -> None:
        """Neither renew nor release it any more: it goes with its namespace, and is held until it would lapse."""
        self._abandoned = True
        self._stop.set()

    @property
    def held(self) -> bool:
        """Whether we still hold it for certain."""
        return time.monotonic() < self._valid_until

    def _body(self, holder: str, since: str, transitions: int) -> KubeObject:
        metadata = {"name": NAME, "namespace": OUR_NAMESPACE}
        if self._version:
            metadata["resourceVersion"] = self._version
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": since,
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _acquire(self) -> None:
        start = time.monotonic()
        seen, seen_at = "", start
        while True:
            lease = self._api.get(LEASES, OUR_NAMESPACE, NAME)
            spec = (lease or {}).get("spec") or {}
            mine = spec.get("holderIdentity") == self._holder
            renewal = str(spec.get("renewTime"))
            if renewal != seen:
                seen, seen_at = renewal, time.monotonic()
            lapsed = _expired(spec, time.monotonic() - seen_at) or gone(str(spec.get("holderIdentity")))
            if lease is None or mine or lapsed:
                if self._take(lease):
                    return
                continue
            self._wait(spec, start)

    def _wait(self, spec: Dict[str, Any], start: float) -> None:
        """Say who holds it; give up when the time is over."""
        self.waited = True
        text = "%s holds the lock since %s" % (spec.get("holderIdentity"), spec.get("acquireTime"))
        if time.monotonic() - start >= self._timeout:
            raise EngineError(
                "another run is writing to this cluster: " + text,
                subject=SUBJECT,
                next_step="wait for it, or set kubeflow_lock_timeout; a killed run's lock lapses after %d s" % DURATION_SECONDS,
            )
        self._progress.waiting("", "waiting for the lock: " + text)
        time.sleep(1.0)

    def _take(self, lease: Optional[KubeObject]) -> bool:
        """Write ourselves in; False if somebody was faster."""
        self._version = lease["metadata"]["resourceVersion"] if lease else ""
        transitions = int(((lease or {}).get("spec") or {}).get("leaseTransitions") or 0) + 1
        self._since = _now()
        self._transitions = transitions
        started = time.monotonic()
        body = self._body(self._holder, self._since, transitions)
        try:
            written = self._api.replace(LEASES, body) if lease else self._api.create(LEASES, body)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        self._version = written["metadata"]["resourceVersion"]
        self._valid_until = started + DURATION_SECONDS
        return True

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            started = time.monotonic()
            try:
                written = self._api.replace(LEASES, self._body(self._holder, self._since, self._transitions))
            except EngineError:
                # held turns False when the lease runs out; until then the next renewal may succeed
                self._look_again()
                continue
            self._version = written["metadata"]["resourceVersion"]
            self._valid_until = started + DURATION_SECONDS

    def _look_again(self) -> bool:
        """After a lost answer: the renewal may have been written, then its version is the one to go on from.

        :returns: whether the lease is known to be ours still.
        """
        try:
            lease = self._api.get(LEASES, OUR_NAMESPACE, NAME)
        except EngineError:
            return False
        if not lease or lease["spec"].get("holderIdentity") != self._holder:
            return False
        self._version = lease["metadata"]["resourceVersion"]
        return True

    def _release(self) -> None:
        """Let the next one in. What the run did stands whether this succeeds or not: else the lease lapses by itself."""
        for _attempt in range(2):
            try:
                self._api.replace(LEASES, self._body("", self._since, self._transitions))
                return
            except EngineError:
                # A conflict may be with ourselves: a renewal, or this release, whose answer was lost.
                if not self._look_again():
                    return
