# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to an object store that speaks S3, and what the store's answers mean. No text of ours holds a key of it."""

from __future__ import annotations

import datetime
import os
import re
import sys
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple, Type
from urllib.parse import urlsplit

from .errors import EngineError, MissingLibrary
from .s3_wire import Wire

try:
    import botocore.exceptions as trouble
    import botocore.session
    import botocore.utils
    import urllib3.exceptions
    from botocore.config import Config

    # What the library raises while it sends a request, and while a body is read.
    TROUBLE: Tuple[Type[Exception], ...] = (trouble.BotoCoreError, trouble.ClientError, urllib3.exceptions.HTTPError, OSError)
    HAS_BOTOCORE = True
except ImportError:
    TROUBLE = (OSError,)
    HAS_BOTOCORE = False

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 10, 60, 5
CONNECTIONS = 32
SETTINGS = ("endpoint", "region", "access_key", "secret_key", "session_token", "ca_file", "connections")

# The store's error codes, what they mean, and what to do.
_MEANINGS: Tuple[Tuple[Tuple[str, ...], str, str], ...] = (
    (
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidClientTokenId", "401", "Unauthorized"),
        "the store does not accept these keys",
        "check access_key and secret_key: they may be those of another store, or were changed",
    ),
    (("NoSuchBucket",), "there is no such bucket", "make the bucket, or set the name of one that is there"),
    (
        ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"),
        "the store denies this with these keys",
        "let these keys list, read, write and delete in the bucket, or set other keys",
    ),
    (("NoSuchKey",), "the object is not there", "run again; if it is part of a backup, use another backup"),
    (("404", "NotFound"), "it is not there", "check the names of the bucket and of the object"),
    (("NoSuchUpload",), "the store forgot an upload that was not finished", "run again"),
    (("RequestTimeTooSkewed",), "the clocks of this machine and of the store differ", "set both clocks"),
    (
        ("QuotaExceeded", "XMinioStorageFull", "XMinioBucketQuotaExceeded", "InsufficientStorage", "507"),
        "the store is full",
        "give it more space or delete what is not needed, and run again",
    ),
    (
        ("SlowDown", "ServiceUnavailable", "InternalError", "XMinioServerNotInitialized", "500", "502", "503", "504"),
        "the store cannot answer now",
        "look at the store's own log, and run again when it is well",
    ),
    (
        ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        "the bucket is in another region",
        "set region to that of the bucket",
    ),
    (
        (
            "XMinioInvalidObjectName",
            "XMinioInvalidResourceName",
            "InvalidObjectName",
            "KeyTooLongError",
            "InvalidURI",
            "InvalidPathParameter",
        ),
        "the store cannot keep an object of this name",
        "rename this object in the source",
    ),
    (
        ("XMinioObjectExistsAsDirectory", "XMinioParentIsObject", "ExistingObjectIsDirectory", "ExistingObjectIsFile"),
        "the store cannot keep an object of this name beside one that is there",
        "rename one of them: for this store one's name is a folder of the other's",
    ),
    (
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"),
        "it arrived otherwise than it was sent",
        "run again; if it happens again, look at the network between here and the store",
    ),
    (("PreconditionFailed", "412"), "it was changed while it was read", "stop what writes it, and run again"),
)


class S3Error(EngineError):
    """An answer of the store that is not success, or none.

    :ivar code: the store's code ("NoSuchKey"), "" if there was no answer.
    """

    def __init__(self, cause: str, *, code: str = "", subject: str = "", expected: str = "", found: str = "", next_step: str = "") -> None:
        super().__init__(cause, subject=subject, expected=expected, found=found, next_step=next_step)
        self.code = code

    @property
    def missing(self) -> bool:
        """The object is not there."""
        return self.code in ("NoSuchKey", "404", "NotFound")

    @property
    def changed(self) -> bool:
        """The object is another one than it was."""
        return self.code in ("PreconditionFailed", "412")


# ------------------------------------------------------------------ connecting


@dataclass(frozen=True)
class Client:
    """A connection to one store, for any number of threads. ``where`` is its address."""

    api: Any = field(repr=False)
    where: str
    hidden: Tuple[str, ...] = field(default=(), repr=False)
    wire: Optional[Wire] = field(default=None, repr=False)

    def call(self, operation: str, subject: str, **parameters: Any) -> Any:
        """One request, repeated by the library while the store says that it is busy.

        :raises S3Error: in our words.
        """
        try:
            return getattr(self.api, operation)(**parameters)
        except TROUBLE as problem:
            raise self.explained(problem, subject) from problem

    def explained(self, problem: Exception, subject: str) -> S3Error:
        """The library's error in our words, without keys."""
        told = _meaning(problem, subject, self.where)
        for secret in self.hidden:
            told.found = told.found.replace(secret, "***")
        return told


@dataclass(frozen=True)
class Bucket:
    """One bucket. ``where`` is its full name for a person: "bucket mlpipeline at http://minio:9000"."""

    client: Client
    name: str
    where: str = ""

    def __str__(self) -> str:
        return self.where or "bucket %s at %s" % (self.name, self.client.where)

    def object(self, key: str) -> str:
        """An object's full name; what is no printable character in its key is escaped."""
        shown = key if key.isprintable() else repr(key)[1:-1]
        return "object %s in %s" % (shown if len(shown) <= 200 else shown[:200] + "...", self)

    def call(self, operation: str, key: str = "", **parameters: Any) -> Any:
        """One request about the bucket, or with ``key`` about an object.

        :raises S3Error: in our words.
        """
        subject = self.object(key) if key else str(self)
        if key:
            parameters["Key"] = key
        return self.client.call(operation, subject, Bucket=self.name, **parameters)


