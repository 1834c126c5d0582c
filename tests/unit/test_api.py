# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers of an API server, and of what stands before it, mean: which may be asked again, and what a person reads."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import api as api_module
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import (
    Api,
    ApiError,
    Discovery,
    Resource,
    Unreachable,
    resource_of_crd,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError

from .conftest import Answer, Scripted

CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
WIDGETS = Resource("x.io/v1", "Widget", "widgets", False)
OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}


def status(code: int, reason: str, message: str, **details: Any) -> Dict[str, Any]:
    """A Status object as the API server sends it."""
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message, "details": details}


@pytest.fixture(name="pauses")
def _pauses(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """The pauses between attempts, noted and not slept: what counts is how long they are."""
    noted: List[float] = []
    monkeypatch.setattr(api_module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=noted.append))
    return noted


def test_too_many_requests_is_obeyed_to_the_second(scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """Who comes back earlier than Retry-After says is turned away again, and makes it worse for all."""
    busy = answer(429, status(429, "TooManyRequests", "later"), {"Retry-After": "7"})
    scripted.answers(busy, {"gitVersion": "v1.34.1"})
    assert api.version() == "1.34.1"
    assert pauses == [7.0]
    assert api.traffic.retries == 1


def test_a_pause_longer_than_the_patience_is_an_error_at_once(scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """The version is asked for with 10 s of patience: a server that wants 30 s is told to the user."""
    scripted.answers(answer(429, status(429, "TooManyRequests", "come back later"), {"Retry-After": "30"}))
    with pytest.raises(ApiError, match="come back later"):
        api.version()
    assert pauses == []


@pytest.mark.parametrize("code", [429, 503, 504])
def test_not_now_is_asked_again(code: int, scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """A server that restarts or is busy says so with these; without Retry-After the pauses are short at first."""
    scripted.answers(answer(code, status(code, "", "not now")), OBJECT)
    assert api.get(CONFIG, "n", "c") == OBJECT
    assert len(pauses) == 1 and 0.1 <= pauses[0] <= 0.4


def test_a_lost_connection_is_asked_again(scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """Whether the write was carried out is not known; server-side apply may be sent twice."""
    scripted.answers(answer(0, cut=True), answer(200, OBJECT, cut=True), OBJECT)
    assert api.apply(CONFIG, OBJECT) == OBJECT
    assert [asked.method for asked in scripted.asked] == ["PATCH", "PATCH"]
    assert api.traffic.writes == 2 and api.traffic.rejected == []
    assert len(pauses) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 409, 413, 415, 422, 500])
def test_a_refusal_is_never_asked_again(code: int, scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """Nothing is retried in the hope that it may work."""
    scripted.answers(answer(code, status(code, "Some", "no: %d" % code)))
    with pytest.raises(ApiError) as caught:
        api.apply(CONFIG, OBJECT)
    assert (caught.value.status, caught.value.message) == (code, "no: %d" % code)
    assert "ConfigMap n/c: no: %d" % code in str(caught.value)
    assert len(scripted.asked) == 1 and pauses == []
    assert len(api.traffic.rejected) == 1


@pytest.mark.parametrize(
    "message",
    [
        'failed calling webhook "v.x.io": failed to call webhook: connection refused',
        'conversion webhook for x.io/v1, Kind=Widget failed: Post "https://x": connection refused',
    ],
)
def test_a_webhook_that_is_down_is_not_waited_for_blindly(message: str, scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """The gate waits for the webhook and says so; the request itself is not repeated."""
    scripted.answers(answer(500, status(500, "InternalError", message), {"Retry-After": "1"}))
    with pytest.raises(ApiError) as caught:
        api.apply(CONFIG, OBJECT)
    assert caught.value.webhook_down and pauses == []


def test_an_etcd_that_elects_is_asked_again(scripted: Any, api: Api, answer: Any, pauses: List[float]) -> None:
    """etcd's leader change reaches us as a 500."""
    scripted.answers(answer(500, status(500, "", "etcdserver: leader changed")), OBJECT)
    assert api.get(CONFIG, "n", "c") == OBJECT


def test_a_refused_dry_run_is_no_rejected_write(scripted: Any, api: Api, answer: Any) -> None:
    """Probes are there to be refused; only what was meant counts."""
    scripted.answers(answer(422, status(422, "Invalid", "no")))
    with pytest.raises(ApiError):
        api.apply(CONFIG, OBJECT, dry=True)
    assert (api.traffic.dry_runs, api.traffic.writes, api.traffic.rejected) == (1, 0, [])
    assert scripted.asked[0].query["dryRun"] == "All"


def test_wrong_credentials_say_what_to_do(scripted: Any, api: Api, answer: Any) -> None:
    """401: nothing about the cluster is wrong."""
    scripted.answers(answer(401, status(401, "Unauthorized", "Unauthorized")))
    with pytest.raises(ApiError) as caught:
        api.version()
    assert "Unauthorized" in str(caught.value).splitlines()[0]
    assert "credentials of this kubeconfig are expired or wrong" in caught.value.next_step


def test_forbidden_names_verb_and_resource(scripted: Any, api: Api, answer: Any) -> None:
    """That is what the administrator of the cluster has to be asked for."""
    message = 'secrets "record" is forbidden: User "u" cannot get resource "secrets" in API group "" in the namespace "n"'
    scripted.answers(answer(403, status(403, "Forbidden", message)))
    with pytest.raises(ApiError) as caught:
        api.get(CONFIG, "n", "c")
    assert 'cannot get resource "secrets"' in str(caught.value).splitlines()[0]
    assert "verb and resource" in caught.value.next_step


@pytest.mark.parametrize(("body", "shown"), [("404 page not found\n", "404 page not found"), ("", "HTTP 404"), ("[1]", "[1]")])
def test_an_answer_that_is_no_status_is_shown_as_it_is(body: str, shown: str, scripted: Any, api: Api, answer: Any) -> None:
    """The aggregator and proxies answer in plain text."""
    scripted.answers(answer(404, body))
    with pytest.raises(ApiError) as caught:
        api.replace(CONFIG, OBJECT)
    assert (caught.value.message, caught.value.not_found) == (shown, True)


def test_a_success_that_is_no_json_is_an_error_with_its_place(scripted: Any, api: Api, answer: Any) -> None:
    """A login page of a proxy answers 200; a person has to see the address, not a Python traceback."""
    scripted.answers(answer(200, "<html>please log in</html>"))
    with pytest.raises(EngineError) as caught:
        api.version()
    assert scripted.url in str(caught.value) and "please log in" in str(caught.value)


def test_nobody_listens(tmp_path: Path, scripted: Any, pauses: List[float], api: Api) -> None:
    """The address that was tried, the reason, the next step; tried again only for as long as the patience lasts."""
    api.server = "http://127.0.0.1:1"
    with pytest.raises(Unreachable) as caught:
        api.send("GET", "/version", patience=0.0)
    assert "no answer from http://127.0.0.1:1" in str(caught.value) and "Connection refused" in str(caught.value)
    assert "address" in caught.value.next_step


def test_a_guard_stops_writes_and_no_reads(scripted: Any, api: Api) -> None:
    """A run whose parent was killed may look, but not write; nothing is sent."""

    def stop() -> None:
        raise EngineError("the process that started this run is gone")

    scripted.answers(OBJECT)
    api.guard = stop
    for write in (api.apply, api.create, api.replace):
        with pytest.raises(EngineError, match="is gone"):
            write(CONFIG, OBJECT)
    assert scripted.asked == []
    assert api.get(CONFIG, "n", "c") == OBJECT
    api.apply(CONFIG, OBJECT, dry=True)


def page(names: List[str], version: str, token: str = "") -> Dict[str, Any]:
    """One page of a LIST."""
    return {
        "metadata": {"resourceVersion": version, "continue": token},
        "items": [{"metadata": {"name": name, "namespace": "n"}} for name in names],
    }


def test_a_list_is_read_to_its_last_page(scripted: Any, api: Api) -> None:
    """Items of a LIST carry neither apiVersion nor kind; who reads them needs both."""
    scripted.answers(page(["a"], "5", "t1"), page(["b"], "5"))
    items, version = api.list(CONFIG, selector="x")
    assert [(item["metadata"]["name"], item["kind"], item["apiVersion"]) for item in items] == [
        ("a", "ConfigMap", "v1"),
        ("b", "ConfigMap", "v1"),
    ]
    assert version == "5"
    assert [asked.query.get("continue") for asked in scripted.asked] == [None, "t1"]
    assert all(asked.query["labelSelector"] == "x" for asked in scripted.asked)


def test_a_list_whose_pages_expired_starts_anew(scripted: Any, api: Api, answer: Any) -> None:
    """410 in the middle: the snapshot was compacted away. Nothing of it may be kept, nothing doubled."""
    gone = answer(410, status(410, "Expired", "The provided continue parameter is too old"))
    scripted.answers(page(["a", "gone-since"], "5", "t1"), gone, page(["a"], "9", "t2"), page(["b"], "9"))
    items, version = api.list(CONFIG)
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert version == "9"


def test_a_kind_that_is_not_served_has_no_objects(scripted: Any, api: Api, answer: Any) -> None:
    """Its CustomResourceDefinition is not written yet."""
    scripted.answers(answer(404, "404 page not found\n"))
    assert api.list(WIDGETS) == ([], "")
    assert api.get(WIDGETS, "", "w") is None


def test_what_is_sent_is_server_side_apply_that_does_not_force(scripted: Any, api: Api) -> None:
    """Never forced blindly; a misspelt field is refused, not dropped."""
    scripted.answers(OBJECT)
    api.apply(CONFIG, OBJECT)
    (asked,) = scripted.asked
    assert asked.query == {"fieldManager": "mlplatform.kubeflow", "fieldValidation": "Strict", "force": "false"}
    assert json.loads(asked.body) == OBJECT
    assert asked.path == "/api/v1/namespaces/n/configmaps/c"


def test_discovery_knows_kinds_and_leaves_out_subresources(scripted: Any, api: Api) -> None:
    """Two requests for everything; a resource that cannot be listed is no object that we could plan."""
    kinds = [
        {"resource": "widgets", "responseKind": {"kind": "Widget"}, "scope": "Cluster", "verbs": ["get", "list"]},
        {"resource": "reviews", "responseKind": {"kind": "Review"}, "scope": "Cluster", "verbs": ["create"]},
    ]
    core = {"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": []}]}]}
    groups = {"items": [{"metadata": {"name": "x.io"}, "versions": [{"version": "v1", "resources": kinds}]}]}
    scripted.answers(core, groups)
    found = api.discover()
    assert found.get("x.io/v1", "Widget") == WIDGETS
    assert found.get("x.io/v1", "Review") is None
    assert len(scripted.asked) == 2


