# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches that do not get lost: one per kind, restarted where they end, re-listed where they are too old."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, Iterable, Mapping, Optional

from .api import Api, ApiError, Resource
from .errors import EngineError
from .objects import KubeObject, ObjectRef, ref_of

# How long the server keeps one watch; shorter than the idle time-out of common load balancers.
WATCH_SECONDS = 240
# After a watch failed: long enough to spare a restarting server, short enough that nobody notices.
AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
# A watch that ends without an event before this did not come to its end: something in between cuts it off.
SHORT_SECONDS = 1.0


class Watcher:
    """Live objects of some kinds, kept up to date by threads.

    :param on_change: called after every change of the store, from a watch's thread.
    """

    def __init__(self, api: Api, on_change: Callable[[ObjectRef], None]) -> None:
        self._api = api
        self._on_change = on_change
        self._store: Dict[Resource, Dict[ObjectRef, KubeObject]] = {}
        self._threads: Dict[Resource, threading.Thread] = {}
        self._streams: Dict[Resource, Any] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.trouble: Dict[Resource, str] = {}

    def start(self, resource: Resource, version: str = "", objects: Iterable[KubeObject] = (), selector: str = "") -> None:
        """Watch a kind from a resourceVersion on; without one, it is listed first. A second start does nothing."""
        if resource in self._threads:
            return
        with self._lock:
            self._store[resource] = {ref_of(obj): obj for obj in objects}
        thread = threading.Thread(target=self._run, args=(resource, version, selector), name="watch-" + resource.plural, daemon=True)
        self._threads[resource] = thread
        thread.start()

    def watches(self, resource: Resource) -> bool:
        """Whether this kind is watched."""
        return resource in self._threads

    def get(self, resource: Resource, ref: ObjectRef) -> Optional[KubeObject]:
        """The newest known state of one object."""
        with self._lock:
            return self._store.get(resource, {}).get(ref)

    def all(self, resource: Resource) -> Mapping[ObjectRef, KubeObject]:
        """The newest known objects of a kind."""
        with self._lock:
            return dict(self._store.get(resource, {}))

    def put(self, resource: Resource, obj: KubeObject) -> None:
        """Tell the store what a write answered, unless a watch already knows something newer."""
        ref = ref_of(obj)
        with self._lock:
            known = self._store.setdefault(resource, {}).get(ref)
            if known is None or _version(known) < _version(obj):
                self._store[resource][ref] = obj

    def stop(self) -> None:
        """End every watch."""
        self._stop.set()
        for stream in list(self._streams.values()):
            shutdown = getattr(stream, "shutdown", None)  # urllib3 before 2.3 has none: the thread is a daemon
            if shutdown is not None:
                try:
                    shutdown()
                except (OSError, ValueError, RuntimeError):
                    continue

    # ---------------------------------------------------------------- in the thread

    def _run(self, resource: Resource, version: str, selector: str) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                if not version:
                    version = self._relist(resource, selector)
                started, before = time.monotonic(), version
                version = self._follow(resource, version, selector)
                self.trouble.pop(resource, None)
                if version == before and time.monotonic() - started < SHORT_SECONDS:
                    self._pause(failures)  # it was ended before it said anything
                    failures += 1
                else:
                    failures = 0
            except ApiError as error:
                self.trouble[resource] = error.message
                if error.status == 410:
                    version = ""
                    continue
                self._pause(failures)
                failures += 1
            except EngineError as error:
                self.trouble[resource] = error.cause
                return

    def _pause(self, failures: int) -> None:
        self._stop.wait(AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)])

    def _relist(self, resource: Resource, selector: str) -> str:
        items, version = self._api.list(resource, selector=selector)
        fresh = {ref_of(item): item for item in items}
        with self._lock:
            before = self._store.get(resource, {})
            self._store[resource] = fresh
        for ref in set(before) | set(fresh):
            self._on_change(ref)
        if not version:  # not served yet: the next round asks again
            self._stop.wait(AGAIN_SECONDS[0])
        return version

    def _follow(self, resource: Resource, version: str, selector: str) -> str:
        """Read one watch to its end; the version to go on from, "" if it has to be listed again."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": version,
        }
        if selector:
            query["labelSelector"] = selector
        subject = "watch of %s" % resource.plural
        stream = self._api.send(
            "GET", resource.path(), query=query, subject=subject, stream=True, timeout=WATCH_SECONDS + 10.0, patience=0.0
        )
        self._streams[resource] = stream
        try:
            for line in _lines(stream):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    gone = event["object"].get("code") == 410
                    return "" if gone else version
                version = event["object"]["metadata"]["resourceVersion"]
                self._take(resource, event["type"], event["object"])
        except (OSError, ValueError, AttributeError):
            return version  # cut off: go on from the last event
        except Exception as problem:  # urllib3's own errors share no base that exists without it
            if type(problem).__module__.startswith("urllib3"):
                return version
            raise
        finally:
            self._streams.pop(resource, None)
            stream.close()
        return version

    def _take(self, resource: Resource, kind: str, obj: KubeObject) -> None:
        if kind == "BOOKMARK":
            return
        obj.setdefault("apiVersion", resource.group_version)
        obj.setdefault("kind", resource.kind)
        ref = ref_of(obj)
        with self._lock:
            if kind == "DELETED":
                self._store[resource].pop(ref, None)
            else:
                self._store[resource][ref] = obj
        self._on_change(ref)


def _version(obj: KubeObject) -> int:
    """A resourceVersion as a number, for two states of one object [Kubernetes 1.34: comparable by rule]."""
    text = str(obj["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdigit() else 0


def _lines(stream: Any) -> Iterable[bytes]:
    """The lines of a response as they come."""
    rest = b""
    for chunk in stream.stream(65536, decode_content=True):
        rest += chunk
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.strip():
                yield line
