"""The files of a collection's folder around the engine's shard: what the index was made with, and the commit under way.

FOLDER/index.json       schema version, fingerprint, model, dimension, and the key of the tenants, if there are any;
                        written last, so its presence means complete
FOLDER/shard/           the engine's own files
FOLDER/commit.json      the document version being made live; there only while a commit runs or after one was killed
FOLDER/tuning.json      what `rag tune` found best, see rag.tuned
FOLDER/lock, holder.json, waiting/      see rag.stores.shard_lock
FOLDER/shard.optimizing/, …             see rag.stores.shard_switch

After `ingest rebuild` all of these but the tuning are in a folder of their own, a generation, and the folder of the
collection says which one answers:

FOLDER/generation.json  its name; replaced at once
FOLDER/generations/NAME/                index.json, shard/ and so on
FOLDER/readers/, rebuild.lock           see rag.stores.edge_generations
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rag.errors import IndexMissingError, StoreError
from rag.stores.shard_switch import ENTRIES
from rag.types import IndexInfo

_OWN_ENTRIES = frozenset(
    {"index.json", "shard", "shard.creating", "commit.json", "lock", "holder.json", "waiting", "tuning.json", *ENTRIES}
    | {"generation.json", "generations", "readers", "rebuild.lock"}
)

FIRST_GENERATION = "first"
"""The one that lies in the collection's folder itself."""
_GENERATION = re.compile("[0-9a-f]{8,64}")


class IndexFolder:
    """Reads and writes them; holds no lock and opens no shard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shard = path / "shard"
        self.shard_in_creation = path / "shard.creating"
        self._info = path / "index.json"
        self._commit = path / "commit.json"
        self._known: tuple[tuple[int, int, int], IndexInfo] | None = None  # the file's stamp, and what it said

    def info(self) -> IndexInfo:
        """What the index was made with.

        Raises:
            IndexMissingError: there is no index here.
            StoreError: its file cannot be read or understood.
        """
        with _file_errors("read", self._info):
            try:
                status = self._info.stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                if self._known is not None and self._known[0] == stamp:
                    return self._known[1]
                content = self._info.read_bytes()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise IndexMissingError(f"there is no index in {self.path}: make one with `ingest PATH…`") from error
        fields = _object(content)
        try:
            found = IndexInfo(
                schema_version=_integer(fields["schema_version"]),
                fingerprint=_string(fields["fingerprint"]),
                model=_string(fields["model"]),
                dimension=_integer(fields["dimension"]),
                tenant_key=_string(fields["tenant_key"]) if fields.get("tenant_key") is not None else None,
            )
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"{self._info} is damaged or of another program: restore it, or ingest again into another --collection"
            ) from error
        self._known = (stamp, found)
        return found

    def create(self) -> None:
        """Makes the folder, unless it is there.

        Raises:
            StoreError: it cannot be made, or holds files of something else.
        """
        with _file_errors("create", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = sorted(entry.name for entry in self.path.iterdir() if not self._is_own(entry.name))
        if foreign:
            raise StoreError(
                f"{self.path} holds other files ({', '.join(foreign[:3])}): choose another --collection or store path"
            )

    def write_info(self, info: IndexInfo) -> None:
        """Declares the index complete."""
        _write(self._info, {name: value for name, value in asdict(info).items() if value is not None})

    def commit_under_way(self) -> tuple[str, str] | None:
        """The (uri, version) whose commit was begun and not seen to end."""
        with _file_errors("read", self._commit):
            try:
                content = self._commit.read_bytes()
            except FileNotFoundError:
                return None
        fields = _object(content)
        try:
            return _string(fields["uri"]), _string(fields["version"])
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self._commit} is damaged: delete it and ingest again") from error

    def begin_commit(self, uri: str, version: str) -> None:
        """Writes down which version is about to become live; on disk when this returns."""
        _write(self._commit, {"uri": uri, "version": version})

    def end_commit(self) -> None:
        """Forgets the commit under way."""
        with _file_errors("remove", self._commit):
            self._commit.unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes the index, that which makes it one first; under the lock of its shard."""
        with _file_errors("remove", self.path):
            self._info.unlink(missing_ok=True)
            _sync_folder(self.path)
            others = [self.path / name for name in ENTRIES if not name.endswith(".lock")]
            for entry in (self.shard, self.shard_in_creation, *others):
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
            self._commit.unlink(missing_ok=True)

    def _is_own(self, name: str) -> bool:
        return name.removesuffix(".new") in _OWN_ENTRIES


def collections_in(folder: Path) -> list[str]:
    """Names of the collections in the folder of a store, sorted; none where it is not there.

    Raises:
        StoreError: the folder cannot be read.
    """
    with _file_errors("read", folder):
        try:
            names = ("index.json", "generation.json")
            return sorted(each.name for each in folder.iterdir() if any((each / name).exists() for name in names))
        except (FileNotFoundError, NotADirectoryError):
            return []


def current_generation(folder: Path) -> str:
    """Name of the generation of the collection in `folder` that answers.

    Raises:
        StoreError: the pointer cannot be read or understood.
    """
    pointer = folder / "generation.json"
    with _file_errors("read", pointer):
        try:
            content = pointer.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return FIRST_GENERATION
    name = _object(content).get("generation")
    if not isinstance(name, str) or not _GENERATION.fullmatch(name):  # it becomes part of a path
        raise StoreError(
            f'{pointer} is damaged: write {{"generation": "NAME"}} into it with the name of a folder in '
            f"{folder / 'generations'}, or ingest again into another --collection"
        )
    return name


def generation_folder(folder: Path, name: str) -> Path:
    """Where the generation of that name of the collection in `folder` is."""
    return folder if name == FIRST_GENERATION else folder / "generations" / name


def current_folder(folder: Path) -> Path:
    """Where the files of the generation are that answers, for the collection in `folder`.

    Raises:
        StoreError: the pointer cannot be read or understood.
    """
    return generation_folder(folder, current_generation(folder))


def point_to(folder: Path, name: str) -> None:
    """Lets the generation of that name answer, at once and for good; what it holds must be on the disk.

    Raises:
        StoreError: the pointer cannot be written.
    """
    _write(folder / "generation.json", {"generation": name})


def _object(content: bytes) -> dict[str, object]:
    """The JSON object in `content`; empty when it is none, so that every field is missing."""
    try:
        fields = json.loads(content)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _write(path: Path, fields: dict[str, object]) -> None:
    """Replaces a file as a whole: after a kill or a power cut the old or the new one is there, never half of one."""
    with _file_errors("write", path):
        new = path.with_name(path.name + ".new")
        with new.open("w", encoding="utf-8") as stream:
            json.dump(fields, stream, ensure_ascii=True)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and renames are journalled by the file system
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _file_errors(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {verb} {path} ({error.strerror}): check its permissions and the disk") from error
