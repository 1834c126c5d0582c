# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: the record during a run, written ahead, as components end, and at the end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Dict, Iterable, Mapping, Tuple

from .api import Api
from .objects import KubeObject, ObjectRef
from .record import ComponentRecord, Entry, Record, save
from .runs import RESTART, Run

# As components end the record is saved, but not more often than this.
SAVE_SECONDS = 2.0


def is_installed(component: ComponentRecord) -> bool:
    """Whether a component is there; all that is left of one that was uninstalled is what was kept."""
    return any(entry.desired for entry in component.entries.values())


class Ledger:
    """Keeps the record in step with what was written."""

    def __init__(self, api: Api, record: Record) -> None:
        self._api = api
        self._saved_at = 0.0
        self._unsaved = False
        self.record = record

    def announce(self, runs: Iterable[Run]) -> None:
        """Write ahead: what is there, and what this run is about to write. Without writes nothing is written here."""
        hasher = self.record.hasher
        changed = False
        for run in runs:
            if not run.works:
                continue
            changed = True
            moved = [work.item.ref for work in run.works if work.rank != RESTART]
            before = {ref: self.record.entry(ref) for ref in moved}
            self._take_from_others(run.component.name, moved)
            known = self.record.components.get(run.component.name)
            entries = dict(known.entries) if known else {}
            for work in run.works:
                if work.rank == RESTART:
                    continue
                obj = work.item.wanted.obj
                there = before[work.item.ref]
                entries[work.item.ref] = Entry(obj["apiVersion"], there.uid if there else "", hasher.value(obj), "")
            restarts = {work.item.ref: work.item.stamp for work in run.works if work.rank == RESTART}
            component = ComponentRecord(run.component.catalogue, run.component.version, False, entries, restarts)
            self.record = self.record.with_component(run.component.name, component)
        if changed:
            self._save()

    def _take_from_others(self, name: str, refs: Iterable[ObjectRef]) -> None:
        """An object is in one component's record: from release to release it may move from one to another."""
        for other, component in self.record.components.items():
            here = [ref for ref in refs if ref in component.entries]
            if other != name and here:
                entries = {ref: entry for ref, entry in component.entries.items() if ref not in here}
                self.record = self.record.with_component(other, replace(component, entries=entries))

    def note(self, run: Run, written: Mapping[ObjectRef, KubeObject]) -> None:
        """Take what a component has written so far into the record; it is saved when it is time."""
        done = [work for work in run.works if work.state == "done"]
        known = self.record.components.get(run.component.name)
        if known is None or not done:
            return
        hasher = self.record.hasher
        entries: Dict[ObjectRef, Entry] = dict(known.entries)
        restarts = dict(known.restarts)
        for work in done:
            if work.rank == RESTART:
                restarts.pop(work.item.ref, None)
                continue
            obj, live = work.item.wanted.obj, written[work.item.ref]
            uid = live["metadata"].get("uid", "")
            entries[work.item.ref] = Entry(obj["apiVersion"], uid, hasher.value(obj), hasher.live(live))
        record = replace(known, entries=entries, complete=len(done) == len(run.works), restarts=restarts)
        self.record = self.record.with_component(run.component.name, record)
        self._unsaved = True

    def forget(self, component: str, refs: Iterable[ObjectRef]) -> None:
        """These objects of a component are gone: a component with none left is gone, too. Saved when it is time."""
        known, gone = self.record.components.get(component), set(refs)
        left = {ref: entry for ref, entry in known.entries.items() if ref not in gone} if known else {}
        if known is None or len(left) == len(known.entries):
            return
        if left:
            restarts = {ref: stamp for ref, stamp in known.restarts.items() if ref in left}
            self.record = self.record.with_component(component, replace(known, entries=left, restarts=restarts, complete=False))
        else:
            others = {name: one for name, one in self.record.components.items() if name != component}
            self.record = replace(self.record, components=others)
        self._unsaved = True

    def disown(self, component: str, objects: Mapping[ObjectRef, Tuple[str, str]]) -> None:
        """These objects (reference -> apiVersion, uid) are known but not wanted any more; saved when it is time.

        What is kept is recognised by a later install, and what a killed run did not get to by the next one.
        """
        known = self.record.components.get(component)
        if known is None or not objects:
            return
        entries = dict(known.entries)
        for ref, (version, uid) in objects.items():
            before = entries.get(ref)
            entries[ref] = Entry(before.api_version if before else version, uid, "", before.live if before else "")
        self.record = self.record.with_component(component, replace(known, entries=entries, complete=False))
        self._unsaved = True

    def save_sometimes(self) -> None:
        """Save what was noted, unless that was done a moment ago."""
        if self._unsaved and time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save()

    def close(self) -> None:
        """Save what was noted."""
        if self._unsaved:
            self._save()

    def _save(self) -> None:
        self.record = save(self._api, self.record)
        self._saved_at, self._unsaved = time.monotonic(), False
