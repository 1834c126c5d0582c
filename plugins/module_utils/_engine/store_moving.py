# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Object stores that a release replaces by another: their objects are copied once the new one is healthy.

Both are reached inside their pods, so that no Service has to lead to the old one. What the new store has already in a newer
state stays, and nothing is deleted on either side: the old store and its claim are there until a person names them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Collection, List, Optional, Tuple

from .data_places import Data, ObjectStore
from .errors import EngineError
from .objects import KubeObject
from .progress import Progress
from .release_data import Ack
from .volumes import MAKE_ROOM, Room, lacking, requested, room_on

if TYPE_CHECKING:
    from .data_access import Access


@dataclass(frozen=True)
class StoreMove:
    """One object store: where its objects are, and where they are from now on."""

    source: ObjectStore
    target: ObjectStore

    def __str__(self) -> str:
        old, new = self.source, self.target
        return "objects of %s: %s (%s) -> %s (%s)" % (old.name, old.kind, old.claim.name, new.kind, new.claim.name)


@dataclass(frozen=True)
class StoreMoved:
    """What was done: ``objects`` and ``bytes`` of the old store are in the new one, ``skipped`` of them were there already.

    :ivar newer: objects that the new store has in a newer state, and that stayed.
    """

    move: StoreMove
    objects: int
    bytes: int
    skipped: int
    newer: int
    seconds: float


def moves(before: Data, after: Data, names: Collection[str]) -> Tuple[StoreMove, ...]:
    """The stores of these names that lie on another claim in the later release."""
    later = {store.name: store for store in after.object_stores}
    found = [StoreMove(store, later[store.name]) for store in before.object_stores if store.name in later and store.name in names]
    return tuple(move for move in found if move.source.claim != move.target.claim)


def copied_by(acks: Collection[Ack], given: Collection[str], components: Collection[str]) -> List[str]:
    """The object stores that a hop copies itself: a person who named the acknowledgement sees to it alone."""
    return [ack.copies for ack in acks if ack.copies and ack.component in components and ack.name not in given]


def foresee(access: Access, move: StoreMove, wanted: Optional[KubeObject], progress: Progress) -> None:
    """Before the first write of a hop: the old store answers, and what it has fits into the new one. Says how long it takes.

    :param wanted: the new store's claim as the hop writes it.
    :raises EngineError: the old store cannot be reached, or it does not fit.
    """
    from .copying import Tally, tally_bucket
    from .objectwork import about
    from .s3 import has_bucket

    total = Tally()
    with access.buckets(move.source) as sources:
        for source in (one for one in sources if has_bucket(one)):
            total.add(tally_bucket(source, checksums=False))
    claim = move.target.claim
    room = room_on(access.api, claim)
    if room is None and requested(wanted):
        room = Room(claim, requested(wanted))
    lack = lacking(room, total.bytes) if room is None or room.free is None else ""  # else it is measured when both are there
    if lack:
        raise _no_room(move, lack, "nothing of this hop was written")
    text = "%s: %d objects, %.1f MB, about %s at the end of this hop; stopped and run again it goes on, and the old store stays"
    progress.say(move.target.component, text % (move, total.objects, total.bytes / 1e6, about(total)))


def _no_room(move: StoreMove, lack: str, after: str) -> EngineError:
    return EngineError(
        lack,
        subject="object store %s" % move.source.name,
        next_step="%s, or delete what nobody needs in the old store; %s" % (MAKE_ROOM, after),
        component=move.target.component,
    )


def move_store(access: Access, move: StoreMove, progress: Progress) -> StoreMoved:
    """Copy every bucket, and count both sides. Run again it goes on: what is there is not copied twice.

    :raises EngineError: a store cannot be reached, or the new one has not all that the old one has.
    """
    # Here, as the library for S3 takes a third of a second to import: only few runs move anything.
    from .copying import Tally, copy_bucket, tally_bucket
    from .s3 import has_bucket, make_sure

    started = time.monotonic()
    total = Tally()
    component = move.target.component
    with access.buckets(move.source) as sources, access.buckets(move.target) as targets:
        for source, target in zip(sources, targets):
            if not has_bucket(source):
                progress.say(component, "%s: there is no bucket %s, nothing to copy" % (move, source.name))
                continue
            make_sure(target)
            there, already = tally_bucket(source, checksums=False), tally_bucket(target, checksums=False)
            lack = lacking(room_on(access.api, move.target.claim), there.bytes - already.bytes)
            if lack:
                raise _no_room(move, lack, "then run upgrade again; it goes on here")
            done = copy_bucket(source, target, progress, newer_stays=True, total=there)
            if done.objects + done.vanished < there.objects:
                raise EngineError(
                    "the new store has not all objects of the old one",
                    subject="bucket %s of object store %s" % (source.name, move.source.name),
                    expected="%d objects" % there.objects,
                    found="%d objects" % done.objects,
                    next_step="run upgrade again; what is there is not copied twice",
                    component=component,
                )
            total.add(done)
    seconds = time.monotonic() - started
    progress.say(component, "%s: %d objects, %.1f MB in %.1f s" % (move, total.objects, total.bytes / 1e6, seconds))
    return StoreMoved(move, total.objects, total.bytes, total.skipped, total.newer, seconds)
