# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from one release to another, planned without a cluster: releases are rendered and compared, hop by hop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, Mapping, Set, Tuple

from .catalogue import Catalogue, Release
from .comparing import compare
from .errors import EngineError, sure
from .hop_report import HopPlan
from .hops import path
from .linting import Lint, lint
from .overlay import Declaration
from .planning import Verdict
from .progress import Progress
from .redaction import Redactor, Scrubbed, learn_all
from .rendering import Render, Unmatched
from .session import Chosen, Clock, Request, choose, declared, render_chosen
from .verdicts import Notice


@dataclass(frozen=True)
class Site:
    """One release as a site would have it.

    :ivar unmatched: what the site's variables change and the release does not have, by the name of the variable.
    """

    chosen: Chosen
    render: Render
    unmatched: Mapping[str, Unmatched] = field(default_factory=dict)

    @property
    def components(self) -> Set[str]:
        """The names of what is installed."""
        return {component.name for component in self.chosen.desired}


class OfflinePlanner:
    """Plans a change of releases from release data and renders alone.

    :param request: ``version`` is the release to get to; cluster and kubeconfig are not looked at.
    :param source: the release to start from.
    :param acks: what a person said yes to.
    """

    def __init__(self, request: Request, source: str, acks: Tuple[str, ...], progress: Progress) -> None:
        self.request = request
        self.redactor = Redactor()
        self.clock = Clock()
        self.release = ""
        self._source, self._acks = source, acks
        self._progress = Scrubbed(progress, self.redactor)
        self._catalogue = Catalogue.load([Path(item).expanduser() for item in request.release_dirs])
        for given in request.declarations.values():
            for patch in given.get("patches") or []:
                self.redactor.learn_value(patch)

    def run(self) -> Tuple[HopPlan, ...]:
        """The hops of the way with their plans, in order.

        :raises EngineError: an unknown release or component, no way, sources that cannot be had, a wrong patch.
        """
        target = self._catalogue.release(self.request.version or self._catalogue.newest)
        self.release = target.name
        way = path(self._catalogue, self._catalogue.release(self._source).name, target.name)
        if not way:
            raise EngineError(
                "both ends of the way are the same release",
                subject="kubeflow_plan_from %s" % self._source,
                next_step="name a newer one in kubeflow_version, or leave kubeflow_plan_from out to plan for a cluster",
            )
        releases = [self._catalogue.release(self._source), *way]
        choices = [self._chosen(release, target) for release in releases]
        sites = [self._render(chosen) for chosen in choices]
        for name, problem in sites[-1].unmatched.items():
            if all(name in site.unmatched for site in sites):
                raise problem  # it is no patch for another release, but a wrong one
        self.clock.lap("render")
        hops = tuple(self._compare(before, after) for before, after in zip(sites, sites[1:]))
        self.clock.lap("plan")
        return hops

    def _chosen(self, release: Release, target: Release) -> Chosen:
        """What the site has of a release: of the target what was asked for, of the others the same as far as they have it.

        A component that the target has no more is taken to be installed where upstream installs it.
        """
        if release is target:
            chosen = choose(self.request)
            left_out = {one.name for one in chosen.desired} - {one.name for one in chosen.scope}
            if left_out:
                raise EngineError(
                    "a release changes as a whole",
                    subject="kubeflow_plan_from %s" % self._source,
                    found="without %s" % ", ".join(sorted(left_out)),
                    next_step="plan without --tags and --skip-tags",
                )
            return chosen
        asked = self.request.components
        if not isinstance(asked, str):
            gone = [one.name for one in release.components.values() if one.default and one.name not in target.components]
            asked = tuple(name for name in asked if name in release.components or name in ("default", "all")) + tuple(gone)
        return choose(replace(self.request, version=release.name, components=asked, add_dependencies=True, scope=()))

    def _render(self, chosen: Chosen) -> Site:
        """Render with the site's variables; what they change and the release does not have is left out and noted."""
        sites = declared(self.request, chosen.scope)
        for site in sites.values():
            for patch in site.patches:
                self.redactor.learn_patch(patch)
        unmatched: Dict[str, Unmatched] = {}
        while True:
            try:
                rendered = render_chosen(self.request, chosen, self._progress, sites)
                break
            except Unmatched as problem:
                if problem.subject in unmatched:
                    raise
                unmatched[problem.subject] = problem
                sites = {**sites, problem.component: without(sites[problem.component], problem.subject)}
        learn_all(self.redactor, (item.obj for item in rendered.objects.values()))
        return Site(chosen, rendered, unmatched)

    def _compare(self, before: Site, after: Site) -> HopPlan:
        source, target = before.chosen.release, after.chosen.release
        plan = compare(source, before.render, target, after.render, self.request.policy)
        lost = [problem for name, problem in after.unmatched.items() if name not in before.unmatched]
        plan = replace(plan, notices=(*plan.notices, *(_notice(problem) for problem in lost)))
        installed = frozenset(before.components)
        lints: Tuple[Lint, ...] = ()
        if self.request.lint != "off":
            lints = lint({ref: (item.component, item.obj) for ref, item in after.render.objects.items()})
        return HopPlan(source.name, target.name, plan, sure(target.hop), self.request.policy, installed, self._acks, lints=lints)


def without(site: Declaration, origin: str) -> Declaration:
    """A component's declaration without the patch, image or replica count that is called so in errors."""
    return replace(
        site,
        patches=tuple(patch for patch in site.patches if patch.origin != origin),
        images={name: image for name, image in site.images.items() if origin != "%s_images['%s']" % (site.component, name)},
        replicas={name: count for name, count in site.replicas.items() if origin != "%s_replicas['%s']" % (site.component, name)},
    )


def _notice(problem: Unmatched) -> Notice:
    reason = "%s: %s after the hop" % (problem.subject, problem.cause)
    return Notice(problem.about, problem.component, Verdict.PATCH_UNMATCHED, reason)
