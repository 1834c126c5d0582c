# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where data lies in the real releases; and on a real API server: no database is started on files that it cannot open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple, Union

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_guard import ANNOTATION, MANAGER
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_places import Database, ObjectStore
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, get_path
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import referenced_config
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rolling_back import RollBack
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Request, choose, render_chosen
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.kube import Client
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes, client_of
from .platform_fixtures import Installed
from .support import CACHE, EXHAUSTIVE, MIRROR, Audit, converge, healthy, lines, plan, request_for, verdicts
from .uninstall_support import listed, settled, uninstall

WORKLOAD = "Deployment.apps kubeflow/katib-mysql"
CLAIM = "PersistentVolumeClaim kubeflow/katib-mysql"
DEPLOYMENTS = "/apis/apps/v1/namespaces/kubeflow/deployments"
CLAIMS = "/api/v1/namespaces/kubeflow/persistentvolumeclaims"
CONTROLLER = "Deployment.apps kubeflow/workflow-controller"


# ------------------------------------------------------------------ the releases


def pods_of(obj: KubeObject) -> Dict[str, Any]:
    """The specification of a workload's pods."""
    spec: Dict[str, Any] = get_path(obj, "spec.template.spec") or {}
    return spec


def reads(obj: KubeObject, secret: str) -> bool:
    """Whether a workload's pods get a Secret."""
    return ("Secret", secret) in referenced_config({"spec": pods_of(obj)})


def keys_of(secret: KubeObject) -> Set[str]:
    """What a Secret holds."""
    return {*(secret.get("data") or {}), *(secret.get("stringData") or {})}


@pytest.mark.parametrize("release", ["v1.9.1", "v1.10.2", "v1.11.0", "26.03"])
def test_release_data_names_all_data_and_everybody_who_writes_it(release: str) -> None:
    """From the render: a new release cannot forget a claim, nor a program that gets the login of a database or store."""
    request = Request("", version=release, components="all", mirror=MIRROR, cache_dir=str(CACHE))
    chosen = choose(request)
    rendered = {ref: item.obj for ref, item in render_chosen(request, chosen, lines(release)).objects.items()}
    data = chosen.release.data
    assert data.claims == {ref for ref in rendered if ref.kind == "PersistentVolumeClaim"}
    places: Tuple[Union[Database, ObjectStore], ...] = (*data.databases, *data.object_stores)
    for place in places:
        pods = pods_of(rendered[place.workload])
        container = next(one for one in pods["containers"] if one["name"] == place.container)
        mounted = {get_path(one, "persistentVolumeClaim.claimName"): one["name"] for one in pods["volumes"]}
        assert mounted[place.claim.name] in {one["name"] for one in container["volumeMounts"]}
        namespace, name = place.login.secret.split("/")
        keys = {value for key, value in vars(place.login).items() if key.endswith("_key") and value}
        assert keys <= keys_of(rendered[ObjectRef("", "Secret", namespace, name)])
        readers = {ref for ref, obj in rendered.items() if ref.namespace == namespace and reads(obj, name)} - {place.workload}
        # The workflow controller has no login: it starts pods that have one.
        assert set(map(str, place.clients)) - {CONTROLLER} == set(map(str, readers))
        assert set(place.clients) <= set(rendered)
    for store in data.object_stores:
        assert CONTROLLER in map(str, store.clients)
        container = next(one for one in pods_of(rendered[store.workload])["containers"] if one["name"] == store.container)
        assert store.port in {port["containerPort"] for port in container["ports"]}
        config = rendered[ObjectRef("", "ConfigMap", "kubeflow", "workflow-controller-configmap")]["data"]["artifactRepository"]
        assert all('bucket: "%s"' % bucket in config for bucket in store.buckets)


# ------------------------------------------------------------------ a cluster


@dataclass(frozen=True)
class Site:
    """A cluster with the whole platform, whose Katib is changed: the tests run in their order, each from where the last one ended."""

    sandbox: Sandbox
    client: Client

    def converge(self, image: str = "") -> Outcome:
        """Katib with another image of its database, or with the release's own."""
        return converge(self.sandbox, scope=("katib",), declarations=images(image))

    def note(self) -> str:
        """What is noted on the claim."""
        claim = self.client.get(CLAIMS + "/katib-mysql")
        return str((claim["metadata"].get("annotations") or {}).get(ANNOTATION) or "")

    def refused(self, image: str = "") -> str:
        """Why the image is refused; nothing is written by that."""
        audit = Audit(self.sandbox)
        outcome = plan(self.sandbox, scope=("katib",), declarations=images(image))
        assert outcome.plan is not None
        assert [str(item.ref) for item in outcome.plan.stops] == [WORKLOAD] and verdicts(outcome)[WORKLOAD] == "refused"
        with pytest.raises(EngineError) as refused:
            self.converge(image)
        assert refused.value.subject == WORKLOAD and refused.value.cause == outcome.plan.stops[0].reason
        assert CLAIM in refused.value.cause and "dump" in refused.value.cause and "nothing was written" in refused.value.next_step
        assert not audit.writes()
        return refused.value.cause

    def at_rest(self, image: str = "") -> bool:
        """Whether another run finds nothing to do and writes nothing."""
        audit = Audit(self.sandbox)
        return not healthy(self.converge(image)).changed and not audit.writes()

    def image(self) -> str:
        """What the database runs with."""
        return str(pods_of(self.client.get(DEPLOYMENTS + "/katib-mysql"))["containers"][0]["image"])


def images(image: str) -> Dict[str, Any]:
    """What katib_images says."""
    return {"katib": {"images": {"mysql": image}}} if image else {}


