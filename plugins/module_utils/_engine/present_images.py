# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as people and programs read them: a short text of 80 columns, and the body of ``images.json``."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from .images import Use, Where, registry_of
from .present_plan import WIDTH, wrapped

# How many places of an image that cannot be relied on are shown.
SHOWN = 3


def images_json(uses: Sequence[Use]) -> List[Dict[str, Any]]:
    """Every image with all its places."""
    return [
        {
            "reference": use.reference,
            "registry": registry_of(use.reference),
            "floating": use.floating,
            "places": [
                {"component": one.component, "object": one.object, "path": one.path, "where": one.where.value} for one in use.places
            ],
        }
        for use in uses
    ]


def images_text(release: str, uses: Sequence[Use], path: str) -> str:
    """How many of which registry, how many a search for ``image:`` fields would miss, and which cannot be relied on."""
    hidden = [use for use in uses if all(place.where is not Where.FIELD for place in use.places)]
    lines = wrapped("Kubeflow %s: %d images, %d of them named by no field of a pod or resource" % (release, len(uses), len(hidden)), 2)
    counts: Dict[str, int] = {}
    for use in uses:
        registry = registry_of(use.reference)
        counts[registry] = counts.get(registry, 0) + 1
    lines += ["  %-40s %5d" % (registry, count) for registry, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    floating = [use for use in uses if use.floating]
    if floating:
        lines.append("without a tag, or latest: what they are may change any time")
    for use in floating:
        lines.append(("  " + use.reference)[:WIDTH])
        for place in use.places[:SHOWN]:
            lines += wrapped("    in %s" % " ".join(part for part in (place.object, place.path) if part), 6)
    if path:
        lines.append("all with their places: %s" % path)
    return "\n".join(lines)
