# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server: connecting, discovery, reading and writing, and what its answers mean.

Authentication, TLS and proxies are the ``kubernetes`` library's; requests are sent raw, because
server-side apply wants the body as we made it and a LIST of 74 CRDs is parsed once, not twice.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Counter, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote, urlencode

from .api_errors import ApiError, Unreachable, may_pass, plain, status_error
from .errors import EngineError
from .kubeconfig import new_client
from .objects import FIELD_MANAGER, KubeObject, ObjectRef, group_of

try:
    import urllib3

    HAS_URLLIB3 = True
except ImportError:
    HAS_URLLIB3 = False

__all__ = ["METADATA_LIST", "Api", "ApiError", "Discovery", "Resource", "Traffic", "Unreachable", "resource_of_crd"]

USER_AGENT = "mlplatform.kubeflow"
WRITE_VERBS = ("POST", "PUT", "PATCH", "DELETE")
PAGE = 500
# How long one request may be retried while the server says that it is busy or restarting.
PATIENCE_SECONDS = 120.0
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
AGGREGATED_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@dataclass(frozen=True)
class Resource:
    """How a kind is addressed: ``group_version`` is ``apps/v1`` or ``v1``."""

    group_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group, "" for the core."""
        return group_of(self.group_version)

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of the collection, or of one object of it."""
        parts = ["apis" if "/" in self.group_version else "api", self.group_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/" + "/".join(parts)


def resource_of_crd(crd: KubeObject) -> Iterator[Resource]:
    """The resources that a CustomResourceDefinition defines, one per served version."""
    spec = crd["spec"]
    for version in spec["versions"]:
        if version.get("served"):
            yield Resource(
                "%s/%s" % (spec["group"], version["name"]),
                spec["names"]["kind"],
                spec["names"]["plural"],
                spec["scope"] == "Namespaced",
            )


class Discovery:
    """What the API server serves, by (group/version, kind)."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = {(item.group_version, item.kind): item for item in resources}

    def get(self, api_version: str, kind: str) -> Optional[Resource]:
        """The resource, or None if it is not served."""
        return self._resources.get((api_version, kind))

    def with_resources(self, resources: Sequence[Resource]) -> Discovery:
        """The same, with some more that will be served later."""
        merged = Discovery(resources)
        merged._resources.update(self._resources)
        return merged

    def by_group_kind(self, group: str, kind: str) -> Tuple[Resource, ...]:
        """Every served version of a kind, in the server's order of preference."""
        return tuple(item for item in self._resources.values() if item.group == group and item.kind == kind)

    def kinds(self) -> Tuple[Resource, ...]:
        """Every kind once, in the version that the server prefers."""
        return tuple({(item.group, item.kind): item for item in reversed(list(self._resources.values()))}.values())


@dataclass
class Traffic:
    """What one run sent: the figures of the results and of the tests."""

    requests: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    dry_runs: int = 0
    retries: int = 0
    rejected: List[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All requests, dry runs included."""
        return sum(self.requests.values())


class Api:
    """One cluster's API server. Safe to be used by several threads.

    :param guard: called before every write; raises to stop it (the run was killed, the lock lost).
    """

    def __init__(self, client: Any, server: str) -> None:
        self._client = client
        self._pool = client.rest_client.pool_manager
        self.server = server
        self.traffic = Traffic()
        self.guard: Any = None
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, kubeconfig: str = "", context: str = "") -> Api:
        """Connect as kubectl would: the file, else KUBECONFIG, else ~/.kube/config; nothing is sent yet."""
        client = new_client(kubeconfig, context)
        client.configuration.retries = False
        return cls(client, client.configuration.host)

    # ---------------------------------------------------------------- one request

    def _headers(self, content_type: str, accept: str) -> Dict[str, str]:
        headers = {"Accept": accept, "User-Agent": USER_AGENT}
        if content_type:
            headers["Content-Type"] = content_type
        # auth_settings() refreshes tokens of exec plugins; ApiClient's own helper changes its signature between versions.
        for setting in self._client.configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        return headers

    def _count(self, method: str, dry: bool) -> None:
        with self._lock:
            self.traffic.requests[method] += 1
            if dry:
                self.traffic.dry_runs += 1
            elif method in WRITE_VERBS:
                self.traffic.writes += 1

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Optional[bytes] = None,
        query: Optional[Mapping[str, str]] = None,
        content_type: str = "",
        accept: str = "application/json",
        subject: str = "",
        stream: bool = False,
        timeout: float = 60.0,
        patience: float = PATIENCE_SECONDS,
    ) -> Any:
        """One request, repeated only while the server says "not now" and the request may be repeated.

        Every request that the engine sends can be repeated without harm: reads, server-side apply,
        and writes that carry a resourceVersion or uid.

        :returns: the parsed answer; with ``stream`` the open response.
        :raises ApiError: the server's refusal; :raises Unreachable: there was no answer.
        """
        url = self.server + path + ("?" + urlencode(query) if query else "")
        dry = bool(query) and "dryRun" in (query or {})
        deadline = time.monotonic() + patience
        attempt = 0
        while True:
            if method in WRITE_VERBS and not dry and self.guard is not None:
                self.guard()
            self._count(method, dry)
            status, data, wait = self._once(method, url, body, content_type, accept, stream, timeout, subject)
            if 200 <= status < 300:
                return data if stream else self._parsed(data, subject)
            error = (
                status_error(status, data, subject)
                if status
                else Unreachable(
                    "no answer from %s: %s" % (self.server, data.decode(errors="replace")),
                    status=0,
                    subject=subject,
                    next_step="check that the address is right and that the API server runs and can be reached from here",
                )
            )
            attempt += 1
            pause = wait if wait is not None else random.uniform(0.1, min(10.0, 0.2 * 2**attempt))
            if not may_pass(error, wait) or time.monotonic() + pause > deadline:
                if method in WRITE_VERBS and not dry and status and (method, status) != ("DELETE", 404):
                    with self._lock:
                        self.traffic.rejected.append("%s %s: %d %s" % (method, path, status, error.message[:200]))
                raise error
            with self._lock:
                self.traffic.retries += 1
            time.sleep(pause)

    def _parsed(self, data: bytes, subject: str) -> Any:
        """The answer's JSON; what answers with anything else is no API server."""
        try:
            return json.loads(data) if data else {}
        except ValueError as problem:
            raise ApiError(
                "%s answers, but not as an API server does" % self.server,
                status=0,
                subject=subject,
                found=data.decode(errors="replace").strip()[:200],
                next_step="check the server's address in the kubeconfig; a proxy's login page answers like this",
            ) from problem

    def _once(
        self,
        method: str,
        url: str,
        body: Optional[bytes],
        content_type: str,
        accept: str,
        stream: bool,
        timeout: float,
        subject: str,
    ) -> Tuple[int, Any, Optional[float]]:
        """(status, answer, seconds that the server asks us to wait); status 0 and the reason if no answer came."""
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=self._headers(content_type, accept),
                preload_content=not stream,
                retries=False,
                timeout=urllib3.Timeout(connect=10.0, read=timeout),
            )
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            return 0, plain(problem).encode(), None
        wait = response.headers.get("Retry-After")
        after = float(wait) if wait and wait.isdigit() else None
        if stream and 200 <= response.status < 300:
            return response.status, response, after
        return response.status, response.data, after

    # ---------------------------------------------------------------- reading

    def version(self) -> str:
        """The server's version without its "v": ``1.34.10``."""
        answer = self.send("GET", "/version", subject="API server %s" % self.server, patience=10.0)
        return str(answer["gitVersion"]).lstrip("v")

    def discover(self) -> Discovery:
        """Two requests for everything that is served (Kubernetes 1.27 and newer)."""
        found = []
        for path in ("/api", "/apis"):
            answer = self.send("GET", path, accept=AGGREGATED_DISCOVERY, subject="API server %s" % self.server)
            for group in answer.get("items", []):
                name = group["metadata"].get("name", "")
                for version in group["versions"]:
                    group_version = "%s/%s" % (name, version["version"]) if name else version["version"]
                    for item in version.get("resources", []):
                        kind = item.get("responseKind", {}).get("kind")
                        if kind and "list" in item.get("verbs", []):
                            namespaced = item["scope"] == "Namespaced"
                            found.append(Resource(group_version, kind, item["resource"], namespaced))
        return Discovery(found)

    def get(self, resource: Resource, namespace: str, name: str) -> Optional[KubeObject]:
        """One object, or None if it is not there."""
        subject = str(ObjectRef(resource.group, resource.kind, namespace, name))
        try:
            found: KubeObject = self.send("GET", resource.path(namespace, name), subject=subject)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return found

    def list(self, resource: Resource, *, namespace: str = "", selector: str = "", names: bool = False) -> Tuple[List[KubeObject], str]:
        """All objects of a kind (with ``names`` just their metadata) and the resourceVersion to watch from; none if it is not served."""
        items: List[KubeObject] = []
        token = ""
        while True:
            try:
                page, token, version = self._page(resource, namespace, selector, names, PAGE, token)
            except ApiError as error:
                if error.not_found:
                    return [], ""
                if error.status == 410 and token:  # the pages' snapshot was compacted away
                    items, token = [], ""
                    continue
                raise
            items.extend(page)
            if not token:
                return items, version

    def pages(
        self, resource: Resource, *, namespace: str = "", selector: str = "", names: bool = False, limit: int = PAGE
    ) -> Iterator[List[KubeObject]]:
        """All objects of a kind, one page at a time; none if it is not served.

        What was there all the time is seen once. A list that takes longer than the server keeps its snapshot (five minutes)
        goes on with what is there then [Kubernetes API concepts, retrieving large results sets in chunks].
        """
        token = ""
        while True:
            try:
                page, token, _version = self._page(resource, namespace, selector, names, limit, token)
            except ApiError as error:
                if error.not_found:
                    return
                if error.status == 410 and error.token:
                    token = error.token
                    continue
                raise
            if page:
                yield page
            if not token:
                return

    def _page(
        self, resource: Resource, namespace: str, selector: str, names: bool, limit: int, token: str
    ) -> Tuple[List[KubeObject], str, str]:
        """(objects, token for the next page, resourceVersion); the token is "" after the last."""
        query = {"limit": str(limit)}
        if selector:
            query["labelSelector"] = selector
        if token:
            query["continue"] = token
        subject, accept = "list of %s" % resource.plural, METADATA_LIST if names else "application/json"
        page = self.send("GET", resource.path(namespace), query=query, accept=accept, subject=subject)
        items: List[KubeObject] = page.get("items") or []
        for item in items:
            item.update(apiVersion=resource.group_version, kind=resource.kind)
        return items, page["metadata"].get("continue") or "", page["metadata"].get("resourceVersion", "")

    # ---------------------------------------------------------------- writing

    def apply(
        self, resource: Resource, obj: KubeObject, *, dry: bool = False, force: bool = False, manager: str = FIELD_MANAGER
    ) -> KubeObject:
        """Server-side apply of one object; the object as the server has it now.

        :raises ApiError: with ``field_conflict`` where another manager owns a field and ``force`` is off.
        """
        metadata = obj["metadata"]
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry:
            query["dryRun"] = "All"
        namespace = metadata.get("namespace", "")
        answer: KubeObject = self.send(
            "PATCH",
            resource.path(namespace, metadata["name"]),
            body=json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode(),
            query=query,
            content_type="application/apply-patch+yaml",
            subject=str(ObjectRef(resource.group, resource.kind, namespace, metadata["name"])),
        )
        return answer

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        *,
        content_type: str,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
    ) -> KubeObject:
        """A JSON patch or merge patch in our name; of the object, or of its ``status``."""
        answer: KubeObject = self.send(
            "PATCH",
            resource.path(namespace, name) + ("/" + subresource if subresource else ""),
            body=json.dumps(patch).encode(),
            query={"fieldManager": manager},
            content_type=content_type,
            subject=str(ObjectRef(resource.group, resource.kind, namespace, name)),
        )
        return answer

    def create(self, resource: Resource, obj: KubeObject, *, dry: bool = False, manager: str = FIELD_MANAGER) -> KubeObject:
        """POST one object."""
        metadata = obj["metadata"]
        query = {"fieldManager": manager}
        if dry:
            query["dryRun"] = "All"
        namespace = metadata.get("namespace", "")
        name = metadata.get("name") or metadata.get("generateName", "")
        answer: KubeObject = self.send(
            "POST",
            resource.path(namespace),
            body=json.dumps(obj).encode(),
            query=query,
            content_type="application/json",
            subject=str(ObjectRef(resource.group, resource.kind, namespace, name)),
        )
        return answer

    def replace(self, resource: Resource, obj: KubeObject, *, manager: str = FIELD_MANAGER) -> KubeObject:
        """PUT one object; its resourceVersion makes it safe against others."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        answer: KubeObject = self.send(
            "PUT",
            resource.path(namespace, metadata["name"]),
            body=json.dumps(obj).encode(),
            query={"fieldManager": manager},
            content_type="application/json",
            subject=str(ObjectRef(resource.group, resource.kind, namespace, metadata["name"])),
        )
        return answer

    def delete(self, resource: Resource, namespace: str, name: str, uid: str, dry: bool = False) -> bool:
        """DELETE one object, only if it has this uid; what it owns goes after it. False if it is gone, True if it still goes.

        :raises EngineError: another object has its name now.
        """
        path, subject = resource.path(namespace, name), str(ObjectRef(resource.group, resource.kind, namespace, name))
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}, "dryRun": ["All"] if dry else []}
        body, query = json.dumps(options).encode(), {"dryRun": "All"} if dry else None  # the server reads the body, we count by the query
        try:
            answer = self.send("DELETE", path, body=body, query=query, content_type="application/json", subject=subject)
        except ApiError as error:
            if error.status == 409 and "UID in precondition" in error.message:
                raise EngineError("another object has its name now", subject=subject, expected="uid " + uid, found=error.message) from error
            if not error.not_found and (error.status != 409 or resource.kind != "Namespace"):  # one that goes already is a conflict
                raise
            return not error.not_found
        return "deletionTimestamp" in (answer.get("metadata") or {})
