"""Is an index as it was written, and as the files are now? Looks at every point, and changes nothing.

torn        passages are missing or there twice; one whose text does not fit its hash or its span; a vector of the wrong
            size, not of length 1, or not finite; points of an older version beside the newest; points that are no
            passage at all.
orphaned    points that were staged and that no living writer will commit; documents whose files are gone.
stale       the file, read by today's reader and chunker with today's settings, would be another version.
unchecked   the file is there and cannot be read, so nothing is known of it.

Points are read a page at a time; of each document a few numbers are kept. While others write, a document can look torn
because its commit went on between two pages: what looks so is read once more by itself.
"""

from __future__ import annotations

import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ingest.chunking import embedding_input
from ingest.readers import format_of
from ingest.versions import FileVersions
from rag.identity import text_hash
from rag.locations import path_of, uri_of
from rag.ports import PassageReader
from rag.rendering.text import counted
from rag.types import Chunk, InspectedPoint

Kind = Literal["torn", "orphaned", "stale", "unchecked"]
KINDS: tuple[Kind, ...] = ("torn", "orphaned", "stale", "unchecked")

_STAGED = "staged"
_NAMED = 3  # passages in a message, which is one line
_LONGEST_CONTEXT = 2731  # code points of title and headings at the greatest budget there is, 8192 tokens
_RECENT_SECONDS = 300.0  # since a document was read, within which its commit may be going on
_PAUSE_SECONDS = 0.1  # for a commit to get through


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a document.

    Attributes:
        uri: of the document; empty for points that say of none.
        points: what is to be taken out of the index, without the chunks.
        again: whether its file has to be ingested once more.
        given: metadata that were given to the document, where they are known for certain.
    """

    uri: str
    kind: Kind
    reason: str
    points: tuple[InspectedPoint, ...] = ()
    again: bool = False
    given: Mapping[str, str] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Verification:
    """What was found.

    Attributes:
        documents: that are live, in part at least.
        points: that were looked at, of whatever state.
        findings: by document.
    """

    documents: int = 0
    points: int = 0
    findings: dict[str, list[Finding]] = field(default_factory=dict)

    def count(self, kind: Kind) -> int:
        """Documents with such a finding."""
        return sum(any(each.kind == kind for each in some) for some in self.findings.values())


@dataclass(slots=True)
class _Seen:
    """What is kept of a document: by version its passages, how many it says it has, when it was read, its metadata."""

    versions: dict[str, tuple[int, int, float, Mapping[str, str]]] = field(default_factory=dict)
    suspect: bool = False
    live: bool = False


class Verifier:
    """Looks at an index."""

    def __init__(self, store: PassageReader, *, budget: int, chunk_tokens: int | None, files: bool = True) -> None:
        """Takes what documents are compared with.

        Args:
            budget: longest passage by the settings; texts of another one are known, too.
            chunk_tokens: longest passage as the model in use has it; None where it is not known which documents would
                be another version today.
            files: whether the files are looked at, too.
        """
        self._store = store
        self.budget = budget
        self._chunk_tokens = chunk_tokens
        self._files = files

    def run(self, paths: Sequence[Path] = ()) -> Verification:
        """Looks at the documents at or below `paths`, or at all and at what belongs to none.

        Raises:
            UnavailableError: the store cannot be read.
            NotConfiguredError: there is no index, or it is of another version of this program.
        """
        wanted = _below(paths)
        found = Verification()
        seen: dict[str, _Seen] = {}
        homeless: list[InspectedPoint] = []
        before = ""
        for point in self._points(paths):
            if point.uri and not wanted(point.uri):
                continue
            if not point.uri and paths:
                continue
            found.points += 1
            if not point.uri:
                homeless.append(replace(point, chunk=None))
            else:
                self._note(seen.setdefault(point.uri, _Seen()), point, doubled=point.id == before)
            before = point.id
        if homeless:
            reason = f"{counted(len(homeless), 'point')} of no document: of point {homeless[0].id} {homeless[0].fault}"
            found.findings[""] = [Finding("", "torn", reason, tuple(homeless))]
        for uri in sorted(seen):
            document = seen.pop(uri)
            found.documents += document.live
            if findings := self._of_document(uri, document):
                found.findings[uri] = findings
        return found

    def document(self, uri: str) -> list[Finding]:
        """What is wrong with one document."""
        points = list(self._store.inspect(uri))
        findings = _torn_or_abandoned(points, self._fits)
        if any(each.kind == "torn" for each in findings) and _is_recent(points):
            time.sleep(_PAUSE_SECONDS)
            points = list(self._store.inspect(uri))
            findings = _torn_or_abandoned(points, self._fits)
        newest = max(
            (
                (not point.fault, point.chunk.ingested_at, point.chunk.version, point.id, point.chunk)
                for point in points
                if point.state != _STAGED and point.chunk is not None
            ),
            default=None,
        )
        if newest is not None:
            return self._with_file(uri, newest[-1].version, newest[-1].metadata, findings)
        live = any(point.state != _STAGED for point in points)
        return self._with_file(uri, "", {}, findings) if live else findings

    def _points(self, paths: Sequence[Path]) -> Iterator[InspectedPoint]:
        if paths and all(path.is_file() for path in paths):
            uris = dict.fromkeys(uri_of(path) for path in paths)
            return chain.from_iterable(self._store.inspect(uri) for uri in uris)
        return self._store.inspect()

    def _note(self, document: _Seen, point: InspectedPoint, *, doubled: bool) -> None:
        if point.state == _STAGED:
            document.suspect |= point.abandoned
            return
        document.live = True
        chunk = point.chunk
        if chunk is None or point.fault or doubled or not self._fits(chunk):
            document.suspect = True
            return
        count, expected, read, metadata = document.versions.get(
            chunk.version, (0, chunk.chunk_count, chunk.ingested_at, chunk.metadata)
        )
        document.suspect |= expected != chunk.chunk_count
        document.versions[chunk.version] = (count + 1, expected, read, metadata)

    def _of_document(self, uri: str, document: _Seen) -> list[Finding]:
        if not document.live and not document.suspect:
            return []
        # An id is made of uri, version and ordinal: as many points as passages, and none is missing.
        whole = [key for key, (count, expected, *_) in document.versions.items() if count == expected]
        if document.suspect or len(document.versions) != 1 or not whole:
            return self.document(uri)
        return self._with_file(uri, whole[0], document.versions[whole[0]][3], [])

    def _with_file(self, uri: str, version: str, metadata: Mapping[str, str], findings: list[Finding]) -> list[Finding]:
        """The findings of the index, and those of the file, which says what was given to the document."""
        if not self._files or urlsplit(uri).scheme != "file":
            return findings
        path = Path(path_of(uri))
        format = format_of(path)
        try:
            path.lstat()
            if format and not stat.S_ISREG(path.stat().st_mode):  # to open a pipe is to wait for whoever writes to it
                return [*findings, Finding(uri, "unchecked", "what is in its file's place is no file")]
            versions = FileVersions(path, format, self._chunk_tokens) if format and self._chunk_tokens else None
        except (FileNotFoundError, NotADirectoryError):
            return [*findings, Finding(uri, "orphaned", "its file is gone")]
        except OSError as error:
            return [*findings, Finding(uri, "unchecked", f"its file cannot be read: {error.strerror or error}")]
        if format is None:
            return [*findings, Finding(uri, "stale", f"no reader takes {path.suffix or 'a file without a suffix'}")]
        if versions is None:
            return findings
        given = versions.given(version, metadata)
        if given is None and version:
            given = versions.given_to_older_code(version, metadata)
            reason = "its file, or the setting chunk_tokens, has changed since it was ingested"
            if given is not None:
                reason = "its reader or the chunker has changed since it was ingested"
            findings = [*findings, Finding(uri, "stale", reason, again=True)]
        return [replace(each, given=given, metadata=metadata) for each in findings]

    def _fits(self, chunk: Chunk) -> bool:
        """Whether a chunk's text, title and headings make the hash that it carries."""
        if text_hash(embedding_input(chunk, self.budget)) == chunk.text_hash:
            return True
        # With another budget, title and headings were cut at another length.
        longest = min(_LONGEST_CONTEXT, sum(len(part) + 3 for part in (chunk.title, *chunk.headings)))
        return any(text_hash(embedding_input(chunk, 3 * room)) == chunk.text_hash for room in range(longest, -1, -1))