def test_resources_of_a_definition_are_those_that_it_serves() -> None:
    """A version that is not served cannot be written to."""
    spec = {
        "group": "x.io",
        "scope": "Cluster",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [{"name": "v1", "served": True}, {"name": "v1beta1", "served": False}],
    }
    assert list(resource_of_crd({"spec": spec})) == [WIDGETS]
    assert Discovery([WIDGETS]).by_group_kind("x.io", "Widget") == (WIDGETS,)
    assert WIDGETS.path(name="a:b") == "/apis/x.io/v1/widgets/a%3Ab"


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    """Its path, and the variable that names it."""
    with pytest.raises(EngineError) as caught:
        Api.connect(str(tmp_path / "none"))
    assert str(tmp_path / "none") in str(caught.value) and "kubeflow_kubeconfig" in caught.value.next_step


def test_a_context_that_is_not_there(tmp_path: Path, api: Api) -> None:
    """The context that was asked for, the file that lacks it, and those that it has."""
    with pytest.raises(EngineError) as caught:
        Api.connect(str(tmp_path / "kubeconfig"), "production")
    assert "production" in str(caught.value) and str(tmp_path / "kubeconfig") in str(caught.value)
    assert "test" in caught.value.found and "kubeflow_context" in caught.value.next_step


def test_a_kubeconfig_that_is_not_yaml(tmp_path: Path) -> None:
    """A person reads which file, not a traceback."""
    path = tmp_path / "kubeconfig"
    path.write_text("{[", encoding="utf-8")
    with pytest.raises(EngineError) as caught:
        Api.connect(str(path))
    assert str(path) in str(caught.value)


