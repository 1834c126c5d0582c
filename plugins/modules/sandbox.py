#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``sandbox``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox
version_added: 1.0.0
short_description: A real Kubernetes control plane on this machine, with simulated nodes
description:
  - Starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler as ordinary processes of this user, on the
    loopback interface, and kwok, which plays nodes and pods. Several sandboxes run side by side, told apart by name.
  - No container image runs in it. Ordering, schemas, admission, RBAC, quotas, scheduling and rollouts are real; that a
    container works is not shown.
  - Webhook calls leave the API server through a Unix socket of the sandbox. Behind it are the release's real controllers
    and webhooks where they can be built from Go modules, and a stand-in that allows everything for all others.
  - Needs no root. Removing it leaves no process and no file; a run that was cut off is repaired by running it again.
options:
  name:
    description: Name of the sandbox, up to 40 lower-case letters, digits and dashes.
    type: str
    default: sandbox
  state:
    description: Whether the sandbox shall be there.
    type: str
    default: present
    choices: [present, absent]
  release:
    description:
      - The Kubeflow release whose controllers and webhooks are run for real.
      - Default is the newest one that the collection knows.
    type: str
  upgrades:
    description:
      - Releases that the platform in it will be moved to. Their controllers and webhooks are run for real, too; which release
        a pod is of is told by its image.
    type: list
    elements: str
    default: []
  nodes:
    description: Number of simulated nodes, each with 16 cores and 64 GiB.
    type: int
    default: 3
  gpus:
    description: C(nvidia.com/gpu) of each node.
    type: int
    default: 4
  binaries:
    description:
      - Where the programs come from. V(auto) takes those on the path in the right version, then those in the cache, then
        downloads them from their public release addresses, then builds them from Go modules, which takes some minutes.
    type: str
    default: auto
    choices: [auto, path, cache, download, build]
  real_backends:
    description: Whether the release's controllers and webhooks are run for real where they can be built.
    type: bool
    default: true
  audit:
    description: Whether the API server writes an audit log of every request.
    type: bool
    default: false
  snapshot:
    description: A folder with a snapshot of another sandbox; a sandbox that is made starts as a copy of that one.
    type: path
  dir:
    description: Folder of all sandboxes.
    type: path
    default: ~/.local/state/mlplatform.kubeflow/sandboxes
  cache_dir:
    description: Folder for the programs; it may be shared by sandboxes and runs.
    type: path
    default: ~/.cache/mlplatform.kubeflow
  progress:
    description: Whether progress is shown; V(auto) shows it on a terminal.
    type: str
    default: always
    choices: [auto, always, never]
attributes:
  check_mode:
    description: Can run in check mode and say what would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what changed, or would change in check mode.
    support: none
  idempotent:
    description: Run again with the same arguments and nothing else changed, it changes nothing.
    support: full
notes:
  - Runs on the controller, in the process of ansible-playbook; it refuses C(become) and C(async). Linux only.
requirements:
  - cryptography
author:
  - mlplatform.kubeflow contributors (@mlplatform)
"""

EXAMPLES = r"""
- name: A sandbox with the real webhooks of a release
  mlplatform.kubeflow.sandbox:
    name: rehearsal
    release: "26.03"
  register: rehearsal

- name: Without a trace
  mlplatform.kubeflow.sandbox:
    name: rehearsal
    state: absent
"""

RETURN = r"""
msg:
  description: What there is now.
  returned: always
  type: str
kubeconfig:
  description: Path of a kubeconfig file with all that is needed inside.
  returned: when O(state=present) and not in check mode
  type: str
server:
  description: Address of the API server.
  returned: when O(state=present) and not in check mode
  type: str
audit_log:
  description: Path of the audit log, JSON lines; empty if there is none.
  returned: when O(state=present) and not in check mode
  type: str
backends:
  description: The programs that are run for real.
  returned: when O(state=present) and not in check mode
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: when O(state=present) and not in check mode
  type: float
"""

# The action of the same name does the work, on the controller.
