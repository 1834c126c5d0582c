# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is rendered, let alone written, and how it reads."""

from __future__ import annotations

import base64
import gzip
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.redaction import Redactor, scrubbed
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import (
    Request,
    Session,
    check_kubernetes,
    check_needs,
    check_release,
    choose,
    refusal,
)

TRUNCATED = base64.b64encode(gzip.compress(b"{}" * 99)[:-9]).decode()
CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
RELEASE = Catalogue.load().release("26.03")


class Noted:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def say(self, where: str, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    waiting = say


def refused(function: Any, *arguments: Any) -> EngineError:
    """The error that a call has to end with."""
    with pytest.raises(EngineError) as caught:
        function(*arguments)
    return caught.value


# ------------------------------------------------------------------ choosing


def test_the_newest_release_is_chosen_if_none_is_named() -> None:
    """All of the desired set is in scope unless a part is named; dependencies come first."""
    chosen = choose(Request("c"))
    assert chosen.release.name == Catalogue.load().newest
    assert chosen.scope == chosen.desired
    names = [item.name for item in chosen.desired]
    assert names.index("common") < names.index("istio") < names.index("serving")
    assert "demo_tenant" not in names


def test_an_unknown_release_lists_the_known_ones() -> None:
    """A person mistypes a version more often than he needs one that we lack."""
    error = refused(choose, Request("c", version="26.30"))
    assert "26.30" in str(error)
    for name in Catalogue.load().names:
        assert name in str(error)


@pytest.mark.parametrize(
    "request_",
    [
        Request("c", components=("common", "katip")),
        Request("c", scope=("katip",)),
    ],
)
def test_an_unknown_component_names_the_nearest(request_: Request) -> None:
    """In the desired set and in the scope alike."""
    error = refused(choose, request_)
    assert "katip" in str(error) and "katib" in str(error).replace("katip", "")


def test_a_scope_outside_of_the_desired_set_is_refused() -> None:
    """Otherwise --tags would install what the inventory does not want."""
    error = refused(choose, Request("c", components=("common",), scope=("katib",)))
    assert "katib" in error.subject and "kubeflow_components" in error.next_step


def test_a_scope_keeps_the_order_of_dependencies() -> None:
    """Not the order in which tags were given."""
    chosen = choose(Request("c", scope=("katib", "common")))
    assert [item.name for item in chosen.scope] == ["common", "katib"]


# ------------------------------------------------------------------ the cluster's version


@pytest.mark.parametrize("version", ["1.20.0", "1.9.11", "0.99.0"])
def test_a_kubernetes_that_is_too_old_is_refused(version: str) -> None:
    """1.9 is older than 1.30: versions are numbers."""
    error = refused(check_kubernetes, RELEASE, version, Noted())
    assert version in error.found and RELEASE.kubernetes_minimum in error.expected
    assert "upgrade the cluster" in error.next_step


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ("%s.3" % RELEASE.kubernetes_tested[-1], False),
        ("%s.3+k3s1" % RELEASE.kubernetes_tested[0], False),
        ("1.99+.0", True),
    ],
)
def test_a_kubernetes_that_was_not_tested_is_only_warned_about(version: str, warned: bool) -> None:
    """Distributions add to the version; EKS writes a plus after the minor one."""
    progress = Noted()
    check_kubernetes(RELEASE, version, progress)
    assert bool(progress.lines) is warned
    assert all("warning" in line and version in line for line in progress.lines)


# ------------------------------------------------------------------ the record


def record(version: str, *names: str, catalogue: str = "kubeflow") -> Record:
    """A cluster in which these components were installed from this release."""
    return Record({name: ComponentRecord(catalogue, version, True, {}) for name in names}, b"k", "1")


def test_another_release_in_the_record_is_refused_and_named() -> None:
    """site never upgrades by accident."""
    error = refused(check_release, choose(Request("c")), record("v1.10.2", "common", "katib"))
    assert "v1.10.2" in error.found and error.expected == "26.03"
    assert "kubeflow_version" in error.next_step and "upgrade" in error.next_step


def test_another_catalogue_in_the_record_is_no_other_release() -> None:
    """An add-on has versions of its own."""
    check_release(choose(Request("c")), record("0.1", "common", catalogue="addon"))


def test_a_scope_whose_needs_were_never_installed_is_refused() -> None:
    """Named: what is missing, and the three ways on."""
    chosen = choose(Request("c", scope=("katib",)))
    error = refused(check_needs, chosen, record("26.03", "common", "cert_manager"))
    assert "istio" in error.cause and error.component == "katib"
    assert "--tags" in error.next_step and "kubeflow_add_dependencies" in error.next_step
    check_needs(chosen, record("26.03", "common", "cert_manager", "istio"))


