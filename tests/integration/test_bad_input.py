# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets a clear error: first cause first, the full name, the next step, a non-zero exit, and nothing written."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import pytest
import yaml

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Unreachable
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, shipped_releases
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.stages import FAIL

from .conftest import Sandboxes, client_of, wait_until
from .support import MIRROR, Audit, converge, healthy, inventory, kill_tree, plan, playbook

SPARK: Dict[str, Any] = {"components": ("common", "spark"), "scope": ("spark",)}
ARCHIVE = "github.com/kubeflow/manifests/archive/refs/tags/26.03.tar.gz"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ACCOUNTS = "/api/v1/namespaces/kubeflow/serviceaccounts"


@pytest.fixture(name="site", scope="module")
def _site(sandboxes: Sandboxes) -> Sandbox:
    """A cluster in which one component is installed, so that it has a record."""
    site = sandboxes.make("bad-input")
    healthy(converge(site, components=("common",)))
    return site


@pytest.fixture(name="untouched")
def _untouched(site: Sandbox) -> Iterator[None]:
    """Nothing is written while the test runs: the API server's own log says so."""
    audit = Audit(site)
    yield
    assert [str(call) for call in audit.writes()] == []


# ------------------------------------------------------------------ refused through ansible-playbook, many clusters in one run


@dataclass(frozen=True)
class Case:
    """A host of the inventory with something wrong, and what its error has to say, the first line and all of it."""

    variables: Dict[str, Any]
    first: Tuple[str, ...]
    all: Tuple[str, ...]


def doctored(folder: Path) -> Path:
    """Release data that asks for a Kubernetes that does not exist yet."""
    document = yaml.safe_load((shipped_releases() / "26.03.yml").read_text(encoding="utf-8"))
    document["release"] = "99.01"
    document["kubernetes"] = {"minimum": "1.99", "tested": ["1.99"]}
    folder.mkdir()
    (folder / "99.01.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


def other_kubeconfig(site: Sandbox, path: Path, token: str = "", server: str = "") -> Path:
    """The sandbox's kubeconfig with another credential or address."""
    document = yaml.safe_load(site.kubeconfig.read_text(encoding="utf-8"))
    if token:
        document["users"][0]["user"] = {"token": token}
    if server:
        document["clusters"][0]["cluster"]["server"] = server
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def powerless(site: Sandbox) -> str:
    """The token of a ServiceAccount that may do nothing."""
    client = client_of(site)
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    client.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "none"}})
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = client.request("POST", accounts + "/none/token", wanted)
    return str(answer["status"]["token"])


def broken_mirror(folder: Path) -> Path:
    """A mirror whose archive ends in the middle."""
    target = folder / ARCHIVE
    target.parent.mkdir(parents=True)
    with (Path(MIRROR) / ARCHIVE).open("rb") as whole:
        target.write_bytes(whole.read(200_000))
    return folder


def script(path: Path, text: str) -> Path:
    """A program."""
    path.write_text("#!/bin/sh\n%s\n" % text, encoding="utf-8")
    path.chmod(0o755)
    return path


def patches(*items: Any) -> Dict[str, Any]:
    """Patches of the component that every case has."""
    return {"common_patches": list(items)}


