"""What failed in earlier runs, so that `ingest --retry-failed` takes only that."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A file that failed.

    Attributes:
        path: absolute, links and `..` resolved where that can be done.
        error: why.
        metadata: what was given to it, for it belongs to the document.
    """

    path: str
    error: str
    metadata: Mapping[str, str]


def resolved(path: str) -> str:
    """One spelling of each path; what cannot be resolved, such as a loop of links, is left as it is."""
    try:
        return str(Path(path).resolve())
    except (OSError, RuntimeError):
        return str(Path(path).absolute())


class Failures:
    """The file beside a collection that keeps them; what it cannot keep is only told."""

    def __init__(self, folder: Path, collection: str, url: str | None) -> None:
        """Reads nothing yet.

        Args:
            folder: of the embedded index.
            url: of the server that the collection is on, if it is on one.
        """
        # The same name on another server is another collection.
        server = f".{hashlib.blake2b(url.encode(), digest_size=6).hexdigest()}" if url else ""
        self._file = folder / f"{collection}{server}.failures.json"

    def load(self) -> list[Remembered]:
        """All of them; none where the file is damaged or was never written."""
        try:
            kept = json.loads(self._file.read_text(encoding="ascii"))
            return [Remembered(str(each["path"]), str(each["error"]), dict(each["metadata"])) for each in kept]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s cannot be read (%s): failures of earlier runs are forgotten", self._file, error)
            return []

    def update(self, taken: Iterable[str], failed: Iterable[Remembered]) -> None:
        """Forgets the paths that were `taken` and remembers those that `failed`."""
        new = list(failed)
        if not new and not self._file.exists():
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._file.with_name(f"{self._file.name}.lock")):  # another ingestion may end just now
                self._write({each.path: each for each in self.load()}, set(taken), new)
        except OSError as error:
            logger.warning("%s cannot be written (%s): the failures are not remembered", self._file, error.strerror)

    def forget(self, paths: Iterable[str]) -> None:
        """Forgets files for good, so that nothing brings them back."""
        self.update((resolved(path) for path in paths), ())

    def _write(self, known: dict[str, Remembered], taken: set[str], failed: Iterable[Remembered]) -> None:
        kept = {path: each for path, each in known.items() if path not in taken}
        kept |= {each.path: each for each in failed}
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        try:
            text = json.dumps([asdict(each) for each in kept.values()], indent=1)
            part.write_text(text + "\n", encoding="ascii")  # what of a name is no character is escaped
            part.replace(self._file)
        finally:
            part.unlink(missing_ok=True)