def _page(names: str, token: str = "") -> Answer:
    return Answer(200, {"metadata": {"continue": token}, "items": [{"metadata": {"name": name}} for name in names]})


def test_pages_come_one_at_a_time(api: Api, scripted: Scripted) -> None:
    """The next page is asked for when the one before was taken."""
    scripted.answers(_page("ab", "1"), _page("c"))
    pages = api.pages(CONFIG, limit=2)
    assert [item["metadata"]["name"] for item in next(pages)] == ["a", "b"]
    assert len(scripted.asked) == 1
    rest = list(pages)
    assert [[item["metadata"]["name"] for item in page] for page in rest] == [["c"]] and rest[0][0]["kind"] == "ConfigMap"
    assert scripted.asked[1].query == {"limit": "2", "continue": "1"}


def test_pages_go_on_where_their_snapshot_expired(api: Api, scripted: Scripted) -> None:
    """With the token that the server's refusal carries; one without is an error."""
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "metadata": {"continue": "fresh"}}
    scripted.answers(_page("a", "1"), Answer(410, expired), _page("b"))
    assert [item["metadata"]["name"] for page in api.pages(CONFIG) for item in page] == ["a", "b"]
    assert scripted.asked[2].query["continue"] == "fresh"
    scripted.answers(_page("a", "1"), Answer(410, {**expired, "metadata": {}}))
    with pytest.raises(ApiError, match="too old"):
        list(api.pages(CONFIG))


def test_a_kind_that_is_not_served_has_no_pages(api: Api, scripted: Scripted) -> None:
    scripted.answers(Answer(404, {"kind": "Status", "code": 404, "message": "not found"}))
    assert list(api.pages(CONFIG)) == []
