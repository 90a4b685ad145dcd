"""An index in the making that is to take the place of the one that answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from rag.ports import PassageStore
from rag.stores.generations import Generations, Hold
from rag.stores.tenants import require_tenant_key
from rag.types import IndexInfo


class Replaceable(Generations, Protocol):
    """Generations of which another can be made."""

    def name_of(self, digest: str) -> str:
        """Name of the generation that is made of what `digest` says."""
        ...

    def one_at_a_time(self) -> AbstractContextManager[None]:
        """One rebuild, where that can be ensured.

        Raises:
            IndexBusyError: another is at work.
        """
        ...

    def quiet(self, store: PassageStore) -> AbstractContextManager[None]:
        """While inside, no other process writes to that generation, where that can be ensured."""
        ...

    def point_to(self, name: str) -> None:
        """Lets it answer, at once and for good."""
        ...

    def others(self) -> list[str]:
        """Those that do not answer: replaced, or never finished."""
        ...

    def remove(self, name: str) -> bool:
        """Removes one that does not answer, unless somebody is known to use it; whether it is gone."""
        ...


class Successor:
    """Both indexes, while one is made of the other.

    Attributes:
        old: the one that answered when this began.
        new: the one in the making; what a rebuild that was killed had written is in it.
        same_model: whether a vector of the old one is one of the new one, too.
        caught_up: whether the new one, which answers, has all that was written to the old one.
    """

    def __init__(self, generations: Replaceable, old: PassageStore, new: PassageStore, names: tuple[str, str]) -> None:
        self.old = old
        self.new = new
        self._old_name, self._new_name = names
        self._generations = generations
        before, after = old.info(), new.info()
        self.same_model = (before.fingerprint, before.dimension) == (after.fingerprint, after.dimension)
        self.taken_over = False
        self.caught_up = False

    def quiet(self) -> AbstractContextManager[None]:
        """While inside, no other process writes to the old index, where that can be ensured."""
        return self._generations.quiet(self.old)

    def take_over(self) -> None:
        """Lets the new index answer, at once and for good.

        Raises:
            StoreError: it does not; the old one goes on.
        """
        self.new.close()  # whatever it had in memory is on the disk
        self._generations.point_to(self._new_name)
        self.taken_over = True

    def finish(self, hold: Hold | None) -> None:
        """Removes the old index once it is replaced and nobody is known to use it.

        Args:
            hold: this program's own on the old one.
        """
        self.old.close()
        self.new.close()
        if hold is not None:
            hold.release()
        # Who asks with the old model cannot go on with the new index: on a server, which knows nobody who uses a
        # collection, the old one stays until the next rebuild.
        known = hold is not None
        if self.caught_up and (known or self.same_model):
            self._generations.remove(self._old_name)


@contextmanager
def successor(generations: Replaceable, info: IndexInfo, made_of: object) -> Iterator[Successor]:
    """The index that answers, with a new one beside it; what is left of other rebuilds is removed.

    Args:
        info: what the new one is made with; it separates the tenants that the old one does.
        made_of: what else shapes it, as JSON: a rebuild that was killed is gone on with where it is the same.

    Raises:
        IndexMissingError: there is no index.
        IndexBusyError: another rebuild is at work.
        IndexMismatchError: the tenants are to be separated by another key.
    """
    current = generations.current(fresh=True)
    old = generations.open(current)
    found = old.info()
    require_tenant_key(found, info.tenant_key)
    info = replace(info, tenant_key=found.tenant_key)
    shape = [current, info.schema_version, info.fingerprint, info.dimension, made_of]
    name = generations.name_of(hashlib.blake2b(json.dumps(shape).encode(), digest_size=8).hexdigest())
    with generations.one_at_a_time():
        hold = generations.hold(current)
        try:
            for other in generations.others():
                if other != name:
                    generations.remove(other)
            new = generations.open(name)
            new.prepare(info)
            own = generations.hold(name)
            try:
                both = Successor(generations, old, new, (current, name))
                try:
                    yield both
                finally:
                    both.finish(hold)
            finally:
                if own is not None:
                    own.release()
        finally:
            if hold is not None:
                hold.release()
            generations.close()
