# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server's answers mean when they are not success, and which of them pass by themselves."""

from __future__ import annotations

import json
from typing import Mapping, Optional, Sequence

from .errors import EngineError


class ApiError(EngineError):
    """An answer of the API server that is not success.

    :ivar status: the HTTP status, 0 if there was no answer.
    :ivar reason: the Status object's reason ("Conflict", "Invalid"), "" if there was none.
    :ivar message: the server's own words.
    :ivar causes: the Status object's causes: dictionaries with ``reason``, ``message``, ``field``.
    :ivar token: where a list whose snapshot has expired can be gone on with, "" for any other error.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        causes: Sequence[Mapping[str, str]] = (),
        subject: str = "",
        found: str = "",
        next_step: str = "",
        token: str = "",
    ) -> None:
        super().__init__(message, subject=subject, found=found, next_step=next_step)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = tuple(causes)
        self.token = token

    @property
    def not_found(self) -> bool:
        """The object (or the whole kind) is not there."""
        return self.status == 404

    @property
    def webhook_down(self) -> bool:
        """An admission or conversion webhook could not be called: 500 InternalError [facts/engines 0.8]."""
        words = ("failed calling webhook", "failed calling admission webhook", "conversion webhook for")
        return self.status >= 500 and any(word in self.message for word in words)

    @property
    def field_conflict(self) -> bool:
        """Another field manager owns a field that we wanted to set."""
        return self.status == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)


class Unreachable(ApiError):
    """No answer at all: refused, reset, timed out, or the certificate is not trusted."""


def status_error(status: int, body: bytes, subject: str) -> ApiError:
    """An ApiError from an answer; the API server speaks JSON Status objects, proxies do not."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        text = body.decode(errors="replace").strip()[:300] or "HTTP %d" % status
        return ApiError(text, status=status, subject=subject)
    details = answer.get("details") or {}
    next_step = ""
    if status == 401:
        next_step = "the credentials of this kubeconfig are expired or wrong: log in again, or name another context"
    elif status == 403:
        next_step = "ask the cluster's administrator for this verb and resource, or use another context"
    return ApiError(
        answer.get("message") or "HTTP %d" % status,
        status=status,
        reason=answer.get("reason") or "",
        causes=details.get("causes") or (),
        subject=subject,
        next_step=next_step,
        token=(answer.get("metadata") or {}).get("continue") or "",
    )


def may_pass(error: ApiError, wait: Optional[float]) -> bool:
    """Whether the same request may succeed a little later without anybody doing anything.

    429 and 503 are the server's own "not now"; 504 and a lost connection leave open whether the
    request was carried out, which does not matter as all requests may be repeated. A webhook that is
    down is not among them: the caller waits for the webhook, not for luck.
    """
    if isinstance(error, Unreachable):
        return "certificate" not in error.message.lower() and "Name or service not known" not in error.message
    if error.webhook_down:
        return False
    if error.status in (429, 503, 504):
        return True
    return error.status == 500 and (wait is not None or "etcdserver" in error.message)


def plain(problem: BaseException) -> str:
    """The innermost words of a urllib3 exception: "[Errno 111] Connection refused"."""
    inner: Optional[BaseException] = problem
    while inner is not None:
        problem = inner
        inner = getattr(inner, "reason", None) if isinstance(getattr(inner, "reason", None), BaseException) else None
        inner = inner or problem.__cause__
    return str(problem) or type(problem).__name__