def connect(settings: Mapping[str, Any]) -> Client:
    """A client; nothing is sent yet.

    :param settings: endpoint ("http://minio.kubeflow:9000", "" for Amazon's), region, access_key, secret_key (without keys
        the library looks where it always does), session_token, ca_file, connections.
    :raises EngineError: a setting is unknown or cannot be used.
    """
    if not HAS_BOTOCORE:
        raise MissingLibrary("botocore", sys.executable)
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise EngineError("there is no such setting of an object store: %s" % unknown[0], expected="one of " + ", ".join(SETTINGS))
    told = {name: str(settings.get(name) or "") for name in SETTINGS}
    endpoint = _endpoint(told["endpoint"])
    where = endpoint or "Amazon S3"
    if bool(told["access_key"]) != bool(told["secret_key"]):
        raise EngineError("one of the two keys is missing", subject=where, next_step="set both access_key and secret_key, or none")
    ca_file = os.path.expanduser(told["ca_file"])
    if ca_file and not os.path.isfile(ca_file):
        raise EngineError("there is no such file of certificates", subject=ca_file, next_step="set ca_file to the right file")
    keys = (told["access_key"], told["secret_key"], told["session_token"])
    try:
        connections = int(told["connections"] or CONNECTIONS)
        session = botocore.session.get_session()
        # The library's own way to read times takes longer than all else that it does with a list.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        api = session.create_client(
            "s3",
            endpoint_url=endpoint or None,
            region_name=told["region"] or session.get_config_variable("region") or "us-east-1",
            verify=ca_file or None,
            aws_access_key_id=keys[0] or None,
            aws_secret_access_key=keys[1] or None,
            aws_session_token=keys[2] or None,
            config=_config(connections),
        )
    except (trouble.BotoCoreError, ValueError) as problem:
        raise EngineError("the settings of the object store cannot be used", subject=where, found=type(problem).__name__) from problem
    wire = Wire.of(endpoint, api.meta.region_name, keys, ca_file, connections, (CONNECT_SECONDS, READ_SECONDS)) if keys[0] else None
    # A short access key ("minio") is a name as well, and would be found in what is no secret.
    hidden = tuple(key for key in keys if key and (key != keys[0] or len(key) >= 8))
    return Client(api, where, hidden, wire)


def _moment(text: Any) -> Any:
    """A time as lists and headers have it."""
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return botocore.utils.parse_timestamp(text)


def _endpoint(text: str) -> str:
    """The address, checked; what is wrong with it is said without quoting what may be a password."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.username is not None or parts.password is not None or parts.query:
        raise EngineError(
            "the address of the object store cannot be used",
            expected='"http://host:port" or "https://host:port", without keys in it',
            next_step="set endpoint to its address, and the keys as access_key and secret_key",
        )
    return text.rstrip("/")


def _config(connections: int) -> Any:
    options: Dict[str, Any] = {
        "s3": {"addressing_style": "path"},  # a store in a cluster has one name, not one for each bucket
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "max_pool_connections": connections,
        "user_agent_extra": "mlplatform.kubeflow",
    }
    # Libraries of 2025 and later send checksums in a form that older stores do not know; we send MD5, which all know.
    if "request_checksum_calculation" in Config.OPTION_DEFAULTS:
        options.update(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    return Config(**options)


def _meaning(problem: Exception, subject: str, where: str) -> S3Error:
    """What the library's error means, and what to do."""
    if isinstance(problem, trouble.ClientError):
        error = problem.response.get("Error", {})
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        found = "%s: %s" % (code, message) if message else code
        for codes, cause, next_step in _MEANINGS:
            if code in codes:
                return S3Error(cause, code=code, subject=subject, found=found, next_step=next_step)
        return S3Error("the store refuses it", code=code, subject=subject, found=found, next_step="look at the store's own log")
    if isinstance(problem, (trouble.NoCredentialsError, trouble.PartialCredentialsError)):
        return S3Error("no keys of the store were given", subject=subject, next_step="set access_key and secret_key")
    if isinstance(problem, trouble.SSLError):
        return _untrusted(str(problem), subject, where)
    if isinstance(problem, trouble.ParamValidationError):
        return S3Error("the library refuses it", subject=subject, found=" ".join(str(problem).split())[:300])
    return S3Error(
        "no answer from %s: %s" % (where, first_cause(problem)),
        subject=subject,
        next_step="check that the address is right and that the store runs and can be reached from here; then run again",
    )


def _untrusted(text: str, subject: str, where: str) -> S3Error:
    if "certificate verify failed" in text:
        reason = re.search(r"certificate verify failed: ([^(]*)", text)
        return S3Error(
            "the certificate of %s is not trusted" % where,
            subject=subject,
            found=reason.group(1).strip() if reason else "",
            next_step="set ca_file to the certificate of the authority that signed it; the address must be one that it names",
        )
    return S3Error(
        "%s does not speak TLS as expected" % where,
        subject=subject,
        found=text.rsplit("[", 1)[-1].split("]")[0] if "[" in text else "",
        next_step="if it serves plain HTTP, set endpoint to http://...",
    )


def first_cause(problem: BaseException) -> str:
    """The first cause of a failed connection in a few words, without the address."""
    inner: Any = getattr(problem, "kwargs", {}).get("error") or problem
    words = re.sub(r"\s+", " ", str(getattr(inner, "reason", None) or inner))
    if "http" in words:  # the library quotes the whole address with its query
        words = words.split(': "http')[0].split(" to the endpoint URL")[0].split(" on endpoint URL")[0]
    return words.rsplit(": ", 1)[-1].strip(" .)'")[:200] or type(problem).__name__
