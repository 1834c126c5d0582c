# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this object healthy? One verdict per object, from the object and a few facts about its cluster; no requests.

First match wins: deletion, an object older than our write, kinds whose existence is all there is to wait for, kstatus'
rules for every kind, our additions (:mod:`health_rules`: where kstatus is wrong or blind), the release's own rules
(JMESPath), kstatus' rule for the kind.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Mapping, Optional, Protocol

from . import kstatus as ks
from .errors import MissingLibrary
from .health_rules import ADDITIONS, EXISTENCE_IS_ENOUGH, HealthContext, binding_modes, by_type, ready_services
from .kstatus import Malformed, State, Verdict, current, failed, in_progress, kind_group, kstatus
from .objects import KubeObject, get_path

try:
    import jmespath

    HAS_JMESPATH = True
except ImportError:
    HAS_JMESPATH = False

__all__ = [
    "Expressions",
    "HealthContext",
    "State",
    "Verdict",
    "binding_modes",
    "failed_grace",
    "judge",
    "kstatus",
    "missing",
    "ready_services",
]


class Expressions(Protocol):
    """A release's rule for one kind (``HealthRule`` of the catalogue): JMESPath over the object, "" = none."""

    @property
    def current(self) -> str:
        """True once the object is as it should be."""

    @property
    def failed(self) -> str:
        """True if it will not get there."""

    @property
    def message(self) -> str:
        """What to tell a person meanwhile."""


# --- the release's rules -------------------------------------------------------------------------------------------


class _ExpressionError(Exception):
    """An expression of the release data cannot be used; the text names it."""


@cache
def _compiled(expression: str) -> Any:
    """The expression, compiled once. :raises _ExpressionError: it does not parse."""
    if not HAS_JMESPATH:
        raise MissingLibrary("jmespath", sys.executable)
    try:
        return jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as problem:
        raise _ExpressionError("expression %s: %s" % (expression, _first_line(problem))) from problem


def _first_line(problem: Exception) -> str:
    """The first line of an exception; jmespath draws arrows into the others."""
    return (str(problem).splitlines() or [type(problem).__name__])[0]


def _value(expression: str, obj: KubeObject) -> Any:
    """What the expression yields. :raises _ExpressionError: it does not parse, or does not fit the object."""
    compiled = _compiled(expression)
    try:
        return compiled.search(obj)
    except jmespath.exceptions.JMESPathError as problem:
        raise _ExpressionError("expression %s: %s" % (expression, _first_line(problem))) from problem


def _holds(expression: str, obj: KubeObject) -> bool:
    """Whether the expression is true; null and what is empty is not.

    :raises _ExpressionError: it yields something that only looks true, such as the text "False".
    """
    value = _value(expression, obj) if expression else None
    if value is None or isinstance(value, bool):
        return value is True
    if isinstance(value, (str, list, dict)) and not value:
        return False
    raise _ExpressionError("expression %s: yields a %s, not true or false" % (expression, type(value).__name__))


def _by_release(obj: KubeObject, rule: Expressions) -> Optional[Verdict]:
    """The release's verdict; None where it only says what failure is, and it is not that."""
    try:
        said = _value(rule.message, obj) if rule.message else None
        message = said if isinstance(said, str) else ""
        if _holds(rule.failed, obj):
            return failed("RuleFailed", message or "%s holds" % rule.failed)
        if not rule.current:
            return None
        if _holds(rule.current, obj):
            return current(message or "as its release wants it")
        return in_progress("RuleNotMet", message or "not yet: %s" % rule.current)
    except _ExpressionError as problem:
        return Verdict(State.UNKNOWN, "BadExpression", str(problem))


# --- the verdict ---------------------------------------------------------------------------------------------------


def _older_than_ours(obj: KubeObject, generation: Optional[int]) -> Optional[Verdict]:
    """A read from before our write says nothing about it."""
    found = ks.generation_of(obj)
    if generation is None or found is None or found >= generation:
        return None
    return in_progress("OlderGeneration", "read at generation %d, generation %d was written" % (found, generation))


def _stale_ready(obj: KubeObject) -> Optional[Verdict]:
    """Controllers that note the generation in the condition only (cert-manager) may not have seen ours yet."""
    wanted, ready = ks.generation_of(obj), by_type(obj).get("Ready")
    if wanted is None or not ready or ready.observed_generation is None or ready.observed_generation >= wanted:
        return None
    sentence = "Ready is about generation %d, the object is at %d" % (ready.observed_generation, wanted)
    return in_progress("LatestGenerationNotObserved", sentence)


def _judge(obj: KubeObject, rules: Mapping[str, Expressions], generation: Optional[int], context: HealthContext) -> Verdict:
    kind = kind_group(obj)
    verdict = ks.terminating(obj) or _older_than_ours(obj, generation)
    if not verdict and kind in EXISTENCE_IS_ENOUGH:
        verdict = current("exists, and reports nothing to wait for")
    verdict = verdict or ks.generic(obj)
    if not verdict and kind not in ks.RULES:
        verdict = _stale_ready(obj)
    if not verdict and kind in ADDITIONS:
        verdict = ADDITIONS[kind](obj, context)
    if not verdict and kind in rules:
        verdict = _by_release(obj, rules[kind])
    return verdict or ks.specific(obj, context.now)


def judge(obj: KubeObject, rules: Mapping[str, Expressions], *, generation: Optional[int], context: HealthContext) -> Verdict:
    """The verdict on an object as read from the API.

    :param rules: the release's rules, "Kind.group" -> expressions.
    :param generation: ``metadata.generation`` as returned by our write; None if we did not write it. An older read is
        IN_PROGRESS.
    :returns: FAILED may pass: believe it after :func:`failed_grace`. UNKNOWN names what cannot be read or evaluated.
    :raises MissingLibrary: a rule is to be evaluated and jmespath is not installed.

    A gate that asks whether a kind is *served* uses :func:`kstatus` on its CRD: here a CRD also has to have its
    conversion webhook, which may be what the gate is holding back.
    """
    try:
        return _judge(obj, rules, generation, context)
    except Malformed as problem:
        return Verdict(State.UNKNOWN, "Malformed", str(problem))


def missing(wanted: KubeObject) -> Verdict:
    """The verdict on an object that we wrote and that is not there any more.

    :param wanted: the object as rendered. A Job that removes itself when it has ended has ended.
    """
    if kind_group(wanted) == "Job.batch" and get_path(wanted, "spec.ttlSecondsAfterFinished") is not None:
        return current("ended and removed itself", "TTL")
    return Verdict(State.NOT_FOUND, "NotFound", "not there")


_GRACE: Mapping[str, float] = {
    "JobFailed": 0.0,  # a Job never leaves its final condition
    # Another CustomResourceDefinition has the name; it stays taken until that one is removed
    # [apiextensions-apiserver, pkg/controller/status/naming_controller.go].
    **{part + "Conflict": 5.0 for part in ("Plural", "Singular", "ShortNames", "Kind", "ListKind")},
}


def failed_grace(verdict: Verdict) -> float:
    """For how many seconds a FAILED verdict has to last before it is believed.

    A missed progress deadline, a failed route, a scale target not found yet: they pass while a cluster settles.
    """
    return _GRACE.get(verdict.reason, 60.0)
