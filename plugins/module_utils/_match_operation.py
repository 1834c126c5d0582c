# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``match_info`` module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from ._arguments import request
from ._engine.api import Api
from ._engine.catalogue import Catalogue
from ._engine.matching import Match, match
from ._engine.progress import Progress
from ._engine.results import Results
from ._engine.session import choose, render_chosen
from ._operations import Answer, told

NAMED = 8


def _match_json(one: Match) -> Dict[str, Any]:
    return {
        "release": one.release,
        "score": round(one.score, 4),
        "objects": one.objects,
        "present": one.present,
        "images": one.images,
        "same_images": one.same,
        "missing": [str(ref) for ref in one.missing],
        "other_images": {
            str(ref): [{"release": ours, "cluster": theirs} for ours, theirs in pairs] for ref, pairs in one.other_images.items()
        },
    }


def match_text(found: Sequence[Match]) -> str:
    """A table of the releases, and of the best one what is missing or has another image."""
    best = found[0]
    if not best.present:
        return "Nothing of any known release is in this cluster."
    lines = ["%-10s %20s %20s" % ("release", "objects there", "images the same")]
    lines += ["%-10s %13d of %4d %13d of %4d" % (one.release, one.present, one.objects, one.same, one.images) for one in found]
    lines.append("This cluster is most like Kubeflow %s." % best.release)
    lines += _listed("not there", [str(ref) for ref in best.missing])
    lines += _listed(
        "with another image", ["%s: %s" % (ref, pairs[0][1] or "no such container") for ref, pairs in best.other_images.items()]
    )
    lines.append("Next: set kubeflow_version to %s and kubeflow_adopt to [all], and look at the plan: it says" % best.release)
    lines.append("what the server would change in every object. Then run site.")
    return "\n".join(lines)


def _listed(head: str, names: Sequence[str]) -> Sequence[str]:
    if not names:
        return []
    more = ["    and %d more" % (len(names) - NAMED)] if len(names) > NAMED else []
    return ["  %s:" % head, *["    " + name for name in names[:NAMED]], *more]


@told
def run_match(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``match_info`` module: render every known release as upstream has it, and compare."""
    asked = request(arguments, cluster)
    results = Results(arguments.get("results_dir") or "", "match", asked.run_id, {"cluster": asked.cluster})
    results.start()
    api = Api.connect(asked.kubeconfig, asked.context)
    catalogue = Catalogue.load([Path(item).expanduser() for item in asked.release_dirs])
    renders = {}
    for name in catalogue.names:
        one = replace(asked, version=name, components="default", scope=(), declarations={}, registry=None)
        rendered = render_chosen(one, choose(one), progress)
        renders[name] = {ref: item.obj for ref, item in rendered.objects.items()}
    found = match(api, renders)
    best = found[0].release if found[0].present else ""
    results.finish("ok", {"release": best, "matches": [_match_json(one) for one in found], "requests": api.traffic.total})
    return {
        "changed": False,
        "failed": False,
        "release": best,
        "matches": [{key: value for key, value in _match_json(one).items() if key not in ("missing", "other_images")} for one in found],
        "results": results.path,
        "msg": match_text(found),
    }
