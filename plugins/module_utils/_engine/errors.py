# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that users see, and how it reads."""

from __future__ import annotations

from typing import Optional, TypeVar

T = TypeVar("T")


class EngineError(Exception):
    """Something a person has to know: first cause first, then what to do.

    :param cause: the first cause, without the subject ("cannot pull image registry.site/x:1").
    :param subject: the full name of the object or file it is about ("Deployment.apps kubeflow/x").
    :param expected: what should have been there.
    :param found: what was there.
    :param next_step: one sentence that says what the reader can do now.
    :param component: the component it stopped, if it belongs to one.
    """

    def __init__(
        self,
        cause: str,
        *,
        subject: str = "",
        expected: str = "",
        found: str = "",
        next_step: str = "",
        component: str = "",
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.subject = subject
        self.expected = expected
        self.found = found
        self.next_step = next_step
        self.component = component

    def __str__(self) -> str:
        """The whole story, a line each."""
        head = ": ".join(part for part in (self.component, self.subject, self.cause) if part)
        lines = [head]
        if self.expected:
            lines.append("  Expected: %s" % self.expected)
        if self.found:
            lines.append("  Found: %s" % self.found)
        if self.next_step:
            lines.append("  Next: %s" % self.next_step)
        return "\n".join(lines)


class MissingLibrary(EngineError):
    """A Python library that the collection needs is not installed."""

    def __init__(self, library: str, interpreter: str) -> None:
        super().__init__(
            "the Python library %s is missing" % library,
            subject=interpreter,
            next_step="run '%s -m pip install %s'" % (interpreter, library),
        )


def sure(value: Optional[T]) -> T:
    """A value of which the caller knows that it is there; a mistake of ours otherwise."""
    if value is None:
        raise RuntimeError("a value that must be there is None")
    return value
