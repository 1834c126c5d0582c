# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An uninstall: which components it takes, what the record knows meanwhile, what is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.ledger import Ledger, is_installed
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.present_uninstall import plan_text, uninstall_json
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import Entry
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstall_plan import UninstallPlan, read_choice
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstalling import (
    Orders,
    Platform,
    UninstallOutcome,
    choose_components,
)

from .uninstall_support import SPACE, decide, ours, record_of, thing

SCHEMA = Path(__file__).resolve().parents[2] / "plugins" / "plugin_utils" / "schemas" / "uninstall.json"

# ------------------------------------------------------------------ what is asked for


def test_a_word_that_is_no_class_and_no_name_is_refused() -> None:
    """A misspelt class would keep what was meant to go, or let nothing be said at all."""
    with pytest.raises(EngineError) as caught:
        read_choice(["volume"])
    assert "did you mean 'volumes'" in str(caught.value)
    assert read_choice(["volumes", "Secret a/b"]).names == {"Secret a/b"}


def test_names_that_nothing_answers_to_are_told() -> None:
    """It is no error: the same command is run again after a run that was killed."""
    assert decide(record_of(("c", [SPACE])), SPACE, data=["Secret kubeflow/gone"]).unmatched == ("Secret kubeflow/gone",)


def installed(*names: str) -> Platform:
    """A cluster with these components of 26.03."""
    return Platform(record_of(*((name, [ours("ConfigMap", name)]) for name in names)), Catalogue.load())


def test_a_component_that_others_need_is_refused_with_their_names() -> None:
    """Needs come from the data of the recorded release, directly or through others."""
    platform = installed("common", "cert_manager", "istio", "katib", "profiles", "demo_tenant")
    with pytest.raises(EngineError) as caught:
        choose_components(platform, Orders(components=("istio",)), Catalogue.load())
    assert "katib" in caught.value.found and "profiles" in caught.value.found and "demo_tenant" in caught.value.found
    assert "cert_manager" not in caught.value.found
    with pytest.raises(EngineError, match="others need"):
        choose_components(platform, Orders(spared=("katib",)), Catalogue.load())
    assert choose_components(platform, Orders(components=("katib", "spark")), Catalogue.load()) == ("katib",)
    with pytest.raises(EngineError, match="unknown component 'katibb'"):
        choose_components(platform, Orders(components=("katibb",)), Catalogue.load())


def test_everything_goes_in_the_order_of_needs() -> None:
    """Each after what it needs, whatever the record's order."""
    order = choose_components(installed("katib", "istio", "cert_manager", "common"), Orders(), Catalogue.load())
    assert set(order) == {"katib", "istio", "cert_manager", "common"}
    assert order.index("common") < order.index("istio") < order.index("katib") > order.index("cert_manager")


def test_what_is_only_kept_needs_nothing() -> None:
    """A component of which an earlier uninstall kept the volume is not installed: it stops nobody."""
    claim, config = ours("PersistentVolumeClaim"), ours("ConfigMap")
    record = record_of(("common", [config]), ("katib", [claim]), kept=[claim])
    assert [is_installed(record.components[name]) for name in ("common", "katib")] == [True, False]
    assert choose_components(Platform(record, Catalogue.load()), Orders(components=("common",)), Catalogue.load()) == ("common",)


# ------------------------------------------------------------------ the record meanwhile


def test_the_record_forgets_what_is_gone_and_remembers_what_is_kept(api: Api, scripted: Any, answer: Any) -> None:
    """A component goes with its last object; what is kept is known by its uid and not wanted any more."""
    saved: List[Dict[str, Any]] = []

    def reply(asked: Any) -> Any:
        saved.append(json.loads(asked.body))
        return answer(200, {"metadata": {"resourceVersion": str(len(saved) + 1)}})

    scripted.answer = reply
    work, claim, made = ours("Deployment"), ours("PersistentVolumeClaim"), thing("Secret", "made")
    ledger = Ledger(api, record_of(("gone", [ours("ConfigMap")]), ("c", [work, claim])))
    ledger.forget("gone", [ours("ConfigMap").ref])
    ledger.forget("c", [work.ref, ours("Service").ref])
    ledger.forget("unknown", [work.ref])
    ledger.disown("c", {claim.ref: ("v1", claim.uid), made.ref: ("v1", made.uid)})
    ledger.close()
    ledger.close()
    assert len(saved) == 1 and set(saved[0]["data"]) == {"hash-key", "component.c"}
    component = ledger.record.components["c"]
    assert component.entries == {claim.ref: Entry("v1", claim.uid, "", "live"), made.ref: Entry("v1", made.uid, "", "")}
    assert not component.complete and not is_installed(component)


# ------------------------------------------------------------------ what is shown


def _outcome(plan: UninstallPlan) -> UninstallOutcome:
    return UninstallOutcome(Request(cluster="factory-1"), Orders(), "1.34.0", ("26.03",), plan, plan.kept)


def test_the_text_puts_data_first_and_says_why_something_stays() -> None:
    """A person reads it in a minute: 80 columns, data on top, full names for what a variable has to repeat."""
    claim, work, users = ours("PersistentVolumeClaim", "db"), ours("Deployment"), thing("Secret", "users")
    record = record_of(("c", [claim, work, SPACE]))
    text = plan_text(_outcome(decide(record, claim, work, SPACE, users, data=["volumes"])))
    lines = text.splitlines()
    assert lines[0] == "Kubeflow 26.03, uninstall of 1 component: 2 objects go, 1 stay"
    assert lines[1].startswith("! c") and "PersistentVolumeClaim kubeflow/db" in text
    assert "it holds Secret kubeflow/users" in text.replace("\n      ", " ")
    assert [line for line in lines if line.startswith("- c")] and max(map(len, lines)) <= 80
    assert plan_text(_outcome(UninstallPlan())) == "Kubeflow 26.03: nothing to uninstall"


def test_the_document_is_as_its_schema_says() -> None:
    """Every object with its reason."""
    claim, work = ours("PersistentVolumeClaim"), ours("Deployment")
    outcome = replace(_outcome(decide(record_of(("c", [claim, work])), claim, work)), removed=(work.ref,))
    head = {"schema": 1, "run": "r", "cluster": "factory-1", "check": False, "state": "ok"}
    times = {"started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:00:01Z"}
    document = json.loads(json.dumps({**head, **times, **uninstall_json(outcome)}))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)
    assert {one["object"]: (one["action"], one["deleted"]) for one in document["objects"]} == {
        "Deployment.apps kubeflow/x": ("delete", True),
        "PersistentVolumeClaim kubeflow/x": ("keep", False),
    }
    assert document["changed"] is True
