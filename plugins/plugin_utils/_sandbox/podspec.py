# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubelet reads out of a pod: arguments, environment, volumes, mounts, readiness. Pure functions.

Everything that comes from other objects is looked up through a :data:`Lookup`; what is not there yet and not optional
raises :class:`Missing`, as a kubelet keeps such a pod in ContainerCreating.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ...module_utils._engine.objects import KubeObject, ObjectRef, get_path

Lookup = Callable[[ObjectRef], Optional[KubeObject]]
TokenSource = Callable[[KubeObject], str]  # the volume's serviceAccountToken source -> a token

LOCALHOST = "127.0.0.1"
_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_VARIABLE = re.compile(r"\$(?:\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_DEFAULT_ANNOTATION = "kubectl.kubernetes.io/default-container"


class Missing(Exception):
    """An object that the pod needs is not there (``ref``), or lacks a key."""

    def __init__(self, ref: ObjectRef, key: str = "") -> None:
        super().__init__("%s%s is missing" % (ref, " key %s" % key if key else ""))
        self.ref = ref


@dataclass(frozen=True)
class Mount:
    """A volume at a path of the container."""

    volume: str
    path: str
    sub_path: str
    read_only: bool


@dataclass(frozen=True)
class Probe:
    """A readiness probe: ``scheme`` is HTTP, HTTPS or TCP; ``period`` in seconds.

    ``failures`` in a row make a ready container unready.
    """

    scheme: str
    port: int
    path: str
    period: float
    failures: int = 3


def namespace_of(pod: KubeObject) -> str:
    """The pod's namespace."""
    return str(pod["metadata"].get("namespace") or "default")


def container_named(pod: KubeObject, name: str) -> KubeObject:
    """The container of that name.

    :raises KeyError: the pod has none.
    """
    for container in pod["spec"]["containers"]:
        if container["name"] == name:
            found: KubeObject = container
            return found
    raise KeyError("%s has no container %s" % (pod["metadata"]["name"], name))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' ``$(NAME)``: unknown names stay as they are, ``$$`` is a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _VARIABLE.sub(replace, text)


def field(pod: KubeObject, path: str) -> str:
    """A ``fieldRef``: dotted, or ``metadata.labels['key']``. Addresses are loopback where the pod has none."""
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((pod["metadata"].get(match.group(1)) or {}).get(match.group(2), ""))
    if path in ("status.podIP", "status.podIPs", "status.hostIP"):
        return str(get_path(pod, path if path != "status.podIPs" else "status.podIP", LOCALHOST))
    return str(get_path(pod, path, ""))


def references(pod: KubeObject, container: str) -> Tuple[ObjectRef, ...]:
    """Every ConfigMap and Secret that the container reads, sorted."""
    found = {ref for ref, optional in _references(pod, container_named(pod, container))}
    return tuple(sorted(found))


def _references(pod: KubeObject, container: KubeObject) -> Iterator[Tuple[ObjectRef, bool]]:
    mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
    for volume in pod["spec"].get("volumes") or []:
        if volume["name"] in mounted:
            for source in _sources(volume):
                yield from _source_reference(pod, source)
    for entry in container.get("env") or []:
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            wanted = (entry.get("valueFrom") or {}).get(key)
            if wanted:
                yield ObjectRef("", kind, namespace_of(pod), wanted["name"]), bool(wanted.get("optional"))
    for entry in container.get("envFrom") or []:
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if entry.get(key):
                yield ObjectRef("", kind, namespace_of(pod), entry[key]["name"]), bool(entry[key].get("optional"))


def _sources(volume: KubeObject) -> List[KubeObject]:
    """The sources of a volume in the form of a projected volume's; none for other kinds of volume."""
    if "projected" in volume:
        return list(volume["projected"].get("sources") or [])
    if "configMap" in volume:
        return [{"configMap": volume["configMap"]}]
    if "secret" in volume:
        secret = dict(volume["secret"])
        secret["name"] = secret.get("secretName", "")
        return [{"secret": secret}]
    if "downwardAPI" in volume:
        return [{"downwardAPI": volume["downwardAPI"]}]
    return []


def _source_reference(pod: KubeObject, source: KubeObject) -> Iterator[Tuple[ObjectRef, bool]]:
    for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if key in source:
            yield ObjectRef("", kind, namespace_of(pod), source[key]["name"]), bool(source[key].get("optional"))


def data_of(obj: KubeObject) -> Dict[str, bytes]:
    """The keys of a ConfigMap or Secret as bytes."""
    if obj.get("kind") == "Secret":
        return {key: base64.b64decode(value or "") for key, value in (obj.get("data") or {}).items()}
    found = {key: str(value).encode() for key, value in (obj.get("data") or {}).items()}
    found.update((key, base64.b64decode(value)) for key, value in (obj.get("binaryData") or {}).items())
    return found


def _look(lookup: Lookup, ref: ObjectRef, optional: bool) -> Optional[Dict[str, bytes]]:
    obj = lookup(ref)
    if obj is None:
        if optional:
            return None
        raise Missing(ref)
    return data_of(obj)


def volume_files(pod: KubeObject, volume: KubeObject, lookup: Lookup, token: TokenSource) -> Optional[Dict[str, bytes]]:
    """The files of one volume, path -> content; None for a volume that is just an empty folder.

    :raises Missing: an object or key that is not optional is not there.
    """
    sources = _sources(volume)
    if not sources and "projected" not in volume:
        return None
    files: Dict[str, bytes] = {}
    for source in sources:
        files.update(_source_files(pod, source, lookup, token))
    return files


def _source_files(pod: KubeObject, source: KubeObject, lookup: Lookup, token: TokenSource) -> Dict[str, bytes]:
    if "serviceAccountToken" in source:
        return {source["serviceAccountToken"]["path"]: token(source["serviceAccountToken"]).encode()}
    if "downwardAPI" in source:
        return {
            item["path"]: field(pod, item["fieldRef"]["fieldPath"]).encode()
            for item in source["downwardAPI"].get("items") or []
            if "fieldRef" in item
        }
    files: Dict[str, bytes] = {}
    for ref, optional in _source_reference(pod, source):
        data = _look(lookup, ref, optional)
        wanted = (source.get("configMap") or source.get("secret") or {}).get("items")
        if data is None:
            continue
        if not wanted:
            files.update(data)
        for item in wanted or []:
            if item["key"] in data:
                files[item["path"]] = data[item["key"]]
            elif not optional:
                raise Missing(ref, item["key"])
    return files


def volumes(pod: KubeObject, container: str, lookup: Lookup, token: TokenSource) -> Dict[str, Optional[Dict[str, bytes]]]:
    """Every volume that the container mounts: name -> files, or None for an empty folder.

    :raises Missing: see :func:`volume_files`.
    """
    mounted = {mount.volume for mount in mounts(pod, container)}
    return {
        volume["name"]: volume_files(pod, volume, lookup, token) for volume in pod["spec"].get("volumes") or [] if volume["name"] in mounted
    }


def mounts(pod: KubeObject, container: str) -> Tuple[Mount, ...]:
    """Where the container's volumes are."""
    return tuple(
        Mount(item["name"], item["mountPath"], item.get("subPath") or "", bool(item.get("readOnly")))
        for item in container_named(pod, container).get("volumeMounts") or []
    )


def environment(pod: KubeObject, container: str, lookup: Lookup) -> Dict[str, str]:
    """The container's environment, in the order of the pod: ``envFrom`` first, then ``env`` with ``$(NAME)`` expanded.

    :raises Missing: an object or key that is not optional is not there.
    """
    found: Dict[str, str] = {}
    spec = container_named(pod, container)
    for entry in spec.get("envFrom") or []:
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            wanted = entry.get(key)
            if wanted:
                data = _look(lookup, ObjectRef("", kind, namespace_of(pod), wanted["name"]), bool(wanted.get("optional")))
                found.update((entry.get("prefix", "") + name, value.decode()) for name, value in (data or {}).items())
    for entry in spec.get("env") or []:
        if "valueFrom" in entry:
            value = _value_from(pod, spec, entry["valueFrom"], lookup)
            if value is not None:
                found[entry["name"]] = value
        else:
            found[entry["name"]] = expand(entry.get("value") or "", found)
    return found


def _value_from(pod: KubeObject, container: KubeObject, source: KubeObject, lookup: Lookup) -> Optional[str]:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return str(get_path(container, "resources." + source["resourceFieldRef"]["resource"], "0"))
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        wanted = source.get(key)
        if wanted:
            ref = ObjectRef("", kind, namespace_of(pod), wanted["name"])
            data = _look(lookup, ref, bool(wanted.get("optional"))) or {}
            if wanted["key"] in data:
                return data[wanted["key"]].decode()
            if not wanted.get("optional"):
                raise Missing(ref, wanted["key"])
    return None


def arguments(pod: KubeObject, container: str, variables: Mapping[str, str]) -> List[str]:
    """What follows the program: the rest of ``command``, then ``args``, with ``$(NAME)`` expanded."""
    spec = container_named(pod, container)
    return [expand(text, variables) for text in list(spec.get("command") or [])[1:] + list(spec.get("args") or [])]


def readiness(pod: KubeObject, container: str) -> Optional[Probe]:
    """The container's readiness probe; None if it has none that can be asked through a port."""
    spec = container_named(pod, container)
    probe = spec.get("readinessProbe") or {}
    period, failures = float(probe.get("periodSeconds") or 10), int(probe.get("failureThreshold") or 3)
    if "httpGet" in probe:
        ask = probe["httpGet"]
        return Probe(ask.get("scheme") or "HTTP", _port(spec, ask["port"]), ask.get("path") or "/", period, failures)
    if "tcpSocket" in probe:
        return Probe("TCP", _port(spec, probe["tcpSocket"]["port"]), "", period, failures)
    return None


def _port(container: KubeObject, port: object) -> int:
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or []:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return int(str(port))


def memory_limit(pod: KubeObject, container: str) -> int:
    """The memory limit in bytes; 0 if there is none."""
    text = str(get_path(container_named(pod, container), "resources.limits.memory", "0"))
    match = re.fullmatch(r"(\d+)([A-Za-z]*)", text)
    return int(match.group(1)) * _UNITS.get(match.group(2), 1) if match else 0