def cases(site: Sandbox, folder: Path) -> Dict[str, Case]:
    """Every cluster of the run, by name."""
    other = script(folder / "kustomize", "echo v5.8.1")
    wrong = {"kubeflow_kubeconfig": str(other_kubeconfig(site, folder / "expired", token="expired-long-ago"))}
    forbidden = {"kubeflow_kubeconfig": str(other_kubeconfig(site, folder / "forbidden", token=powerless(site)))}
    nowhere = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nowhere"}}
    return {
        "release": Case({"kubeflow_version": "26.30"}, ("26.30",), Catalogue.load().names),
        "component": Case({"kubeflow_components": ["common", "katip"]}, ("katip",), ("katib",)),
        "dependency": Case({"kubeflow_components": ["katib"]}, ("katib",), ("istio", "kubeflow_add_dependencies")),
        "too-old": Case(
            {"kubeflow_version": "99.01", "kubeflow_release_dirs": [str(doctored(folder / "data"))]},
            ("too old", "99.01"),
            ("Expected: Kubernetes 1.99", "Found: 1.34", "upgrade the cluster"),
        ),
        "kustomize-wrong": Case(
            {"kubeflow_kustomize": str(other)},
            (str(other), "wrong version"),
            ("5.8.1", "kubeflow_kustomize: auto"),
        ),
        "kustomize-missing": Case(
            {"kubeflow_kustomize": str(folder / "none")},
            (str(folder / "none"), "cannot be found"),
            ("kubeflow_kustomize",),
        ),
        "context": Case(
            {"kubeflow_context": "production"},
            (str(site.kubeconfig),),
            ("context production", "kubeflow_context"),
        ),
        "credentials": Case(wrong, ("API server", "Unauthorized"), ("expired or wrong",)),
        "rights": Case(
            forbidden,
            ('cannot get resource "secrets"', "mlplatform-kubeflow"),
            ("administrator", "verb and resource"),
        ),
        "mirror": Case(
            {"kubeflow_mirror": str(folder / "empty"), "kubeflow_cache_dir": str(folder / "cache1")},
            (str(folder / "empty" / ARCHIVE), "does not have it"),
            ("kubeflow_mirror",),
        ),
        "archive": Case(
            {"kubeflow_mirror": str(broken_mirror(folder / "broken")), "kubeflow_cache_dir": str(folder / "cache2")},
            (ARCHIVE,),
            ("Next:",),
        ),
        "patch-nowhere": Case(
            patches(nowhere),
            ("common", "common_patches[0]", "matches nothing"),
            ("Namespace nowhere", "there are: ", "kubeflow"),
        ),
        "patch-no-yaml": Case(
            patches(nowhere, "kind: Secret\nstringData: {a: hunter2"),
            ("common_patches[1]", "not YAML in line"),
            (),
        ),
        "results": Case({"kubeflow_results_dir": "/dev/null/results"}, ("/dev/null/results", "cannot write"), ("kubeflow_results_dir",)),
    }


@pytest.fixture(name="refused", scope="module")
def _refused(site: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[Dict[str, Case], Dict[str, str]]]:
    """One run of the playbook site over all of them: the cases, and the error of each host."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    told = cases(site, folder)
    where = inventory(folder / "inventory", [site], kubeflow_components=["common"], kubeflow_version="26.03")
    document = json.loads(where.read_text(encoding="utf-8"))
    group = document["all"]["children"]["kubeflow_clusters"]
    base = group["hosts"][site.name]
    group["hosts"] = {name: {**base, **case.variables} for name, case in told.items()}
    where.write_text(json.dumps(document), encoding="utf-8")
    audit = Audit(site)
    code, output = ended("site", where, "--forks", "4")
    assert code != 0
    assert [str(call) for call in audit.writes()] == [], "something was written"
    yield told, errors_of(output)
    shutil.rmtree(folder)


def ended(name: str, where: Path, *arguments: str) -> Tuple[int, str]:
    """The exit status of a playbook and what it printed."""
    process = playbook(name, where, *arguments)
    try:
        output = process.communicate(timeout=300)[0]
    finally:
        kill_tree(process.pid)
    return process.returncode, output


def errors_of(output: str) -> Dict[str, str]:
    """The error of each host, as Ansible prints it."""
    found: Dict[str, str] = {}
    for match in re.finditer(r"^(?:fatal|failed): \[([^\]]+)\].*? => (\{.*\})$", output, re.MULTILINE):
        found[match.group(1)] = str(json.loads(match.group(2)).get("msg"))
    return found


NAMES = (
    "release",
    "component",
    "dependency",
    "too-old",
    "kustomize-wrong",
    "kustomize-missing",
    "context",
    "credentials",
    "rights",
    "mirror",
    "archive",
    "patch-nowhere",
    "patch-no-yaml",
    "results",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_cluster_with_something_wrong_is_refused_and_told_what(name: str, refused: Any) -> None:
    """Each host its own error, in one run with the others; the API server saw no write of any of them."""
    told, errors = refused
    assert name in errors, "no error: %s" % sorted(errors)
    message = errors[name]
    lines = [line for line in message.splitlines() if line.strip()]
    for words in told[name].first:
        assert words in lines[0], message
    for words in told[name].all:
        assert words in message, message
    assert "Traceback" not in message and "hunter2" not in message


def test_every_case_was_tried(refused: Any) -> None:
    """A case without a test would be forgotten."""
    assert sorted(refused[0]) == sorted(NAMES)


@pytest.mark.parametrize("limit", [True, False])
def test_no_cluster_matched(limit: bool, site: Sandbox, tmp_path: Path) -> None:
    """A run that touches nothing must not look like one that found all well."""
    where = inventory(tmp_path, [site] if limit else [])
    code, output = ended("site", where, *(["--limit", "nonsense"] if limit else []))
    assert code != 0
    assert "nonsense" in output if limit else "No cluster matched" in output and "kubeflow_clusters" in output


# ------------------------------------------------------------------ refused by the engine


def refusal(site: Sandbox, release: str = "26.03", **settings: Any) -> EngineError:
    """The error that a run has to be refused with."""
    with pytest.raises(EngineError) as caught:
        converge(site, release, **settings)
    return caught.value


@pytest.mark.usefixtures("untouched")
def test_an_api_server_that_does_not_answer(site: Sandbox, tmp_path: Path) -> None:
    """Within 12 seconds, with the address that was tried."""
    began = time.monotonic()
    kubeconfig = other_kubeconfig(site, tmp_path / "kubeconfig", server="https://127.0.0.1:1")
    error = refusal(site, components=("common",), kubeconfig=str(kubeconfig))
    assert isinstance(error, Unreachable)
    assert "https://127.0.0.1:1" in str(error).splitlines()[0] and "refused" in str(error).splitlines()[0]
    assert "address" in error.next_step
    assert time.monotonic() - began < 12


@pytest.mark.usefixtures("untouched")
def test_another_release_in_the_record(site: Sandbox) -> None:
    """site never upgrades; both releases are named."""
    error = refusal(site, "v1.10.2", components=("common",))
    assert "another release" in str(error).splitlines()[0]
    assert "26.03" in error.found and "v1.10.2" in error.expected and "upgrade" in error.next_step


@contextlib.contextmanager
def there(site: Sandbox, collection: str, obj: KubeObject) -> Iterator[None]:
    """Somebody else's object, for as long as a test needs it."""
    client = client_of(site)
    client.create(collection, obj)
    try:
        yield
    finally:
        client.delete("%s/%s" % (collection, obj["metadata"]["name"]))


