# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A watch loses nothing: neither when it ends, nor when it is cut off, nor when it is too old."""

from __future__ import annotations

import json
import queue
from typing import Any, Callable, Dict, Iterator, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import watching
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.watching import Watcher

CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


def config(name: str, version: int) -> KubeObject:
    """An object as a watch sends it."""
    metadata = {"name": name, "namespace": "n", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def ref(name: str) -> ObjectRef:
    """Its identity."""
    return ObjectRef("", "ConfigMap", "n", name)


def line(kind: str, obj: KubeObject) -> str:
    """One event."""
    return json.dumps({"type": kind, "object": obj}) + "\n"


def bookmark(version: int) -> str:
    """What the server sends so that a quiet watch does not grow too old."""
    return line("BOOKMARK", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}})


class Followed:
    """A watcher, and what it told."""

    def __init__(self, api: Api) -> None:
        self._changes: queue.Queue[ObjectRef] = queue.Queue()
        self.watcher = Watcher(api, self._changes.put)

    def names(self) -> Dict[str, str]:
        """Name -> resourceVersion of what the store holds."""
        store = self.watcher.all(CONFIG)
        return {key.name: obj["metadata"]["resourceVersion"] for key, obj in store.items()}

    def until(self, good: Callable[[Dict[str, str]], bool]) -> Dict[str, str]:
        """The store as soon as it is good; every change is told, so each is waited for."""
        while not good(self.names()):
            self._changes.get(timeout=5)
        return self.names()


@pytest.fixture(name="followed")
def _followed(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    """Its pauses are short, as nobody here has to be spared."""
    monkeypatch.setattr(watching, "AGAIN_SECONDS", (0.005,))
    found = Followed(api)
    yield found
    found.watcher.stop()


def watches(scripted: Any) -> List[str]:
    """From which version each watch went on."""
    return [asked.query["resourceVersion"] for asked in scripted.asked if "watch" in asked.query]


def serve(scripted: Any, answer: Any, rounds: List[Any], lists: List[Any]) -> None:
    """Answer each watch with the next of ``rounds`` and then with 404, each LIST with the next of ``lists``."""

    def reply(asked: Any) -> Any:
        if "watch" in asked.query:
            return rounds.pop(0) if rounds else answer(500, "no more")
        return answer(200, lists.pop(0))

    scripted.answer = reply


def listed(version: int, *objects: KubeObject) -> Dict[str, Any]:
    """A LIST."""
    return {"metadata": {"resourceVersion": str(version)}, "items": list(objects)}


def test_events_change_the_store(scripted: Any, answer: Any, followed: Followed) -> None:
    """Added, modified and deleted; the watch starts where the LIST of the plan ended."""
    events = [line("ADDED", config("a", 6)), line("MODIFIED", config("b", 7)), line("DELETED", config("c", 8))]
    serve(scripted, answer, [answer(200, events)], [])
    followed.watcher.start(CONFIG, "5", [config("b", 2), config("c", 3)], "some-label")
    assert followed.until(lambda names: "c" not in names and "a" in names) == {"a": "6", "b": "7"}
    asked = scripted.asked[0]
    assert asked.query["resourceVersion"] == "5" and asked.query["labelSelector"] == "some-label"
    assert asked.query["allowWatchBookmarks"] == "true"


def test_a_watch_that_ends_goes_on_from_the_last_bookmark(scripted: Any, answer: Any, followed: Followed) -> None:
    """The server ends every watch after some minutes; a quiet one must not fall back to where it began."""
    rounds = [answer(200, [line("ADDED", config("a", 6)), bookmark(90)]), answer(200, [line("ADDED", config("b", 91))])]
    serve(scripted, answer, rounds, [])
    followed.watcher.start(CONFIG, "5")
    assert followed.until(lambda names: len(names) == 2) == {"a": "6", "b": "91"}
    assert watches(scripted)[:2] == ["5", "90"]


def test_a_watch_cut_in_the_middle_of_a_line_goes_on_from_the_last_whole_event(scripted: Any, answer: Any, followed: Followed) -> None:
    """Half an event is no event: it comes again, whole, and nothing is listed anew."""
    broken = answer(200, [line("ADDED", config("a", 6)), line("ADDED", config("b", 7))[:30]], cut=True)
    serve(scripted, answer, [broken, answer(200, [line("ADDED", config("b", 7))])], [])
    followed.watcher.start(CONFIG, "5")
    assert followed.until(lambda names: "b" in names) == {"a": "6", "b": "7"}
    assert watches(scripted)[:2] == ["5", "6"]
    assert all("watch" in asked.query for asked in scripted.asked)


@pytest.mark.parametrize("in_stream", [True, False])
def test_a_watch_that_is_too_old_lists_again_and_sees_what_was_deleted(
    in_stream: bool, scripted: Any, answer: Any, followed: Followed
) -> None:
    """410 comes as an event or as the answer itself. What vanished in between is told as a change too."""
    old = answer(200, [json.dumps(GONE) + "\n"]) if in_stream else answer(410, {"code": 410, "message": "too old"})
    serve(scripted, answer, [old, answer(200, [line("ADDED", config("c", 31))])], [listed(30, config("a", 6))])
    followed.watcher.start(CONFIG, "5", [config("a", 2), config("b", 3)])
    assert followed.until(lambda names: "c" in names) == {"a": "6", "c": "31"}
    assert watches(scripted)[:2] == ["5", "30"]


def test_a_lost_connection_is_tried_again(scripted: Any, answer: Any, followed: Followed) -> None:
    """Refused, 503, reset: the store stays as it was, and the watch goes on from where it was."""
    rounds = [answer(0, cut=True), answer(503, "restarting"), answer(200, [line("ADDED", config("b", 9))])]
    serve(scripted, answer, rounds, [])
    followed.watcher.start(CONFIG, "5", [config("a", 2)])
    assert followed.until(lambda names: "b" in names) == {"a": "2", "b": "9"}
    assert watches(scripted)[:3] == ["5", "5", "5"]


def test_the_answer_of_a_write_never_replaces_something_newer(api: Api) -> None:
    """A watch is often faster than the answer of the write that caused it."""
    watcher = Watcher(api, lambda _ref: None)
    watcher.put(CONFIG, config("a", 9))
    watcher.put(CONFIG, config("a", 10))
    watcher.put(CONFIG, config("a", 8))
    found = watcher.get(CONFIG, ref("a"))
    assert found is not None and found["metadata"]["resourceVersion"] == "10"
