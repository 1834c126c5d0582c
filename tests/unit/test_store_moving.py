# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which object stores a hop copies: those that lie elsewhere from now on, unless a person sees to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import Backup, ComponentRecord, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.release_data import Hop
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.results import now
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.store_moving import copied_by, moves
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import missing_acks

ACK, COPY = "ack-v1.11.0-object-store", "copy-v1.11.0-object-store"
DAY = 86400.0


@pytest.fixture(name="hop", scope="module")
def _hop() -> Hop:
    """The one from MinIO to SeaweedFS."""
    return sure(Catalogue.load().release("v1.11.0").hop)


def test_a_store_moves_where_its_claim_changes() -> None:
    """From v1.11.0 on it stays where it is; other names are not moved."""
    catalogue = Catalogue.load()
    data = {name: catalogue.release(name).data for name in catalogue.names}
    (move,) = moves(data["v1.10.2"], data["v1.11.0"], ["pipelines"])
    assert str(move) == "objects of pipelines: minio (minio-pvc) -> seaweedfs (seaweedfs-pvc)"
    assert moves(data["v1.11.0"], data["26.03"], ["pipelines"]) == ()
    assert moves(data["v1.10.2"], data["v1.11.0"], []) == ()


def test_who_says_that_he_sees_to_it_is_left_alone(hop: Hop) -> None:
    """Without the component there is nothing to copy."""
    assert copied_by(hop.acks, (), ["pipelines"]) == ["pipelines"]
    assert copied_by(hop.acks, (COPY,), ["pipelines"]) == ["pipelines"]
    assert copied_by(hop.acks, (ACK,), ["pipelines"]) == []
    assert copied_by(hop.acks, (), ["katib"]) == []


def test_the_copy_may_be_asked_for_or_follow_from_a_backup(hop: Hop) -> None:
    """Something has to be said: nothing is copied that nobody knows of."""
    hop = replace(hop, acks=tuple(ack for ack in hop.acks if ack.name == ACK))
    record = Record(components={"pipelines": ComponentRecord("kubeflow", "v1.10.2", True, {})})
    assert [ack.name for ack in missing_acks(hop, record, (), DAY)] == [ACK]
    assert missing_acks(hop, record, (COPY,), DAY) == missing_acks(hop, record, (ACK,), DAY) == ()
    saved = replace(record, backups={"pipelines": Backup("v1.10.2", now(), "/srv/backups/x")})
    assert missing_acks(hop, saved, (), DAY) == ()