ADMISSION: Dict[str, Any] = {"components": ("common", "cert_manager"), "scope": ("cert_manager",)}


@pytest.mark.usefixtures("untouched")
def test_objects_that_are_not_ours(site: Sandbox) -> None:
    """Somebody installed cert-manager before us: its objects are named, and how to take them over."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "cert-manager-edit"}, "rules": []}
    with there(site, "/apis/rbac.authorization.k8s.io/v1/clusterroles", role):
        error = refusal(site, **ADMISSION)
    assert str(error).splitlines()[0] == (
        "cert_manager: ClusterRole.rbac.authorization.k8s.io cert-manager-edit: it is there and we did not write it"
    )
    assert "kubeflow_adopt" in error.next_step and "nothing was written" in error.next_step


@pytest.mark.usefixtures("untouched")
def test_a_field_that_another_manager_owns(site: Sandbox) -> None:
    """Object, field and manager are named; nothing is forced."""
    client = client_of(site)
    path = "/api/v1/namespaces/kubeflow"
    before = client.get(path)["metadata"]["labels"]
    key = sorted(label for label in before if "mlplatform" not in label and "metadata.name" not in label)[0]
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubeflow", "labels": {key: "theirs"}}}
    client.request("PATCH", path + "?fieldManager=intruder&force=true", theirs, "application/apply-patch+yaml")
    try:
        error = refusal(site, components=("common",))
    finally:
        theirs["metadata"] = {"name": "kubeflow"}
        client.request("PATCH", path + "?fieldManager=intruder&force=true", theirs, "application/apply-patch+yaml")
    first = str(error).splitlines()[0]
    assert "Namespace kubeflow" in first and "intruder owns" in first and key in first.replace("\\", "")
    assert "kubeflow_conflicts" in error.next_step and "nothing was written" in error.next_step


# ------------------------------------------------------------------ failed on the way


def failed(outcome: Outcome) -> Tuple[EngineError, str]:
    """The only error of a run, and its first line."""
    assert not outcome.healthy
    (error,) = outcome.errors
    return error, str(error).splitlines()[0]


def spark_patch(name: str, annotations: Dict[str, str]) -> Dict[str, Any]:
    """A patch of the pods of one of Spark's Deployments."""
    template = {"metadata": {"annotations": annotations}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}}


