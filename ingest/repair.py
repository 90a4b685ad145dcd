"""Mends what a verification has found: takes out what is damaged, ingests its files again, touches nothing whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ingest import readers
from ingest.discovery import Found
from ingest.failures import Failures, Remembered, resolved
from ingest.pipeline import Ingestion
from ingest.reading import Reading
from ingest.report import IngestReport
from ingest.verification import Finding, Verifier
from rag.locations import path_of
from rag.ports import Embedder, PassageStore

_CUT_OFF = "its repair was cut off"
_LOOKS = 2  # a commit of a new version may leave points of the old one that were torn


class Repair:
    """Mends one document after the other."""

    def __init__(
        self,
        store: PassageStore,
        verifier: Verifier,
        failures: Failures,
        *,
        embedder: Embedder | str,
        reading: Reading,
        chunk_tokens: int,
        tenant_key: str | None,
    ) -> None:
        """Takes the adapters.

        Args:
            failures: where a document is kept whose repair is cut off, so that `ingest --retry-failed` brings it back.
            embedder: the model of the index, or why there is none.
            reading: how files are read for that model.
            chunk_tokens: longest embedded string of a chunk.
            tenant_key: of the index.
        """
        self._store = store
        self._verifier = verifier
        self._failures = failures
        self._embedder = embedder
        self._reading = reading
        self._chunk_tokens = chunk_tokens
        self._tenant_key = tenant_key

    def mend(self, uri: str, findings: Sequence[Finding]) -> str:
        """Mends a document; says in one clause what is left, or nothing where it is whole again.

        Raises:
            UnavailableError: the store went away, or another process holds it.
            NotConfiguredError: the model cannot be used.
        """
        for finding in findings:
            if finding.points and not finding.again:
                self._store.discard(finding.points)
        if not uri:
            return ""
        left = list(findings)
        for _ in range(_LOOKS):
            again = [finding for finding in left if finding.again]
            if again and (reason := self._ingest(uri, again, gone=any(_is_gone(each) for each in left))):
                return reason
            left = self._verifier.document(uri)
            loose = [point for finding in left if not finding.again for point in finding.points]
            if loose:
                self._store.discard(loose)
                left = self._verifier.document(uri)
            if not any(finding.again for finding in left):
                break
        return "; ".join(_left(finding) for finding in left)

    def _ingest(self, uri: str, findings: Sequence[Finding], *, gone: bool) -> str:
        """Ingests the file of a document whose damaged points are taken out; says why not where it cannot be."""
        if gone:
            return "its file is gone: bring it back, or take the document out with `ingest remove`"
        if isinstance(self._embedder, str):
            return self._embedder
        path = Path(path_of(uri))
        found = Found(uri, path, readers.format_of(path), path.stat().st_size if path.is_file() else 0, named=True)
        tried = self._run(self._embedder, found, {}, dry_run=True)
        if tried.failures:  # nothing has been touched
            return tried.failures[0].error
        given = self._given(uri, path, findings[-1])
        key = resolved(str(path))
        self._failures.update((), [Remembered(key, _CUT_OFF, given)])
        for finding in findings:
            self._store.discard(finding.points)
        done = self._run(self._embedder, found, given)
        if done.failures:
            self._failures.update({key}, [Remembered(key, done.failures[0].error, given)])
            return done.failures[0].error
        self._failures.update({key}, ())
        return ""

    def _run(
        self, embedder: Embedder, found: Found, metadata: Mapping[str, str], *, dry_run: bool = False
    ) -> IngestReport:
        ingestion = Ingestion(
            self._store,
            embedder,
            chunk_tokens=self._chunk_tokens,
            metadata=metadata,
            known={},
            dry_run=dry_run,
            **self._reading,
        )
        return ingestion.run([found])

    def _given(self, uri: str, path: Path, finding: Finding) -> dict[str, str]:
        """What was given to the document beside what it says of itself.

        Where its file has changed since, that is not written anywhere: then all that it does not say of itself now,
        and the tenant whose it is.
        """
        if finding.given is not None:
            return dict(finding.given)
        own: set[str] = set()
        for document in readers.read(uri, path.read_bytes(), max_pages=self._reading["limits"].pages):
            own |= document.metadata.keys()
        return {key: value for key, value in finding.metadata.items() if key not in own or key == self._tenant_key}


def _is_gone(finding: Finding) -> bool:
    return finding.kind == "orphaned" and not finding.points


def _left(finding: Finding) -> str:
    if _is_gone(finding):
        return f"{finding.reason}: bring it back, or take the document out with `ingest remove` or `ingest … --prune`"
    return f"still {finding.kind}: {finding.reason}"
