# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a backup may be put into a cluster at all, asked before anything of the cluster's data is looked at.

Every check raises :class:`EngineError` with what to do instead.
"""

from __future__ import annotations

from typing import Sequence

from .backing_up import chosen
from .catalogue import Catalogue, Release, release_order
from .encrypting import BackupKey
from .errors import EngineError
from .hops import path
from .manifest import Manifest


def check_manifest(manifest: Manifest, key: BackupKey, parts: Sequence[str]) -> None:
    """The key opens it, what is asked for is in it, and was finished.

    :param parts: what is asked for; nothing for all.
    """
    if not key.opens(manifest.encryption):
        raise EngineError(
            "the backup is encrypted and there is no key for it",
            subject="backup %s" % manifest.id,
            expected="an age identity" if manifest.encryption == "age" else "its passphrase",
            next_step="set kubeflow_backup_identity_file or kubeflow_backup_passphrase",
        )
    names = {part.kind for part in manifest.parts} | {"%s/%s" % (part.kind, part.name) for part in manifest.parts}
    unknown = [part for part in parts if part not in names]
    if unknown:
        raise EngineError(
            "the backup has no such part",
            subject="backup %s: %s" % (manifest.id, ", ".join(unknown)),
            expected=", ".join(sorted(name.rstrip("/") for name in names)),
        )
    broken = [part for part in manifest.parts if part.state != "done" and chosen(parts, part.kind, part.name)]
    if broken or (manifest.state != "done" and not parts):
        raise EngineError(
            "the backup was never finished",
            subject="backup %s" % manifest.id,
            found=", ".join("%s/%s is %s" % (part.kind, part.name, part.state) for part in broken) or "state %s" % manifest.state,
            next_step="run backup again, which finishes it; or restore the parts that are done by name in kubeflow_restore_parts",
        )


def check_release(manifest: Manifest, here: str, catalogue: Catalogue, cluster: str) -> Release:
    """The cluster's release; the backup is of the same, or of an older one that a known way leads from."""
    if not here:
        raise EngineError(
            "the platform is not installed in this cluster",
            subject="cluster %s" % cluster,
            next_step="run site with kubeflow_version %s first, then restore" % manifest.release,
        )
    if release_order(manifest.release) > release_order(here):
        raise EngineError(
            "the backup is of a newer release than the cluster has",
            subject="backup %s" % manifest.id,
            expected="release %s or older" % here,
            found=manifest.release,
            next_step="upgrade the cluster to %s first; newer data cannot be read by older programs" % manifest.release,
        )
    path(catalogue, manifest.release, here)
    return catalogue.release(here)


def check_cluster(manifest: Manifest, cluster: str, uid: str, confirm: str) -> None:
    """It is a backup of this very cluster, or a person says that another one's is wanted.

    :param uid: of the cluster.
    """
    if manifest.cluster_uid != uid and confirm != cluster:
        raise EngineError(
            "the backup is of another cluster",
            subject="backup %s" % manifest.id,
            expected="cluster %s (uid %s)" % (cluster, uid),
            found="cluster %s (uid %s)" % (manifest.cluster, manifest.cluster_uid),
            next_step="if that is what you want, set kubeflow_confirm to %s" % cluster,
        )