def _torn_or_abandoned(points: Sequence[InspectedPoint], fits: Callable[[Chunk], bool]) -> list[Finding]:
    """What is wrong with the points of one document among themselves."""
    uri = points[0].uri if points else ""
    findings = []
    staged = [replace(point, chunk=None) for point in points if point.abandoned]
    if staged:
        reason = f"{counted(len(staged), 'point')} staged and never committed"
        findings.append(Finding(uri, "orphaned", reason, tuple(staged)))
    times = Counter(point.id for point in points)
    faults: list[tuple[InspectedPoint, str]] = []
    good: list[tuple[InspectedPoint, Chunk]] = []
    for point in points:
        if point.state == _STAGED:
            continue
        fault = point.fault or ("its id is there twice" if times[point.id] > 1 else "")
        if point.chunk is None or fault:
            faults.append((point, fault))
        elif not fits(point.chunk):
            faults.append((point, "its text does not fit its hash"))
        else:
            good.append((point, point.chunk))
    version = max(((chunk.ingested_at, chunk.version) for _, chunk in good), default=(0.0, ""))[1]
    older = [point for point, chunk in good if chunk.version != version]
    newest = [(point, chunk) for point, chunk in good if chunk.version == version]
    [(size, _)] = Counter(chunk.chunk_count for _, chunk in newest).most_common(1) or [(0, 0)]
    faults += [(p, f"it is one of {c.chunk_count} instead of {size}") for p, c in newest if c.chunk_count != size]
    there = {chunk.ordinal for _, chunk in newest if chunk.chunk_count == size}
    missing = list(islice((ordinal for ordinal in range(size) if ordinal not in there), _NAMED))
    reasons = []
    if missing:
        count = size - len(there)
        named = ", ".join(f"#{ordinal}" for ordinal in missing) + (", …" if count > len(missing) else "")
        reasons.append(f"{count} of {counted(size, 'passage')} missing ({named})")
    if faults:
        point, fault = faults[0]
        which = f"passage #{point.chunk.ordinal}" if point.chunk else f"point {point.id}"
        reasons.append(f"{counted(len(faults), 'point')} damaged: of {which} {fault}")
    if older:
        reasons.append(f"{counted(len(older), 'point')} of an older version")
    if reasons:
        bad = tuple(replace(point, chunk=None) for point in (*(point for point, _ in faults), *older))
        findings.append(Finding(uri, "torn", "; ".join(reasons), bad, again=bool(missing or faults)))
    return findings


def _is_recent(points: Sequence[InspectedPoint]) -> bool:
    read = max((point.chunk.ingested_at for point in points if point.chunk), default=0.0)
    return abs(time.time() - read) < _RECENT_SECONDS


def _below(paths: Sequence[Path]) -> Callable[[str], bool]:
    """Whether a document is at one of the paths, or below one; all are where there are none."""
    exact = {uri_of(path) for path in paths}
    folders = tuple(f"{uri.rstrip('/')}/" for uri in exact)
    return lambda uri: not paths or uri in exact or uri.startswith(folders)
