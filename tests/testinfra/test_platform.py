# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform looks like from outside, without our engine: by Kubernetes' own client and by files."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

import pytest
from kubernetes import client, config
from testinfra.host import Host

testinfra_hosts = ["local://"]

OUR_NAMESPACE = "mlplatform-kubeflow"


@pytest.fixture(scope="module")
def core() -> client.CoreV1Api:
    """The core API of the cluster that KUBECONFIG names."""
    return client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))


def results(host: Host, name: str) -> Dict[str, Any]:
    """A result file of the last run."""
    found: Dict[str, Any] = json.loads(host.file("%s/%s.json" % (os.environ["RESULTS"], name)).content_string)
    return found


def not_ready(pods: List[client.V1Pod]) -> List[str]:
    """Pods whose condition Ready is not True."""
    return [
        "%s/%s" % (pod.metadata.namespace, pod.metadata.name)
        for pod in pods
        if not any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or [])
    ]


def test_every_pod_is_ready(core: client.CoreV1Api) -> None:
    """Healthy means that what should run does; an empty cluster must not count as healthy."""
    pods = core.list_pod_for_all_namespaces().items
    assert len(pods) > 40
    assert not_ready(pods) == []


def test_every_component_left_a_record(host: Host, core: client.CoreV1Api) -> None:
    """The next run and the next engineer find out from the cluster itself what was applied."""
    record = core.read_namespaced_secret("record", OUR_NAMESPACE)
    kept = {key.partition(".")[2] for key in record.data if "." in key}
    assert set(results(host, "status")["components"]) <= kept


def test_status_says_healthy(host: Host) -> None:
    """The file that monitoring reads agrees with what the pods say."""
    status = results(host, "status")
    assert status["state"] == "ok"
    assert status["healthy"] is True
    assert len(status["components"]) > 10


def test_result_files_are_whole_and_private(host: Host) -> None:
    """Nothing half-written stays behind, and nobody else can read a site's state."""
    files = host.run("find %s -type f", os.environ["RESULTS"]).stdout.split()
    assert files
    assert [name for name in files if not name.endswith((".json", ".html"))] == []
    assert [name for name in files if host.file(name).mode & 0o022] == []
