# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one daemon of a sandbox: plays everything that has no real program here, and runs those that have.

Started by ``lifecycle``; ends when it is killed, and its real pods end with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

from ...module_utils._engine.objects import KubeObject, get_path
from . import certmanager, profiles
from .backends import Backend, backends_for, binary_path, deployment_of
from .certmanager import CertManager
from .containers import ApiSocket, PodHost, PodState
from .controlplane import Layout, kubelet_port
from .egress import Egress, Pod, Refused
from .injection import INJECTOR, Injection
from .kube import ApiStatus, Client, key_of
from .pki import Authority
from .processes import AGENT_FLAG
from .profiles import Profiles
from .realpods import RealPods, status_patch
from .returning import Returning
from .view import View, path_of, service_of
from .volumes import Volumes
from .work import Item, WorkQueue

SYNC_SECONDS = 30.0
RETURN_SECONDS = 20.0
MANAGER = "sandbox-agent"


@dataclass(frozen=True)
class Play:
    """What the agent plays.

    :param who: the program that does it on a real cluster.
    :param gate: the Deployment (namespace, name) that must have a ready pod before it is played; ("", "") for none.
    :param wakes: the kinds that are looked at again when that Deployment's pods change.
    """

    who: str
    gate: Tuple[str, str]
    wakes: Tuple[str, ...]
    why: str


_CONFIGURATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
PLAYS: Tuple[Play, ...] = (
    Play(
        "cert-manager controller",
        (certmanager.NAMESPACE, certmanager.CONTROLLER),
        ("ClusterIssuer", "Issuer", "Certificate"),
        "its command is not served as a Go module; others wait for its certificates",
    ),
    Play(
        "cert-manager webhook",
        (certmanager.NAMESPACE, certmanager.WEBHOOK),
        ("WebhookAuthority",),
        "makes the authority of its own webhook when it starts",
    ),
    Play(
        "cert-manager cainjector",
        (certmanager.NAMESPACE, INJECTOR),
        (*_CONFIGURATIONS, "CustomResourceDefinition"),
        "without a caBundle no webhook can be called",
    ),
    Play(
        "profile controller",
        profiles.DEPLOYMENT,
        ("Profile",),
        "its command is not served as a Go module; a tenant's namespace comes from it",
    ),
    Play(
        "istiod, Knative and others, for their webhook configurations",
        ("", ""),
        (),
        "each fills its caBundle (Knative its rules, istiod its policy) once its Service has a ready endpoint",
    ),
    Play("webhooks without a real program", ("", ""), (), "a stand-in allows everything, so that writes can go on"),
    Play("volume provisioner", ("", ""), (), "claims of the default class bind; nothing is stored"),
    Play("kube-proxy and kubelet, for calls of the API server", ("", ""), (), "no ready endpoint, no connection"),
)
_WAKES: Mapping[Tuple[str, str], Tuple[str, ...]] = {play.gate: play.wakes for play in PLAYS if play.wakes}