def told_spark(*items: Any, **more: Any) -> Dict[str, Any]:
    """Settings of a run with these patches for Spark."""
    return {**SPARK, "declarations": {"spark": {"patches": list(items), **more}}}


def rewritten() -> Dict[str, Any]:
    """A patch that makes a Deployment of Spark be written, whatever was there before."""
    return spark_patch("spark-operator-controller", {"at": "t%d" % time.monotonic_ns()})


def test_a_workload_that_crashes(site: Sandbox) -> None:
    """Pod, container, reason and its last words, long before the time is over."""
    crash = spark_patch("spark-operator-controller", {FAIL: "CrashLoopBackOff: cannot read the certificate"})
    began = time.monotonic()
    error, first = failed(converge(site, timeout=300.0, **told_spark(crash)))
    assert time.monotonic() - began < 120
    assert first.startswith("spark: Deployment.apps kubeflow/spark-operator-controller: ")
    for words in (
        "pod kubeflow/spark-operator-controller-",
        "container spark-operator-controller",
        "CrashLoopBackOff",
        "exit code 1",
        "cannot read the certificate",
    ):
        assert words in first
    assert "run this again" in error.next_step


def test_a_webhook_that_stays_down(site: Sandbox) -> None:
    """Its Service, and that it has no endpoint; what was still missing when the time was over."""
    outcome = converge(site, timeout=12.0, **told_spark(rewritten(), replicas={"spark-operator-webhook": 0}))
    error, first = failed(outcome)
    assert "Service kubeflow/spark-operator-webhook-svc" in str(error) and "endpoint" in str(error)
    assert "not healthy after 12 s" in first
    assert "kubeflow_timeout" in error.next_step


def test_a_webhook_of_somebody_else_that_is_down(site: Sandbox) -> None:
    """There is no gate for it: the write is made once, the server's words name the webhook, its Service and its last error."""
    rules = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]
    hook = {
        "name": "policy.example.com",
        "clientConfig": {"service": {"namespace": "default", "name": "policy"}},
        "rules": rules,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kubeflow"}},
    }
    config = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "policy"},
        "webhooks": [hook],
    }
    audit = Audit(site)
    with there(site, WEBHOOKS, config):
        error, first = failed(converge(site, timeout=60.0, **told_spark(rewritten())))
    assert "Deployment.apps kubeflow/spark-operator-" in first and 'webhook "policy.example.com"' in first
    assert 'service "policy" not found' in first or "policy.default.svc" in first
    assert "remove its configuration" in error.next_step
    assert len(audit.rejected()) <= 2  # one for each Deployment that was under way


def established(crd: KubeObject) -> bool:
    """Whether a definition has the names that it asks for."""
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


def test_a_definition_that_is_never_established(site: Sandbox) -> None:
    """Another definition has its kind: the definition and the server's reason come first."""
    names = {"plural": "taken", "singular": "taken", "kind": "SparkApplication", "listKind": "TakenList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    taken = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "taken.sparkoperator.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {"group": "sparkoperator.k8s.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    client = client_of(site)
    client.delete(CRDS + "/sparkapplications.sparkoperator.k8s.io")
    with there(site, CRDS, taken):
        wait_until(client, CRDS, lambda crd: crd["metadata"]["name"].startswith("taken.") and established(crd))
        error, first = failed(converge(site, timeout=300.0, **told_spark(rewritten())))
    assert "CustomResourceDefinition.apiextensions.k8s.io sparkapplications.sparkoperator.k8s.io" in first
    assert '"SparkApplication" is already in use' in first
    assert "run this again" in error.next_step


def test_after_all_that_a_run_without_mistakes_goes_on(site: Sandbox) -> None:
    """Whatever a failed run left behind, the next one ends well, and the one after it has nothing to do."""
    healthy(converge(site, **SPARK))
    found = plan(site, **SPARK)
    assert found.plan is not None and found.plan.writes == ()