@pytest.fixture(name="site", scope="module")
def _site(built: Callable[[str], Installed], sandboxes: Sandboxes) -> Iterator[Site]:
    snapshot: Path = built("26.03").snapshot
    sandbox = sandboxes.make("guarded", snapshot=snapshot)
    yield Site(sandbox, client_of(sandbox))
    sandboxes.remove(sandbox.name)


def notes(client: Client) -> Dict[str, str]:
    """Claim -> what is noted on it."""
    found: List[KubeObject] = client.get(CLAIMS)["items"]
    return {one["metadata"]["name"]: str((one["metadata"].get("annotations") or {}).get(ANNOTATION) or "") for one in found}


def test_the_first_run_notes_what_opens_the_data(site: Site) -> None:
    """In the name of a manager of its own, and nothing is left to do for the next run."""
    assert notes(site.client) == {"katib-mysql": "mysql 8.0", "mysql-pv-claim": "mysql 8.4", "seaweedfs-pvc": ""}
    fields = site.client.get(CLAIMS + "/katib-mysql")["metadata"]["managedFields"]
    owners = {one["manager"] for one in fields if "f:" + ANNOTATION in (get_path(one, "fieldsV1.f:metadata.f:annotations") or {})}
    assert owners == {MANAGER}
    assert site.at_rest()


def test_ac_09_an_image_older_than_the_data_is_refused_before_its_pod_starts(site: Site) -> None:
    """Also where nobody can tell: 8.0 was a later one than 8.0.29 on the day it was pulled."""
    assert site.refused("mysql:5.7.44").startswith("mysql 5.7.44 is older than the data on %s, which mysql 8.0 has opened" % CLAIM)
    assert site.refused("mysql:8.0.29").startswith("mysql 8.0.29 may be older than the data")
    if EXHAUSTIVE:
        assert site.refused("mysql:9.0.1").startswith("mysql 9.0.1 does not open the data")
        assert site.refused("registry.site:5000/mariadb:10.11").startswith("mariadb 10.11 does not read the data")
    assert site.image() == "mysql:8.0"


def test_ac_09_a_newer_image_goes_through_and_is_the_last_word(site: Site) -> None:
    """Noted before the Deployment is written; from then on neither site nor rollback goes back."""
    audit = Audit(site.sandbox)
    healthy(site.converge("mysql:8.4"))
    paths = [call.path for call in audit.writes()]
    assert paths.index(CLAIMS + "/katib-mysql") < paths.index(DEPLOYMENTS + "/katib-mysql")
    assert (site.note(), site.image()) == ("mysql 8.4", "mysql:8.4") and site.at_rest("mysql:8.4")
    assert "mysql 8.0 is older than the data" in site.refused()

    audit = Audit(site.sandbox)
    journey = RollBack(request_for(site.sandbox, scope=("katib",)), "previous", (), lines(site.sandbox.name)).run()
    assert [step.state for step in journey.steps] == ["stopped"]
    error = journey.steps[0].error
    assert error is not None and error.subject == WORKLOAD and "mysql 8.0 is older than the data on %s" % CLAIM in error.cause
    assert not audit.writes() and site.image() == "mysql:8.4"


def test_ac_09_without_a_note_the_running_image_tells(site: Site) -> None:
    """Somebody removed the annotation; the next run that may write puts it back, and shows that."""
    site.client.patch(CLAIMS + "/katib-mysql", {"metadata": {"annotations": {ANNOTATION: None}}}, manager="kubectl-annotate")
    assert "mysql 8.0 is older than the data" in site.refused()
    shown = plan(site.sandbox, scope=("katib",), declarations=images("mysql:8.4"))
    assert verdicts(shown) == {CLAIM: "update"}
    outcome = healthy(site.converge("mysql:8.4"))
    assert outcome.changed and sum(one.written for one in outcome.components.values()) == 1
    assert site.note() == "mysql 8.4" and site.at_rest("mysql:8.4")


def test_what_somebody_noted_by_hand_counts(site: Site) -> None:
    """Who knows better says so on the claim; whoever wrote it, it is no conflict."""
    site.client.patch(CLAIMS + "/katib-mysql", {"metadata": {"annotations": {ANNOTATION: "mysql 8.4.6"}}}, manager="kubectl-annotate")
    assert site.at_rest("mysql:8.4")
    healthy(site.converge("mysql:8.4.5"))  # within an LTS series
    assert site.note() == "mysql 8.4.5" and site.at_rest("mysql:8.4.5")


def test_ac_09_the_claim_remembers_when_everything_else_is_gone(site: Site) -> None:
    """Uninstalled and installed again with an older image: there is no workload that could tell, and it is refused."""
    uninstall(site.sandbox, "katib")
    assert "katib-mysql" not in {one["metadata"]["name"] for one in site.client.get(DEPLOYMENTS)["items"]}
    assert site.note() == "mysql 8.4.5"
    assert "mysql 8.0 is older than the data on %s, which mysql 8.4.5 has opened" % CLAIM in site.refused()
    healthy(site.converge("mysql:8.4.6"))
    assert site.note() == "mysql 8.4.6" and site.at_rest("mysql:8.4.6")


def test_the_way_out_is_an_empty_volume(site: Site) -> None:
    """What the refusal says: without the workload and its claim both are made anew, with the image that is wanted."""
    assert "without %s and %s" % (WORKLOAD, CLAIM) in site.refused()
    site.client.delete(DEPLOYMENTS + "/katib-mysql")
    site.client.delete(CLAIMS + "/katib-mysql")
    settled(site.sandbox, lambda survey: CLAIM not in listed(survey))  # its protection goes with the last pod that mounts it
    healthy(site.converge())
    assert (site.note(), site.image()) == ("mysql 8.0", "mysql:8.0") and site.at_rest()
