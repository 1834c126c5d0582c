# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``images`` module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Mapping, Optional

from ._arguments import request
from ._engine.errors import EngineError
from ._engine.images import find
from ._engine.present_images import images_json, images_text
from ._engine.progress import Progress
from ._engine.redaction import Redactor
from ._engine.results import Results
from ._engine.session import choose, declared, render_chosen
from ._operations import Answer, told


@told
def run_images(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``images`` module: render what a site has of a release, and say which images it can ever pull. No cluster is asked."""
    asked = replace(request(arguments, cluster), registry=None)  # where they come from is the question
    results = Results(arguments.get("results_dir") or "", "images", asked.run_id, {"cluster": asked.cluster})
    results.start()
    redactor = Redactor()
    try:
        chosen = choose(asked)
        sites = declared(asked, chosen.scope)
        for site in sites.values():
            for patch in site.patches:
                redactor.learn_patch(patch)
        rendered = render_chosen(asked, chosen, progress, sites)
    except EngineError as error:
        for given in asked.declarations.values():
            redactor.learn_value(given)
        results.finish("failed", {"release": "", "images": []})
        return {"changed": False, "failed": True, "msg": redactor.scrub(str(error))}
    names = {one.name for one in chosen.scope}
    compiled = [one for one in chosen.release.compiled_images if one.component in names]
    uses = find({ref: (item.component, item.obj) for ref, item in rendered.objects.items()}, compiled)
    images = redactor.scrub_all(images_json(uses))
    results.finish("ok", {"release": chosen.release.name, "images": images})
    return {
        "changed": False,
        "failed": False,
        "release": chosen.release.name,
        "images": images,
        "results": results.path,
        "msg": redactor.scrub(images_text(chosen.release.name, uses, results.path)),
    }
