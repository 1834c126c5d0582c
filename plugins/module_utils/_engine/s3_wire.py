# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing small objects without the ceremony of the S3 library, which costs more than the objects do.

Only success counts here: whatever else happens, the caller asks again by the library, which knows about retries and errors.
Requests are signed as "AWS Signature Version 4" says, with the headers that it demands [Amazon S3 API reference,
"Authenticating Requests (AWS Signature Version 4)"].
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Dict, Mapping, Optional, Tuple
from urllib.parse import quote, urlsplit

try:
    import urllib3

    HAS_URLLIB3 = True
except ImportError:
    HAS_URLLIB3 = False

# After so many requests in a row that were not successful nothing more is tried here.
PATIENCE = 50
EMPTY = hashlib.sha256(b"").hexdigest()
# The library's names of what an object carries, and HTTP's.
NAMES: Mapping[str, str] = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentDisposition": "content-disposition",
    "ContentLanguage": "content-language",
    "CacheControl": "cache-control",
}
META = "x-amz-meta-"
# Signatures are made over values without double spaces; other values are left to the library.
_PLAIN = re.compile(r"[!-~]+( [!-~]+)*")


@dataclass(frozen=True)
class Quick:
    """An object that was read at once. ``modified``: seconds since 1970; ``headers`` by the library's names."""

    data: bytes
    etag: str
    modified: int
    headers: Mapping[str, Any]


class Wire:
    """Connections to one store, for any number of threads.

    :param keys: access key, secret key, session token or "".
    """

    def __init__(self, pool: Any, path: str, host: str, region: str, keys: Tuple[str, str, str]) -> None:
        self._pool, self._path, self._host, self._region = pool, path, host, region
        self._access, self._secret, self._token = keys
        self._day = ("", b"")
        self._failed = 0

    @classmethod
    def of(
        cls, endpoint: str, region: str, keys: Tuple[str, str, str], ca_file: str, connections: int, seconds: Tuple[float, float]
    ) -> Optional[Wire]:
        """Connections to an address, None where only the library knows the way.

        :param seconds: how long to wait for a connection, and for an answer.
        """
        parts = urlsplit(endpoint)
        if not HAS_URLLIB3 or not parts.hostname or _proxied(parts.scheme, parts.netloc):
            return None
        options: Dict[str, Any] = {"maxsize": connections, "retries": False}
        options["timeout"] = urllib3.Timeout(connect=seconds[0], read=seconds[1])
        if parts.scheme == "https":
            if not ca_file:
                return None  # which authorities are trusted then is the library's affair
            options.update(cert_reqs="CERT_REQUIRED", ca_certs=ca_file)
        pool = urllib3.connectionpool.connection_from_url("%s://%s" % (parts.scheme, parts.netloc), **options)
        return cls(pool, parts.path.rstrip("/"), parts.netloc, region, keys)

    def get(self, bucket: str, key: str, limit: int) -> Optional[Quick]:
        """An object of at most ``limit`` bytes, None if it could not be read just so."""
        answer = self._send("GET", bucket, key, EMPTY, {}, None)
        if answer is None:
            return None
        try:
            size = answer.headers.get("content-length", "")
            if not size.isdigit() or int(size) > limit:
                answer.close()
                return None
            data = answer.read(decode_content=False)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError):
            answer.close()
            return None
        if len(data) != int(size):
            return None
        return Quick(
            data, answer.headers.get("etag", "").strip('"'), _seconds(answer.headers.get("last-modified")), _carried(answer.headers)
        )

    def put(self, bucket: str, key: str, data: bytes, md5: bytes, headers: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
        """Write an object; what the library would answer, None if it was not taken just so."""
        sent = _sendable(headers)
        if sent is None:
            return None
        sent["content-md5"] = base64.b64encode(md5).decode()
        answer = self._send("PUT", bucket, key, hashlib.sha256(data).hexdigest(), sent, data)
        if answer is None:
            return None
        try:
            answer.read()
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError):
            answer.close()
            return None
        found = {"ETag": answer.headers.get("etag", "")}
        encrypted = answer.headers.get("x-amz-server-side-encryption")
        return {**found, "ServerSideEncryption": encrypted} if encrypted else found

    def _send(self, method: str, bucket: str, key: str, sha256: str, headers: Dict[str, str], body: Optional[bytes]) -> Any:
        """The open answer if it is a success."""
        if self._failed > PATIENCE:
            return None
        path = "%s/%s/%s" % (self._path, bucket, quote(key.encode("utf-8", "surrogatepass"), safe="/-_.~"))
        try:
            answer = self._pool.request(
                method, path, body=body, headers=self._signed(method, path, sha256, headers), redirect=False, preload_content=False
            )
        except (urllib3.exceptions.HTTPError, OSError):
            self._failed += 1
            return None
        if answer.status != 200:
            self._failed += 1
            answer.drain_conn()
            answer.release_conn()
            return None
        self._failed = 0
        return answer

    def _signed(self, method: str, path: str, sha256: str, headers: Dict[str, str]) -> Dict[str, str]:
        """The headers with a signature over those that must have one."""
        moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": self._host, "x-amz-content-sha256": sha256, "x-amz-date": moment}
        if self._token:
            signed["x-amz-security-token"] = self._token
        signed.update((name, value) for name, value in headers.items() if name.startswith("x-amz-"))
        names = sorted(signed)
        lines = "".join("%s:%s\n" % (name, signed[name]) for name in names)
        request = "%s\n%s\n\n%s\n%s\n%s" % (method, path, lines, ";".join(names), sha256)
        scope = "%s/%s/s3/aws4_request" % (moment[:8], self._region)
        text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (moment, scope, hashlib.sha256(request.encode()).hexdigest())
        signature = hmac.new(self._key_of(moment[:8]), text.encode(), hashlib.sha256).hexdigest()
        told = (self._access, scope, ";".join(names), signature)
        return {**headers, **signed, "authorization": "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % told}

    def _key_of(self, day: str) -> bytes:
        """What signs the requests of one day."""
        known, key = self._day
        if known != day:
            key = ("AWS4" + self._secret).encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._day = (day, key)
        return key


def _proxied(scheme: str, host: str) -> bool:
    return scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def _seconds(date: Optional[str]) -> int:
    try:
        return int(parsedate_to_datetime(date or "").timestamp())
    except (TypeError, ValueError):
        return 0


def _carried(headers: Mapping[str, str]) -> Dict[str, Any]:
    """What an answer says about its object, by the library's names."""
    found: Dict[str, Any] = {name: headers[theirs] for name, theirs in NAMES.items() if headers.get(theirs)}
    meta = {name.lower()[len(META) :]: value for name, value in headers.items() if name.lower().startswith(META)}
    return {**found, "Metadata": meta} if meta else found


def _sendable(headers: Mapping[str, Any]) -> Optional[Dict[str, str]]:
    """HTTP's headers for what an object carries, None where they need more than their own text."""
    sent = {NAMES[name]: str(value) for name, value in headers.items() if name in NAMES}
    sent.update((META + name.lower(), str(value)) for name, value in (headers.get("Metadata") or {}).items())
    fits = all(_PLAIN.fullmatch(value) and re.fullmatch(r"[a-z0-9_.-]+", name) for name, value in sent.items())
    return sent if fits else None
