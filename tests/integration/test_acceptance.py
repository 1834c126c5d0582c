# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance cases that are about the whole of a run, each with a test of its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Dict, List, Set

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import resource_of_crd
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Lines
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Session
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.stages import FAIL

from .conftest import Sandboxes
from .platform_fixtures import Installed
from .support import RELEASES, Audit, Call, plan, request_for

Install = Callable[[str], Installed]
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
HOOK_PATH = "/apis/admissionregistration.k8s.io/v1/"


@pytest.mark.parametrize("release", RELEASES)
def test_ac_01_no_custom_resource_comes_before_its_definition(release: str, built: Install) -> None:
    """From the audit log of an install: a definition is answered before the first object of its kind is sent, none is refused."""
    done = built(release)
    assert done.outcome.render is not None
    writes: List[Call] = [call for call in done.calls if call.writes]
    assert [str(call) for call in writes if call.code >= 400] == []
    arrived = {call.path: call.at for call in writes}
    checked: Set[str] = set()
    for item in done.outcome.render.objects.values():
        if item.obj["kind"] != "CustomResourceDefinition":
            continue
        for resource in resource_of_crd(item.obj):
            for ref in done.outcome.render.objects:
                if (ref.group, ref.kind) == (resource.group, resource.kind):
                    path = resource.path(ref.namespace, ref.name)
                    if path in arrived:
                        assert arrived[CRD_PATH + item.obj["metadata"]["name"]] < arrived[path], str(ref)
                        checked.add(resource.kind)
    assert len(checked) > 5


@pytest.mark.parametrize("release", RELEASES)
def test_ac_01_a_webhook_configuration_comes_after_what_serves_it(release: str, built: Install) -> None:
    """On first install: else the API server would refuse what the webhook is asked about."""
    done = built(release)
    assert done.outcome.render is not None
    arrived = {call.path: call.at for call in done.calls if call.writes}
    backs: Dict[str, List[str]] = {}
    for ref, item in done.outcome.render.objects.items():
        if ref.kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            names = {hook["clientConfig"]["service"]["name"] for hook in item.obj.get("webhooks") or []}
            backs["%s%ss/%s" % (HOOK_PATH, ref.kind.lower(), ref.name)] = sorted(names)
    selected = 0
    for path, services in backs.items():
        for ref in done.outcome.render.objects:
            if ref.kind == "Service" and ref.name in services:
                assert arrived["/api/v1/namespaces/%s/services/%s" % (ref.namespace, ref.name)] < arrived[path]
                selected += 1
    assert selected >= len(backs) > 5


def test_ac_13_another_kustomize_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """It would render other objects: the version that the release wants is named, and nothing is written."""
    other = tmp_path / "kustomize"
    other.write_text("#!/bin/sh\necho v5.8.1\n", encoding="utf-8")
    other.chmod(0o755)
    audit = Audit(sandbox)
    with pytest.raises(EngineError) as refused:
        plan(sandbox, kustomize=str(other))
    wanted = Catalogue.load().release("26.03").kustomize_version
    assert wanted in str(refused.value) and "5.8.1" in str(refused.value)
    assert audit.writes() == []


def test_ac_14_mixed_versions_inside_a_component_are_reported(sandbox: Sandbox) -> None:
    """26.03 injects sidecars that are newer than the control plane; other releases do not."""
    found = {one.name: one for one in plan(sandbox, "26.03").lints}
    text = found["mixed-versions:istio"].text
    assert "1.28.0" in text and "pilot" in text and "1.29.0" in text and "istio-sidecar-injector" in text
    assert "mixed-versions:istio" not in {one.name for one in plan(sandbox, "v1.10.2").lints}
    with pytest.raises(EngineError, match="release lint"):
        plan(sandbox, "26.03", lint="refuse")
    plan(sandbox, "26.03", lint="refuse", lint_accept=("mixed-versions:istio",))
    assert plan(sandbox, "26.03", lint="off").lints == ()


def test_ac_35_waiting_says_for_what_since_when_and_the_last_event(sandboxes: Sandboxes) -> None:
    """A pod that cannot start is named with its container and what was last said about it."""
    sandbox = sandboxes.make("waiting")
    template = {"metadata": {"annotations": {FAIL: "ImagePullBackOff: no such image"}}}
    name = {"name": "admission-webhook-deployment"}
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": name, "spec": {"template": template}}
    told: List[str] = []
    request = request_for(
        sandbox,
        components=("common", "cert_manager", "admission_webhook"),
        declarations={"admission_webhook": {"patches": [patch]}},
        timeout=15.0,
    )
    outcome = Session(request, Lines(told.append, sandbox.name)).converge()
    assert not outcome.healthy
    waited = [line for line in told if "waiting since" in line and "no such image" in line]
    assert waited, "\n".join(told)
    assert re.search(r"waiting since \d\d:\d\d:\d\d: Service kubeflow/admission-webhook-service has no ready endpoint", waited[-1])
    assert "Deployment.apps kubeflow/admission-webhook-deployment" in waited[-1] and "container admission-webhook" in waited[-1]
    sandboxes.remove(sandbox.name)
