# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules for backup and restore share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments; the specs are in C(module_utils/_arguments.py)."""

    DOCUMENTATION = r"""
options:
  place:
    description:
      - Where backups lie, a folder of the machine that the module runs on (V(/srv/backups)) or a bucket (V(s3://bucket/prefix)).
    type: path
    required: true
  s3:
    description: How the bucket of O(place) is reached. Needs the Python library botocore.
    type: dict
    default: {}
    suboptions:
      endpoint:
        description: Address of the S3 server (V(https://s3.site:9000)). Left empty, that of the region.
        type: str
      region:
        description: Its region.
        type: str
      access_key:
        description: The access key. Left empty, the usual places of botocore are asked.
        type: str
      secret_key:
        description: The secret key.
        type: str
      ca_file:
        description: The certificate authority that the server's certificate is checked with.
        type: path
  passphrase:
    description: The passphrase that the backup is, or shall be, encrypted with. Needs the Python library pyrage.
    type: str
  progress:
    description: Whether lines of progress are shown while it runs; V(auto) does so on a terminal.
    type: str
    default: auto
    choices: [auto, always, never]
"""

    CLUSTER = r"""
options:
  cluster:
    description:
      - Name of the cluster in progress lines and results.
      - Default is the inventory's name of the host.
    type: str
  kubeconfig:
    description: The kubeconfig file, as for kubectl when left empty.
    type: path
  context:
    description: The context of it, the current one when left empty.
    type: str
  parts:
    description:
      - What of it, by kind (V(record), V(objects), V(volumes), V(database), V(objectstore)) or by name (V(database/katib)).
      - Left empty, everything.
    type: list
    elements: str
    default: []
  databases:
    description:
      - Databases that are reached at an address instead of inside their pod. The client programs of MySQL or MariaDB are then
        needed here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What release data calls it (V(pipelines), V(katib)).
        type: str
        required: true
      host:
        description: The server.
        type: str
      port:
        description: Its port.
        type: int
      socket:
        description: The Unix socket of the server, instead of host and port.
        type: path
      user:
        description: The account, V(root) when left empty.
        type: str
      password:
        description: Its password.
        type: str
  stores:
    description: Object stores that are reached at an address instead of inside their pod.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What release data calls it (V(pipelines)).
        type: str
        required: true
      endpoint:
        description: Address of the S3 server.
        type: str
      region:
        description: Its region.
        type: str
      access_key:
        description: The access key.
        type: str
      secret_key:
        description: The secret key.
        type: str
      ca_file:
        description: The certificate authority that the server's certificate is checked with.
        type: path
  release_dirs:
    description: Folders with more release data.
    type: list
    elements: path
    default: []
  results_dir:
    description: Folder for the result file of the run; none is kept when left empty.
    type: path
  timeout:
    description:
      - Seconds that one of the steps may take that others carry out, such as a snapshot of a volume, making the namespace of a profile,
        stopping and starting programs.
    type: int
    default: 900
  lock_timeout:
    description: Seconds to wait for another run that writes to the same cluster.
    type: int
    default: 600
"""
