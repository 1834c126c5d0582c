# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client for the sandbox's API server: requests as JSON, and kinds that are watched.

The agent of a sandbox runs as long as the sandbox does, so it must stay small: no generated client.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple
from urllib.parse import urlencode

from ...module_utils._engine.objects import KubeObject

Key = Tuple[str, str]  # namespace ("" for cluster-wide objects), name
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
METADATA_WATCH = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiStatus(Exception):
    """The API server refused a request."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__("%d %s" % (code, message))
        self.code = code


@dataclass(frozen=True)
class Server:
    """Where an API server is and how to prove who we are (paths of PEM files)."""

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path


class Client:
    """Requests to one API server; every thread has its own connection.

    :param manager: what the API server notes as the writer of our fields.
    """

    def __init__(self, server: Server, manager: str) -> None:
        self._server = server
        self._manager = manager
        self._context = ssl.create_default_context(cafile=str(server.ca))
        self._context.load_cert_chain(str(server.certificate), str(server.key))
        self._local = threading.local()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._server.host, self._server.port, timeout=timeout, context=self._context)

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The decoded answer.

        :raises ApiStatus: the server said no.
        :raises OSError: it could not be asked.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": content_type}
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None) or self._connect(30)
            self._local.connection = connection
            try:
                connection.request(method, path, body=data, headers=headers)
                answer = connection.getresponse()
                text = answer.read()
            except (http.client.HTTPException, OSError):
                connection.close()
                self._local.connection = None
                if attempt == 2:  # once more only: a kept-alive connection may have ended unseen
                    raise
                continue
            if answer.status >= 400:
                raise ApiStatus(answer.status, _message(text))
            return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()
        raise AssertionError("unreachable")

    def get(self, path: str) -> KubeObject:
        """One object (or list) by its path.

        :raises ApiStatus: 404 if there is none.
        """
        answer: KubeObject = self.request("GET", path)
        return answer

    def create(self, path: str, obj: KubeObject) -> bool:
        """Create it; False if one of this name is there already."""
        try:
            self.request("POST", path + "?fieldManager=" + self._manager, obj)
        except ApiStatus as error:
            if error.code == 409:
                return False
            raise
        return True

    def patch(self, path: str, body: Any, kind: str = "merge", manager: str = "") -> KubeObject:
        """Patch it: ``merge``, ``json`` or ``apply`` (server-side, forced); ``manager``: another writer's name."""
        query = {"fieldManager": manager or self._manager}
        if kind == "apply":
            query["force"] = "true"
        answer: KubeObject = self.request("PATCH", path + "?" + urlencode(query), body, TYPES[kind])
        return answer

    def delete(self, path: str) -> None:
        """Delete it; nothing happens if it is not there."""
        try:
            self.request("DELETE", path)
        except ApiStatus as error:
            if error.code != 404:
                raise

    def stream(self, path: str, accept: str) -> Iterator[KubeObject]:
        """The events of a watch, until the server ends it.

        :raises ApiStatus: it was refused (404: this kind is not served).
        """
        connection = self._connect(330)  # the server ends a watch after 300 s, see Watch
        try:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise ApiStatus(answer.status, _message(answer.read()))
            for line in answer:
                if line.strip():
                    yield json.loads(line)
        finally:
            connection.close()


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text).get("message", ""))
    except (ValueError, AttributeError):
        return text[:300].decode(errors="replace")


Handler = Callable[[str, KubeObject], None]


class Watch:
    """Every object of one kind, kept up to date by one thread.

    :param path: the collection ("/api/v1/services").
    :param handler: called with ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object, one call at a time.
    :param metadata_only: ask for metadata alone (CRDs are large).
    """

    def __init__(self, client: Client, path: str, handler: Handler, metadata_only: bool = False) -> None:
        self.path = path
        self.objects: Dict[Key, KubeObject] = {}
        self.synced = threading.Event()
        self._client = client
        self._handler = handler
        self._metadata_only = metadata_only
        self._retry = threading.Event()
        threading.Thread(target=self._run, name="watch " + path, daemon=True).start()

    def served(self) -> None:
        """Say that the kind may be served now (its CRD changed): a watch that got 404 tries again."""
        self._retry.set()

    def _run(self) -> None:
        while True:
            try:
                self._follow(self._list())
            except ApiStatus as error:
                if error.code == 404:
                    self._forget()
                    self._retry.wait()
                    self._retry.clear()
                elif error.code != 410:
                    time.sleep(1)
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.5)  # the API server is away; this thread has nothing else to do

    def _list(self) -> str:
        answer = self._list_metadata() if self._metadata_only else self._client.get(self.path)
        found = {key_of(item): item for item in answer.get("items") or []}
        for key in [key for key in self.objects if key not in found]:
            self._tell("DELETED", self.objects[key])
        for key, item in found.items():
            before = self.objects.get(key)
            if before is None or before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._tell("ADDED" if before is None else "MODIFIED", item)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    def _list_metadata(self) -> KubeObject:
        for event in self._client.stream(self.path, METADATA_ONLY):
            return event
        raise OSError("the API server sent nothing")

    def _follow(self, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
        accept = METADATA_WATCH if self._metadata_only else "application/json"
        while True:
            for event in self._client.stream(self.path + "?" + urlencode(query), accept):
                obj = event["object"]
                if event["type"] == "ERROR":
                    raise ApiStatus(int(obj.get("code", 500)), str(obj.get("message", "")))
                query["resourceVersion"] = obj["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._tell(event["type"], obj)

    def _forget(self) -> None:
        for obj in list(self.objects.values()):
            self._tell("DELETED", obj)
        self.synced.set()

    def _tell(self, event: str, obj: KubeObject) -> None:
        obj["metadata"].pop("managedFields", None)
        if event == "DELETED":
            self.objects.pop(key_of(obj), None)
        else:
            self.objects[key_of(obj)] = obj
        self._handler(event, obj)


def key_of(obj: KubeObject) -> Key:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
