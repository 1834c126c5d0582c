# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules of a run share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments; the specs are in C(module_utils/_arguments.py)."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - Name of the cluster in progress lines and results.
      - Default is the inventory's name of the host.
    type: str
  version:
    description:
      - The Kubeflow release, a name of the release data.
      - Default is the newest one that the collection knows.
    type: str
  components:
    description:
      - The desired set of the cluster, V(default), V(all) or a list of components.
      - Without O(add_dependencies) a component that another one needs has to be in it.
    type: raw
    default: default
  scope:
    description:
      - The components that this run touches, a part of O(components).
      - Default is all of them.
    type: list
    elements: str
    default: []
  add_dependencies:
    description: Whether components that others need are added to the desired set.
    type: bool
    default: false
  declarations:
    description:
      - What the components' roles were told, a dictionary of components with the keys C(patches), C(images) and C(replicas).
      - Values in it that look secret are masked in everything that is shown or kept.
    type: dict
    default: {}
  mirror:
    description:
      - Folder or address below which upstream's archives are found, laid out like their public addresses.
      - Default is the public addresses themselves.
    type: str
  registry:
    description:
      - The registry that every image is pulled from, with a path if it has one (V(registry.site:5000/mlops)). Every place of every image is
        rewritten, and what still names another registry ends the run.
      - Default is where upstream has them.
    type: str
  registry_layout:
    description:
      - What of an image's name is kept in O(registry). V(path) is the path without the host (C(kubeflow/kfp-driver)), V(host) is both
        (C(ghcr.io/kubeflow/kfp-driver)), V(flat) is the path in one part (C(kubeflow-kfp-driver)).
    type: str
    default: path
    choices: [path, host, flat]
  registry_exceptions:
    description: Beginnings of names that lie elsewhere, with what stands in their place; the longest that fits counts.
    type: dict
    default: {}
  cache_dir:
    description: Folder for sources, tools and renders; it may be shared by clusters and runs.
    type: path
    default: ~/.cache/mlplatform.kubeflow
  kustomize:
    description: Path of the kustomize binary; V(auto) looks on the path and in the cache, then downloads or builds it.
    type: str
    default: auto
  release_dirs:
    description: More folders with release data.
    type: list
    elements: path
    default: []
  progress:
    description: Whether progress is shown; V(auto) shows it on a terminal.
    type: str
    default: auto
    choices: [auto, always, never]
"""

    ENGINE = r"""
attributes:
  check_mode:
    description: Can run in check mode and say what would change, without changing anything.
  diff_mode:
    description: Returns what changed, or would change in check mode.
  idempotent:
    description: Run again with the same arguments and nothing else changed, it changes nothing.
notes:
  - The action of the same name runs on the controller, in the process of ansible-playbook; it refuses C(become) and C(async).
requirements:
  - kubernetes
  - PyYAML
  - jmespath
author:
  - mlplatform.kubeflow contributors (@mlplatform)
"""

    CLUSTER = r"""
options:
  kubeconfig:
    description: Path of the kubeconfig file; default is what kubectl would take.
    type: path
  context:
    description: Context of the kubeconfig file; default is its current one.
    type: str
  results_dir:
    description: Folder for the result files of this cluster; default is to keep none.
    type: path
  conflicts:
    description:
      - What happens where another field manager owns a field that we want to set.
      - V(fail) names it and stops, V(ours) takes the field, V(theirs) leaves it.
      - A dictionary decides by object, its key being the full name (V(Deployment.apps kubeflow/ml-pipeline)), with the key
        C(default) for all others.
    type: raw
    default: fail
  adopt:
    description:
      - Components whose objects may be taken over though we did not write them, or V(all).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that one component may take from its first write until it is healthy.
    type: int
    default: 900
  lint:
    description:
      - What happens with what is wrong in the release itself, such as mixed versions inside a component, a webhook that fails closed
        without a back end, or a disruption budget that lets no node be drained.
      - V(warn) names it in the plan, V(refuse) stops before anything is written, V(off) does not look.
    type: str
    default: warn
    choices: [warn, refuse, "off"]
  lint_accept:
    description: Findings that are not refused, by their names (V(mixed-versions:istio)).
    type: list
    elements: str
    default: []
  revisions:
    description:
      - How many revisions the cluster keeps to go back to; the oldest goes when a new one is written. V(0) writes none.
      - One is written when all is healthy and something was wanted otherwise than in the newest one. It holds no secret.
    type: int
    default: 5
  lock_timeout:
    description: Seconds to wait for another run that writes to the same cluster; V(0) says at once who it is.
    type: int
    default: 600
"""

    HOP = r"""
options:
  acks:
    description:
      - What a person says yes to, by name. A hop that leaves data behind names what it asks for, and stops before its first write
        until the name is here.
    type: list
    elements: str
    default: []
  backup_max_age:
    description:
      - Hours for which a recorded backup answers what a hop asks for in place of a name in O(acks). V(0) means any age.
    type: float
    default: 24.0
  replace:
    description:
      - Full names of objects that may be deleted and made anew because a field of them cannot be changed
        (V(ClusterRoleBinding.rbac.authorization.k8s.io name)).
      - What release data knows to be harmless needs no name here.
    type: list
    elements: str
    default: []
  prune:
    description:
      - What happens to objects that we wrote and that the new release has no more.
      - V(report) deletes nothing, V(safe) what holds no data, V(all) also what somebody took our label from.
    type: str
    default: safe
    choices: [report, safe, all]
  prune_named:
    description:
      - Full names of objects that may be deleted although data goes with them (V(PersistentVolumeClaim kubeflow/name)).
    type: list
    elements: str
    default: []
"""
