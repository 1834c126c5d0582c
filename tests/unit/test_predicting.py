# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which definitions may be foreseen, and what the server's defaults are; that it agrees with the server is an integration test."""

from __future__ import annotations

from typing import Any, Dict, List

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import FIELD_MANAGER, KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.predicting import predicted

OURS = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {}}}
STATUS = {"manager": "kube-apiserver", "operation": "Update", "subresource": "status"}


def definition(*managers: Dict[str, Any], **spec: Any) -> KubeObject:
    """A definition; with managers it is a live one."""
    metadata: Dict[str, Any] = {"name": "robots.example.com", "labels": {"a": "new"}}
    if managers:
        metadata.update(managedFields=list(managers), uid="1", labels={"a": "old", "b": "gone"}, annotations={"c": "gone"})
    names = {"kind": "Robot", "plural": "robots"}
    return {"kind": "CustomResourceDefinition", "metadata": metadata, "spec": {"group": "example.com", "names": names, **spec}}


def test_the_defaults_of_the_server_are_filled_in() -> None:
    after = predicted(definition(OURS, STATUS), definition(preserveUnknownFields=False))
    assert after is not None
    assert after["spec"]["names"] == {"kind": "Robot", "plural": "robots", "singular": "robot", "listKind": "RobotList"}
    assert after["spec"]["conversion"] == {"strategy": "None"}
    assert "preserveUnknownFields" not in after["spec"]
    assert after["metadata"]["labels"] == {"a": "new"} and "annotations" not in after["metadata"] and after["metadata"]["uid"] == "1"


def test_what_is_set_stays_and_a_webhook_gets_its_port() -> None:
    service = {"name": "hook", "namespace": "x"}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1"]}}
    wanted = definition(conversion=conversion)
    after = predicted(definition(OURS), wanted)
    assert after is not None
    assert after["spec"]["conversion"]["webhook"]["clientConfig"]["service"] == {**service, "port": 443}
    assert "port" not in wanted["spec"]["conversion"]["webhook"]["clientConfig"]["service"], "what is sent stays as it is"


def test_only_the_server_can_tell_where_somebody_else_writes() -> None:
    others: List[Dict[str, Any]] = [
        {"manager": "kubectl-edit", "operation": "Update"},
        {"manager": "cainjector", "operation": "Apply", "subresource": ""},
    ]
    for other in others:
        assert predicted(definition(OURS, STATUS, other), definition()) is None
    assert predicted(definition(STATUS), definition()) is None, "we never wrote it"
