# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift as people and programs read it: a table of 80 columns, and the body of ``drift.json``."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from .drifting import CHANGED, KINDS, RECREATED, REMOVED, STALE_CA, Drift, FieldDrift, Writer
from .present_plan import FIELDS, WIDTH, counted, short, wrapped

HEAD = "  %-20s%-18s %s"
WORDS = {CHANGED: "changed", RECREATED: "recreated", REMOVED: "removed", STALE_CA: "with a caBundle that does not fit"}


def drift_summary(found: Sequence[Drift], compared: int, pending: int) -> str:
    """Drift in one sentence."""
    parts = ["%d %s" % (count, WORDS[kind]) for kind, count in counts(found).items() if count]
    head = "%s, %d not as we left them" % (counted(compared), len(found)) if found else "%s, all as we left them" % counted(compared)
    more = "; site would write %d more, because what we want changed" % pending if pending else ""
    return "%s%s%s" % (head, ": " + ", ".join(parts) if parts else "", more)


def counts(found: Sequence[Drift]) -> Dict[str, int]:
    """How many objects drifted in each way."""
    return {kind: sum(1 for one in found if one.what == kind) for kind in KINDS}


def drift_text(found: Sequence[Drift], compared: int, pending: int) -> str:
    """The table: an object with what happened to it, then its fields: when, who, what it is and what we want."""
    lines = wrapped(drift_summary(found, compared, pending), 2)
    if found:
        lines.append(HEAD % ("last written (UTC)", "by", "field: what it is, and what we want"))
    for one in found:
        lines += wrapped("%-17s %-10s %s%s" % (one.component, one.what, _name(one), _why(one)), 6)
        for field in one.fields[:FIELDS]:
            lines += _field_lines(field)
        if len(one.fields) > FIELDS:
            lines.append("      and %d more fields" % (len(one.fields) - FIELDS))
    steps: Dict[str, int] = {}
    for one in found:
        steps[one.next_step] = steps.get(one.next_step, 0) + 1
    for step, count in steps.items():
        lines += wrapped("Next, for %s: %s" % (counted(count), step), 2)
    return "\n".join(lines)


def _name(one: Drift) -> str:
    """In full where kubeflow_conflicts may have to name it."""
    return str(one.ref) if one.what == CHANGED else short(one.ref)


def _why(one: Drift) -> str:
    """What the fields below do not say themselves."""
    if one.what == RECREATED and one.since:
        return ": made anew at %s" % _moment(one.since)
    return ": " + one.reason if one.what == STALE_CA or (one.what == CHANGED and not one.fields) else ""


def _field_lines(field: FieldDrift) -> List[str]:
    writer = field.writer or field.suspect
    who = "-" if writer is None else writer.manager if field.writer else "%s?" % writer.manager
    change = "%s: %s, we want %s" % (field.path, field.found, field.wanted)
    line = HEAD % (_moment(writer.time) if writer else "-", who, change)
    if len(line) <= WIDTH:
        return [line]
    return [(HEAD % (_moment(writer.time) if writer else "-", who, "")).rstrip(), *wrapped("      " + change, 6)]


def _moment(time: str) -> str:
    """``2026-01-02 03:04:05`` of what the API server writes."""
    return time.replace("T", " ").rstrip("Z") or "-"


def drift_json(found: Sequence[Drift], compared: int, pending: int) -> Dict[str, Any]:
    """``drift.json``'s body."""
    return {
        "drifted": bool(found),
        "summary": drift_summary(found, compared, pending),
        "counts": counts(found),
        "compared": compared,
        "pending": pending,
        "objects": [
            {
                "object": str(one.ref),
                "component": one.component,
                "what": one.what,
                "reason": one.reason,
                "since": one.since,
                "fields": [_field_json(field) for field in one.fields],
                "next_step": one.next_step,
            }
            for one in found
        ],
    }


def _field_json(field: FieldDrift) -> Dict[str, Any]:
    return {
        "path": field.path,
        "found": field.found,
        "wanted": field.wanted,
        "writer": _writer_json(field.writer),
        "suspect": _writer_json(field.suspect),
    }


def _writer_json(writer: Optional[Writer]) -> Optional[Dict[str, str]]:
    if writer is None:
        return None
    return {"manager": writer.manager, "operation": writer.operation, "time": writer.time, "subresource": writer.subresource}