# ------------------------------------------------------------------ plans that a person has to decide on


def item(name: str, verdict: Verdict, reason: str = "because") -> Item:
    """One line of a plan."""
    return Item(ObjectRef("", "ConfigMap", "n", name), Wanted("katib", {}, CONFIG), verdict, reason)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.ADOPT_REFUSED, "kubeflow_adopt"),
        (Verdict.CONFLICT, "kubeflow_conflicts"),
        (Verdict.REFUSED, "look at"),
    ],
)
def test_a_refusal_names_the_first_object_and_the_rest(verdict: Verdict, words: str) -> None:
    """First cause first; many are counted, not listed; that nothing was written is said."""
    error = refusal(Plan(tuple(item("o%d" % number, verdict, "why %d" % number) for number in range(9))))
    assert str(error).splitlines()[0] == "katib: ConfigMap n/o0: why 0"
    assert "ConfigMap n/o5: why 5" in error.found and "o6" not in error.found and "and 3 more" in error.found
    assert words in error.next_step and "nothing was written" in error.next_step


def test_an_error_is_shown_without_secrets() -> None:
    """In every part of it."""
    redactor = Redactor()
    redactor.learn({"kind": "Secret", "stringData": {"a": "hunter2"}})
    error = EngineError("a hunter2", subject="b hunter2", expected="c hunter2", found="d hunter2", next_step="e hunter2")
    assert "hunter2" not in str(scrubbed(error, redactor))


# ------------------------------------------------------------------ nothing is sent for what can be known before


@pytest.mark.parametrize(
    "told",
    [
        {"version": "none"},
        {"components": ("katip",)},
        {"declarations": {"katib": {"patches": ["a: [b"]}}},
        {"declarations": {"katib": {"patches": "text"}}},
        {"declarations": {"katib": {"replicas": {"x": -1}}}},
    ],
)
def test_what_is_wrong_with_the_variables_is_said_before_the_first_request(told: Dict[str, Any], scripted: Any, api: Api) -> None:
    """An unreachable cluster must not hide a typing error."""
    refused(Session(Request("c", kubeconfig="/nonexistent/kubeconfig", **told), Noted()).plan)
    assert scripted.asked == []


def test_a_patch_that_is_not_yaml_names_variable_and_index() -> None:
    """And the line, but not the text, which may be secret."""
    patches = [{"kind": "Secret", "metadata": {"name": "x"}}, "kind: Secret\nstringData: {password: hunter2"]
    error = refused(Session(Request("c", declarations={"katib": {"patches": patches}}), Noted()).plan)
    assert "katib_patches[1]" in error.subject and "not YAML in line" in error.cause
    assert "hunter2" not in str(error)


def answers(scripted: Any, answer: Any, version: str, secret: Optional[Dict[str, Any]] = None) -> None:
    """A cluster of this version, with this record."""

    def reply(asked: Any) -> Any:
        if asked.path == "/version":
            return answer(200, {"gitVersion": "v" + version})
        return answer(200, secret) if secret else answer(404, {"message": "not found"})

    scripted.answer = reply


@pytest.mark.parametrize(
    ("version", "secret", "words"),
    [
        ("1.20.0", None, ("too old", "1.20.0")),
        ("1.34.0", {"metadata": {"resourceVersion": "1"}, "data": {"hash-key": ""}}, ("record cannot be read", "kubeflow_adopt")),
        ("1.34.0", {"metadata": {"resourceVersion": "1"}, "data": {}}, ("record cannot be read", "mlplatform-kubeflow/record")),
        (
            "1.34.0",
            {"metadata": {"resourceVersion": "1"}, "data": {"hash-key": "eA==", "component.katib": "eA=="}},
            ("record cannot be read", "backup"),
        ),
        (
            "1.34.0",
            {"metadata": {"resourceVersion": "1"}, "data": {"hash-key": "eA==", "component.katib": TRUNCATED}},
            ("record cannot be read", "backup"),
        ),
    ],
)
def test_what_is_wrong_with_the_cluster_is_said_before_anything_is_rendered(
    version: str, secret: Any, words: Tuple[str, ...], scripted: Any, answer: Any, api: Api, tmp_path: Any
) -> None:
    """The mirror does not exist: had it been asked, that would be the error."""
    answers(scripted, answer, version, secret)
    request = Request("c", kubeconfig=str(tmp_path / "kubeconfig"), mirror="/nonexistent", cache_dir=str(tmp_path / "cache"))
    error = refused(Session(request, Noted()).converge)
    for word in words:
        assert word in str(error)
    assert {asked.method for asked in scripted.asked} == {"GET"}
    assert not (tmp_path / "cache").exists()