class Agent:
    """All of it, wired together.

    :param folder: the sandbox's folder, with ``sandbox.json``.
    """

    def __init__(self, folder: Path) -> None:
        state = json.loads((folder / "sandbox.json").read_text(encoding="utf-8"))
        layout = Layout(folder, state["name"])
        self._client = Client(layout.server(state["port"]), MANAGER)
        self._authority = Authority(folder / "ca")
        sockets = Path(state["socket"]).parent
        self._real = self._make_real(state, sockets)
        self._built = threading.Event()
        self._returning = Returning()
        self._view = View(self._client, self._on_event)
        self._certificates = CertManager(self._client, self._view, self._authority)
        self._injection = Injection(self._client, self._view, self._authority, self._is_real)
        self._volumes = Volumes(self._client, self._view)
        self._profiles = Profiles(self._client, self._view)
        self._table = self._reconcilers()
        self._queue = WorkQueue(self._reconcile)
        self._egress = Egress(self._route, self._authority.chooser(), kubelet_port(layout))
        self._built.set()
        self._view.wait(SYNC_SECONDS)
        self._egress.listen(Path(state["socket"]))  # not before it knows who answers
        self._wait_for_pods()

    # Real pods ------------------------------------------------------------------------------

    def _make_real(self, state: Mapping[str, Any], sockets: Path) -> RealPods:
        known: Sequence[Backend] = backends_for(str(state["release"]), state.get("upgrades") or ())
        found = {backend: binary_path(backend, Path(state["cache_dir"])) for backend in known if backend.name in state["backends"]}
        programs = {backend: path for backend, path in found.items() if path.exists()}
        work = sockets / "pods"
        work.mkdir(mode=0o700, exist_ok=True)
        if programs:
            self._api_socket = ApiSocket(sockets / "api.sock", "127.0.0.1", int(str(state["port"])))
        return RealPods(programs, PodHost(work, sockets / "api.sock", self._token), self._on_state)

    def _token(self, namespace: str, account: str, body: KubeObject) -> str:
        path = "/api/v1/namespaces/%s/serviceaccounts/%s/token" % (namespace, account)
        return str(self._client.request("POST", path, body)["status"]["token"])

    def _is_real(self, namespace: str, name: str) -> bool:
        pod = self._view.get("Pod", namespace, name)
        return pod is not None and self._real.is_real(pod)

    def _wait_for_pods(self) -> None:
        """Those that were ready come back first; one that does not is reported as what it is."""
        for namespace, name in self._returning.wait(RETURN_SECONDS):
            print("pod %s/%s did not become ready again within %.0f s" % (namespace, name, RETURN_SECONDS), file=sys.stderr, flush=True)
            real = self._real.get(namespace, name)
            if real is not None:
                self._on_state(real.pod, real.container, real.state)

    def _on_state(self, pod: KubeObject, container: str, state: PodState) -> None:
        """Write what a kubelet would write; kwok leaves these pods alone."""
        if self._returning.holds_back(pod, state):
            return
        patch = status_patch(pod, container, state)
        address = _address(pod)
        patch["status"].update(podIP=address, podIPs=[{"ip": address}])
        namespace, name = key_of(pod)
        try:
            self._client.patch(path_of("Pod", namespace, name) + "/status", patch)
        except (ApiStatus, OSError) as error:
            if not isinstance(error, ApiStatus) or error.code != 404:
                print("status of pod %s/%s: %s" % (namespace, name, error), file=sys.stderr, flush=True)

    # Events -> work ---------------------------------------------------------------------------

    def _reconcilers(self) -> Mapping[str, Callable[[str, str], None]]:
        certificates, injection = self._certificates, self._injection
        return {
            "Issuer": lambda namespace, name: certificates.issuer("Issuer", namespace, name),
            "ClusterIssuer": lambda namespace, name: certificates.issuer("ClusterIssuer", namespace, name),
            "Certificate": certificates.certificate,
            "WebhookAuthority": lambda namespace, name: certificates.webhook_authority(),
            "MutatingWebhookConfiguration": lambda _ns, name: injection.configuration(_CONFIGURATIONS[0], name),
            "ValidatingWebhookConfiguration": lambda _ns, name: injection.configuration(_CONFIGURATIONS[1], name),
            "CustomResourceDefinition": lambda _ns, name: injection.definition(name),
            "PersistentVolumeClaim": self._volumes.claim,
            "Profile": lambda _ns, name: self._profiles.profile(name),
        }

    def _reconcile(self, item: Item) -> None:
        kind, namespace, name = item
        self._table[kind](namespace, name)

    def _on_event(self, kind: str, event: str, obj: KubeObject) -> None:
        self._built.wait()
        namespace, name = key_of(obj)
        if kind in self._table and event != "DELETED":
            self._queue.add(kind, namespace, name)
        special = self._SPECIAL.get(kind)
        if special is not None:
            special(self, event, obj)

    def _on_pod(self, event: str, pod: KubeObject) -> None:
        if event == "DELETED":
            self._returning.gone(pod)
        elif event == "ADDED" and self._real.is_real(pod):
            self._returning.saw(pod)
        self._real.handle_pod(event, pod)
        if event == "DELETED":
            self._egress.gone("%s/%s" % key_of(pod))
        for kind in _WAKES.get((key_of(pod)[0], deployment_of(pod)), ()):
            self._wake(kind)

    def _wake(self, kind: str) -> None:
        if kind == "WebhookAuthority":
            self._queue.add(kind, "", "")
            return
        for (namespace, name), _obj in self._view.all(kind):
            self._queue.add(kind, namespace, name)

    def _on_secret(self, event: str, secret: KubeObject) -> None:
        self._real.handle_source(event, dict(secret, kind="Secret"))
        if (secret.get("data") or {}).get("ca.crt"):
            for kind in (*_CONFIGURATIONS, "CustomResourceDefinition"):
                self._wake(kind)

    def _on_config_map(self, event: str, obj: KubeObject) -> None:
        self._real.handle_source(event, dict(obj, kind="ConfigMap"))

    def _on_issuer(self, event: str, _obj: KubeObject) -> None:
        self._wake("Certificate")

    def _on_certificate(self, event: str, obj: KubeObject) -> None:
        if certmanager.ready(obj):
            for kind in (*_CONFIGURATIONS, "CustomResourceDefinition"):
                self._wake(kind)

    def _on_slice(self, event: str, piece: KubeObject) -> None:
        service = service_of(piece)
        for kind in _CONFIGURATIONS:
            for (_namespace, name), obj in self._view.all(kind):
                if service in {_service(hook) for hook in obj.get("webhooks") or []}:
                    self._queue.add(kind, "", name)

    def _on_claim(self, event: str, claim: KubeObject) -> None:
        if event == "DELETED":
            self._volumes.forget(claim)

    _SPECIAL: Dict[str, Callable[[Agent, str, KubeObject], None]] = {
        "Pod": _on_pod,
        "Secret": _on_secret,
        "ConfigMap": _on_config_map,
        "Issuer": _on_issuer,
        "ClusterIssuer": _on_issuer,
        "Certificate": _on_certificate,
        "EndpointSlice": _on_slice,
        "PersistentVolumeClaim": _on_claim,
    }

    # Calls of the API server --------------------------------------------------------------------

    def _route(self, address: str, port: int) -> Pod:
        service = self._view.service_at(address)
        if service is None:
            pod = self._view.pod_at(address)
            if pod is None:
                raise Refused("nothing has the address %s" % address)
            return self._pod(*key_of(pod), port)
        namespace, name = key_of(service)
        names = [spec.get("name") or "" for spec in service["spec"].get("ports") or [] if spec["port"] == port]
        endpoint = self._view.endpoint(namespace, name)
        if not names or endpoint is None or names[0] not in endpoint.ports:
            raise Refused("no ready endpoint for service %s/%s port %d" % (namespace, name, port))
        return self._pod(namespace, endpoint.pod, endpoint.ports[names[0]])

    def _pod(self, namespace: str, name: str, port: int) -> Pod:
        pod = self._view.get("Pod", namespace, name)
        relay = self._real.socket_for(namespace, name)
        if pod is None or relay is None and self._real.is_real(pod):  # endpoints are behind their pods by up to a second
            raise Refused("no ready endpoint: pod %s/%s is gone" % (namespace, name))
        return Pod("%s/%s" % (namespace, name), port, relay)


def _service(hook: KubeObject) -> Tuple[str, str]:
    service = get_path(hook, "clientConfig.service") or {}
    return service.get("namespace", ""), service.get("name", "")


def _address(pod: KubeObject) -> str:
    """An address for a pod that is run for real (kwok gives out 10.x): from the range for benchmarks."""
    known = get_path(pod, "status.podIP")
    digest = hashlib.sha256(pod["metadata"]["uid"].encode()).digest()
    return str(known or "198.19.%d.%d" % (digest[0], digest[1]))


def main() -> None:
    """Run until killed; says ``ready`` on the descriptor of ``--ready-fd=`` when it answers."""
    folder, ready = "", -1
    for argument in sys.argv[1:]:
        if argument.startswith(AGENT_FLAG):
            folder = argument[len(AGENT_FLAG) :]
        elif argument.startswith("--ready-fd="):
            ready = int(argument.partition("=")[2])
    agent = Agent(Path(folder))
    if ready >= 0:
        os.write(ready, b"ready")
        os.close(ready)
    threading.Event().wait()
    del agent
