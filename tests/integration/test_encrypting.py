# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passphrases with the library's own, slow, derivation of the key; the unit tests write theirs with less work."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey, packed, unpacked
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError


def test_a_passphrase_costs_its_time_once_and_opens_again() -> None:
    """One derivation to write, however many files; one to read them with a key of another run; a wrong one opens nothing."""
    plain = [os.urandom(100_000) for _number in range(50)]
    writer, reader = BackupKey(passphrase="correct horse"), BackupKey(passphrase="correct horse")
    started = time.process_time()
    files = [b"".join(packed([content], writer)) for content in plain]
    first = time.process_time() - started
    assert [b"".join(unpacked([data], reader, "passphrase")) for data in files] == plain
    assert [b"".join(unpacked([data], writer, "passphrase")) for data in files] == plain
    started = time.process_time()
    files += [b"".join(packed([content], writer)) for content in plain]
    assert time.process_time() - started < first
    assert len({data[:400] for data in files}) == 1  # the locked identity
    with pytest.raises(EngineError, match="the passphrase does not open it"):
        list(unpacked([files[0]], BackupKey(passphrase="correct house"), "passphrase"))
