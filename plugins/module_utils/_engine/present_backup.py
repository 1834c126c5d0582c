# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups and restores as JSON and as text that fits a terminal."""

from __future__ import annotations

import textwrap
from typing import Any, Dict, List, Mapping, Sequence

from .backing_up import BackupOutcome
from .backups import Listed, Verified
from .manifest import Manifest, Part
from .object_restore import Fate
from .present import error_json
from .restoring import Line, RestoreOutcome

WIDTH = 80
# In the order in which a person wants to know.
_COUNTED = ("objects", "rows", "tables", "kinds", "tenants", "snapshots", "claims")


def size_text(number: float) -> str:
    """Bytes as a person reads them: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return "%d %s" % (number, unit) if unit == "B" else "%.1f %s" % (number, unit)
        number /= 1000.0
    return ""


def _counts(counts: Mapping[str, int]) -> str:
    parts = ["%d %s" % (counts[name], name) for name in _COUNTED if counts.get(name)]
    return ", ".join(parts) or "nothing"


def _stored(part: Part) -> int:
    return sum(file.size for file in part.files)


def part_name(part: Part) -> str:
    """``database/katib``, or the kind alone."""
    return "%s/%s" % (part.kind, part.name) if part.name else part.kind


def manifest_json(manifest: Manifest) -> Dict[str, Any]:
    """A backup in a few figures; the manifest itself has the rest."""
    return {
        "id": manifest.id,
        "cluster": manifest.cluster,
        "release": manifest.release,
        "kubernetes": manifest.kubernetes,
        "encryption": manifest.encryption,
        "state": manifest.state,
        "started": manifest.started,
        "ended": manifest.ended,
        "bytes": sum(map(_stored, manifest.parts)),
        "parts": [
            {"part": part_name(part), "component": part.component, "state": part.state, "counts": dict(part.counts), "bytes": _stored(part)}
            for part in manifest.parts
        ],
    }


def backup_json(outcome: BackupOutcome) -> Dict[str, Any]:
    """``backup.json``'s body."""
    return {
        "backup": manifest_json(outcome.manifest) if outcome.manifest else None,
        "planned": list(outcome.planned),
        "resumed": outcome.resumed,
        "removed": list(outcome.removed),
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }


def backup_plan_text(outcome: BackupOutcome, place: str) -> str:
    """What would be saved."""
    return "\n".join(["would save to %s:" % place, *("  %s" % part for part in outcome.planned)])


def backup_text(outcome: BackupOutcome, place: str) -> str:
    """What was saved, a line for each part."""
    manifest = outcome.manifest
    if manifest is None:
        return "no backup"
    lines = ["backup %s in %s" % (manifest.id, place)]
    lines += ["  %-24s %10s  %s" % (part_name(part), size_text(_stored(part)), _counts(part.counts)) for part in manifest.parts]
    total = size_text(sum(map(_stored, manifest.parts)))
    how = {"": "not encrypted", "age": "encrypted for age recipients", "passphrase": "encrypted with a passphrase"}[manifest.encryption]
    lines.append("  %-24s %10s  %s, %.1f s" % ("all", total, how, sum(outcome.clock.seconds.values())))
    if not any(part.details.get("secrets", True) for part in manifest.parts):
        lines += textwrap.wrap("Values of Secrets and the record are not in it: they are saved only in an encrypted backup.", WIDTH)
    lines += ["removed %s" % one for one in outcome.removed]
    return "\n".join(lines)


# ------------------------------------------------------------------ restore


def _line_json(line: Line) -> Dict[str, Any]:
    return {
        "part": line.part,
        "component": line.component,
        "state": line.state,
        "saved": line.saved,
        "there": line.there,
        "stop": line.stop,
        "objects": dict(line.tally.counts) if line.tally else {},
        "names": dict(line.tally.names) if line.tally else {},
    }


def restore_json(outcome: RestoreOutcome) -> Dict[str, Any]:
    """``restore.json``'s body."""
    return {
        "backup": manifest_json(outcome.manifest) if outcome.manifest else None,
        "parts": [_line_json(line) for line in outcome.lines],
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }


def would_change(outcome: RestoreOutcome) -> bool:
    """Whether anything is left to put back."""
    for line in outcome.lines:
        if line.kind != "objects" and line.state == "planned":
            return True
        if line.tally is not None and line.tally.of(Fate.CREATE, Fate.REPLACE):
            return True
    return False


def restore_text(outcome: RestoreOutcome, check: bool) -> str:
    """The plan, or what was done, a line for each part and the first names of what needs a look."""
    if outcome.manifest is None:
        return ""
    lines = ["%s backup %s of %s" % ("would restore" if check else "restore of", outcome.manifest.id, outcome.manifest.ended)]
    for line in outcome.lines:
        lines += _restore_lines(line)
    if not check and not outcome.errors:
        lines.append("done in %.1f s" % sum(outcome.clock.seconds.values()))
    return "\n".join(lines)


def _restore_lines(line: Line) -> List[str]:
    found = ["  %-24s %s" % (line.part, _counts(line.saved))]
    if line.tally is not None:
        words = {Fate.CREATE: "to make", Fate.SAME: "there already", Fate.DIFFERENT: "there, and different: left as they are"}
        words.update({Fate.REPLACE: "to replace", Fate.NOT_SERVED: "of kinds that are not served", Fate.ORPHAN: "without their owner"})
        found += ["    %6d %s" % (line.tally.of(fate), text) for fate, text in words.items() if line.tally.of(fate)]
        for fate in (Fate.DIFFERENT, Fate.NOT_SERVED, Fate.ORPHAN):
            found += ["      %s %s" % (fate.value, name) for name in line.tally.names.get(fate.value, [])[:5]]
    elif any(line.there.values()):
        found.append("    in the cluster now: %s" % _counts(line.there))
    if line.stop:
        found += textwrap.wrap("STOP: %s" % line.stop, WIDTH, initial_indent="    ", subsequent_indent="    ")
    elif line.state == "left":
        found += textwrap.wrap(line.next_step, WIDTH, initial_indent="    left: ", subsequent_indent="    ")
    return found


def listing_text(found: Sequence[Listed], checks: Sequence[Verified], problems: Sequence[str], place: str) -> str:
    """The backups of a place, the newest first; then what is wrong with them."""
    read = {check.id: check for check in checks}
    lines = ["%d backups in %s" % (len(found), place)]
    for one in found:
        manifest = one.manifest
        state = "broken" if one.problem or manifest is None else "done" if manifest.complete else manifest.state
        check = read.get(one.id)
        if check is not None:
            state = "broken" if check.problems else "whole" if check.opened else "whole, not opened"
        release = manifest.release if manifest is not None else "?"
        lines.append("%-40s %-8s %10s  %s" % (one.id, release, size_text(one.size), state))
    return "\n".join([*lines, *problems])
