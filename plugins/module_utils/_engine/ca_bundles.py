# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether every caBundle is the one that it should be: the API server calls no webhook whose certificate it cannot check.

A caBundle is never ours, so that no comparison of our fields sees it. Where cert-manager's injector writes it, the
annotation says what it has to be; where the configuration's own controller does (release data, ``ca: runtime``), only an
empty or broken one can be told from a good one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence, Tuple

from .api import Api, Resource
from .catalogue import Release
from .forms import WEBHOOK_KINDS
from .health_rules import ca_problem
from .objects import KubeObject, ObjectRef, get_path
from .planning import Item

CERTIFICATES = Resource("cert-manager.io/v1", "Certificate", "certificates", True)
SECRETS = Resource("v1", "Secret", "secrets", True)
# What cert-manager's injector is told by [cert-manager, CA Injector].
FROM_CERTIFICATE = "cert-manager.io/inject-ca-from"
FROM_SECRET = "cert-manager.io/inject-ca-from-secret"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class CaProblem:
    """One caBundle that is not what it should be.

    :ivar path: where it is in the object; :ivar found: what it holds, :ivar wanted: what it should, in words.
    """

    ref: ObjectRef
    component: str
    live: KubeObject
    path: str
    reason: str
    found: str
    wanted: str
    next_step: str


@dataclass(frozen=True)
class Source:
    """Who fills the caBundles of an object, and with what.

    :ivar who: for people; :ivar certificates: in DER, empty where nobody can tell.
    """

    who: str
    wanted: str
    next_step: str
    certificates: FrozenSet[bytes] = frozenset()


class Authorities:
    """What caBundles have to hold: from Certificates and the Secrets that they name, each read once.

    :param known: Certificates that were read already.
    """

    def __init__(self, api: Api, known: Mapping[ObjectRef, KubeObject]) -> None:
        self._api = api
        self._known = known
        self._secrets: Dict[Tuple[str, str], Optional[KubeObject]] = {}

    def source(self, obj: KubeObject, runtime: bool) -> Source:
        """Who fills the caBundles of this object.

        :param runtime: whether release data says that its own controller does.
        """
        annotations = obj["metadata"].get("annotations") or {}
        if annotations.get(FROM_CERTIFICATE):
            return self._from_certificate(annotations[FROM_CERTIFICATE])
        if annotations.get(FROM_SECRET):
            namespace, _slash, name = annotations[FROM_SECRET].partition("/")
            return self._from_secret("Secret %s" % annotations[FROM_SECRET], namespace, name)
        if runtime:
            return Source("its own controller fills it", "the CA of its controller", "see that the pods of its controller are healthy")
        return Source("nothing is known that fills it", "a certificate", "find out who should fill it")

    def _from_certificate(self, path: str) -> Source:
        namespace, _slash, name = path.partition("/")
        ref = ObjectRef(CERTIFICATES.group, "Certificate", namespace, name)
        certificate = self._known.get(ref) or self._api.get(CERTIFICATES, namespace, name)
        if certificate is None:
            return Source("its CA comes from Certificate %s, which is not there" % path, "a certificate", "see why it is not there")
        return self._from_secret("Certificate %s" % path, namespace, str(get_path(certificate, "spec.secretName")))

    def _from_secret(self, what: str, namespace: str, name: str) -> Source:
        key = (namespace, name)
        if key not in self._secrets:
            self._secrets[key] = self._api.get(SECRETS, namespace, name)
        data = ((self._secrets[key] or {}).get("data") or {}).get("ca.crt", "")
        found = certificates(data)
        return Source(
            "cert-manager's CA injector fills it from %s" % what,
            "ca.crt of Secret %s/%s, %s" % (namespace, name, described(found) if found else "which is empty"),
            "see that the CA injector of cert-manager runs and that %s is ready" % what,
            found,
        )


def certificates(bundle: object) -> FrozenSet[bytes]:
    """The certificates (DER) in a caBundle or ``ca.crt``: base64 of PEM; none where it holds something else."""
    if ca_problem(bundle):
        return frozenset()
    pem = base64.b64decode(str(bundle)).decode()
    return frozenset(base64.b64decode("".join(body.split())) for body in _PEM.findall(pem))


def described(found: FrozenSet[bytes]) -> str:
    """Certificates by the beginning of their SHA-256 fingerprints, as ``openssl x509 -fingerprint -sha256`` shows them."""
    return ", ".join(sorted("SHA-256 %s..." % hashlib.sha256(der).hexdigest()[:16] for der in found))


def places(obj: KubeObject) -> Iterator[Tuple[str, Mapping[str, Any]]]:
    """(path, clientConfig) of everything in an object that the API server calls and checks the certificate of."""
    if obj["kind"] in WEBHOOK_KINDS:
        for hook in obj.get("webhooks") or []:
            yield "webhooks[%s].clientConfig.caBundle" % hook.get("name"), hook.get("clientConfig") or {}
    if obj["kind"] == "CustomResourceDefinition" and get_path(obj, "spec.conversion.strategy") == "Webhook":
        yield "spec.conversion.webhook.clientConfig.caBundle", get_path(obj, "spec.conversion.webhook.clientConfig") or {}


def look(api: Api, items: Sequence[Item], release: Release) -> Tuple[CaProblem, ...]:
    """Every caBundle of the wanted objects that is stale, empty or broken.

    Certificates that the plan has not read and the Secrets are read one by one: there are as many as webhooks.
    """
    live = {item.ref: item.live for item in items if item.live is not None}
    authorities = Authorities(api, {ref: obj for ref, obj in live.items() if ref.kind_group == "Certificate.cert-manager.io"})
    found: List[CaProblem] = []
    seen = set()
    for item in items:
        if item.live is None or item.ref in seen:
            continue
        seen.add(item.ref)
        facts = release.webhooks.get(item.ref.name)
        configs = [(path, config) for path, config in places(item.live) if config.get("service") or config.get("caBundle")]
        if configs:
            source = authorities.source(item.live, bool(facts and facts.ca))
            found += [one for one in (_problem(item, path, config, source) for path, config in configs) if one is not None]
    return tuple(found)


def _problem(item: Item, path: str, config: Mapping[str, Any], source: Source) -> Optional[CaProblem]:
    if item.live is None:
        return None
    bundle = config.get("caBundle")
    there = certificates(bundle)
    broken = ca_problem(bundle)
    idle = item.ref.kind == "CustomResourceDefinition" and len(get_path(item.live, "spec.versions") or []) < 2
    if idle and broken:
        return None  # with one version nothing is ever converted: upstream names webhooks whose caBundle nobody fills
    if not broken and not source.certificates - there:
        return None
    reason = "%s; %s" % (broken or "its caBundle is stale: it lacks the CA that answers", source.who)
    shown = described(there) if there else "(empty)" if broken.endswith("empty") else "no certificate"
    return CaProblem(item.ref, item.component, item.live, path, reason, shown, source.wanted, source.next_step)
