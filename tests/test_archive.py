"""`ingest export` and `ingest import`: an index moves between kinds of stores; no hostile archive breaks one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from ingest import archive_records
from ingest.archive import ArchiveReport, read_archive, write_archive
from rag.errors import IndexMismatchError, RagError, ReadError, StoreError
from rag.ports import PassageStore
from rag.stores.edge import EdgeStore
from rag.stores.server import ServerStore
from rag.types import Embedding
from tests.command_line import Done, Shell, call
from tests.store_contract import INFO, WITH_TENANTS, everything, make_document, make_terms, put

Fields = dict[str, Any]


@pytest.fixture
def client() -> ServerStore:
    """Empty."""
    return ServerStore("http://localhost:6333", "library", client=QdrantClient(":memory:"), parallel=1)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeStore]:
    """Three documents; one with metadata, one whose terms are 32-bit digests."""
    store = EdgeStore(tmp_path_factory.mktemp("archive") / "index")
    store.prepare(INFO)
    put(store, make_document("file:///a.md", "v1", 3, metadata={"team": "blue", "author": "Ä\u2028😀"}))
    put(store, make_terms("file:///b.md", 2, 7))
    put(store, make_document("file:///c%20d.md", "v3", 1, seed=3))
    yield store
    store.close()


@pytest.fixture(scope="module")
def archive(edge: EdgeStore) -> bytes:
    return exported(edge)


def exported(store: PassageStore) -> bytes:
    stream = io.BytesIO()
    write_archive(store, stream)
    return stream.getvalue()


def imported(archive: bytes, store: PassageStore) -> ArchiveReport:
    return read_archive(io.BytesIO(archive), store)


def sealed(lines: list[Fields]) -> bytes:
    """An archive of these lines whose digests are right, whatever they say."""
    written: list[bytes] = []
    for position, fields in enumerate(lines):
        if "document" in fields:
            digest = hashlib.blake2b(digest_size=16)
            for each in lines[position + 1 : position + 1 + fields["chunks"]]:
                digest.update(_line(each))
            fields = {**fields, "digest": digest.hexdigest()}
        if fields.get("end") is True:
            fields = {**fields, "digest": hashlib.blake2b(b"".join(written), digest_size=16).hexdigest()}
        written.append(_line(fields))
    return b"".join(written)


def _line(fields: Fields) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def lines_of(archive: bytes) -> list[Fields]:
    return [json.loads(line) for line in archive.splitlines()]


def test_an_index_goes_to_a_client_and_back_byte_for_byte(
    edge: EdgeStore, archive: bytes, client: ServerStore, tmp_path: Path
) -> None:
    report = imported(archive, client)
    assert (report.written, report.unchanged, report.chunks) == (3, 0, 6)
    assert exported(client) == archive
    with closing(EdgeStore(tmp_path / "again")) as again:
        imported(exported(client), again)
        assert exported(again) == archive
        assert again.info() == INFO
        assert list(again.documents()) == list(edge.documents())
        assert list(again.chunks("file:///a.md")) == list(edge.chunks("file:///a.md"))
        scores = [(c.chunk.id, c.sparse_score) for c in everything(again)]
        assert scores == [(c.chunk.id, c.sparse_score) for c in everything(edge)]
        dense = [[c.dense_score for c in everything(store)] for store in (again, edge)]
        np.testing.assert_allclose(dense[0], dense[1], atol=1e-6)


def test_importing_again_changes_nothing_and_another_version_is_replaced(archive: bytes, client: ServerStore) -> None:
    imported(archive, client)
    put(client, make_document("file:///a.md", "v0", 5, seed=20))
    put(client, make_document("file:///own.md", "v1", 1, seed=21))
    report = imported(archive, client)
    assert (report.written, report.updated, report.unchanged, report.chunks) == (0, 1, 2, 3)
    assert [(each.uri, each.version) for each in client.documents()] == [
        ("file:///a.md", "v1"),
        ("file:///b.md", "v1"),
        ("file:///c%20d.md", "v3"),
        ("file:///own.md", "v1"),
    ]


def test_an_archive_that_is_cut_off_anywhere_is_noticed_and_leaves_whole_documents(archive: bytes) -> None:
    whole = [json.loads(line)["document"] for line in archive.splitlines() if b'"document"' in line]
    for cut in range(0, len(archive), 397):
        client = ServerStore("http://localhost:6333", "library", client=QdrantClient(":memory:"), parallel=1)
        with pytest.raises(ReadError, match=r"^line \d+ of the archive .* cut off") as refusal:
            imported(archive[:cut], client)
        assert "\n" not in str(refusal.value)
        if cut > archive.index(b"\n"):
            there = list(client.documents())
            assert [each.uri for each in there] == whole[: len(there)]
            assert all(len(list(client.chunks(each.uri))) == each.chunk_count for each in there)


def test_a_flipped_letter_anywhere_is_refused_or_is_in_the_header_s_counts(archive: bytes) -> None:
    for at in range(0, len(archive), 211):
        damaged = bytearray(archive)
        damaged[at] ^= 1
        client = ServerStore("http://localhost:6333", "library", client=QdrantClient(":memory:"), parallel=1)
        with pytest.raises(RagError):
            imported(bytes(damaged), client)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "ffff"}, r"model 'tiny-model' \(fingerprint ffff, dimension 8\)"),
        ({"dimension": 16}, "dimension 16"),
        ({"schema_version": 9}, "schema version 9"),
        ({"tenant_key": "squad"}, "separated by 'squad', the index's by None"),
    ],
)
def test_an_archive_of_another_kind_than_the_index_is_refused(
    archive: bytes, client: ServerStore, changed: Fields, said: str
) -> None:
    client.prepare(INFO)
    first, *rest = lines_of(archive)
    with pytest.raises(IndexMismatchError, match=said):
        imported(sealed([{**first, **changed}, *rest]), client)
    assert list(client.documents()) == []


def test_a_document_that_lacks_a_passage_is_not_exported_as_if_it_were_whole(tmp_path: Path) -> None:
    with closing(EdgeStore(tmp_path / "torn")) as store:
        store.prepare(INFO)
        put(store, make_document("file:///a.md", "v1", 3))
        store.discard([point for point in store.inspect("file:///a.md") if point.chunk and point.chunk.ordinal == 1])
        with pytest.raises(StoreError, match=r"^'/a\.md' is torn: mend it with `ingest verify --repair`"):
            exported(store)


def test_the_vector_of_a_passage_that_many_documents_have_is_looked_up_once(
    client: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.archive_documents._MOST_VECTORS", 3)
    client.prepare(INFO)
    [shared], [vector] = make_document("file:///shared.md", "v1", 1)
    for number in range(4):
        chunks, embeddings = make_document(f"file:///{number}.md", "v1", 2, seed=10 * number)
        put(
            client,
            ([replace(chunks[0], text=shared.text, text_hash=shared.text_hash), chunks[1]], [vector, embeddings[1]]),
        )
    asked: list[str] = []
    embeddings_of = client.embeddings

    def counted(hashes: Sequence[str]) -> Mapping[str, Embedding]:
        asked.extend(hashes)
        return embeddings_of(hashes)

    monkeypatch.setattr(client, "embeddings", counted)
    lines = lines_of(exported(client))
    assert asked.count(shared.text_hash) == 1
    assert len(asked) == 5
    assert len({line["dense"] for line in lines if line.get("text") == shared.text}) == 1


def test_tenants_come_along_and_stay_apart(client: ServerStore, tmp_path: Path) -> None:
    with closing(EdgeStore(tmp_path / "tenants")) as edge:
        edge.prepare(WITH_TENANTS)
        put(edge, make_document("file:///a", "v1", 2, metadata={"team": "blue"}))
        archive = exported(edge)
    imported(archive, client)
    assert client.info().tenant_key == "team"
    first, head, *rest = lines_of(archive)
    with pytest.raises(RagError, match="another 'team'"):
        imported(sealed([first, {**head, "version": "v2", "metadata": {"team": "red"}}, *rest]), client)


def b64(values: list[float], kind: str = "<f4") -> str:
    with np.errstate(over="ignore"):
        return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()


UNIT = [1.0, *[0.0] * 7]
HOSTILE_CHUNKS: dict[str, tuple[Fields, str]] = {
    "NaN": ({"dense": b64([math.nan] * 8)}, "norm nan"),
    "infinity": ({"dense": b64([math.inf, *[0.0] * 7])}, "norm inf"),
    "no unit vector": ({"dense": b64([1.0] * 8)}, "norm 2.8"),
    "too short": ({"dense": b64(UNIT[:7])}, "7 components"),
    "too long": ({"dense": b64([*UNIT, 0.0])}, "36 bytes"),
    "no base64": ({"dense": "%%%"}, "dense is not base64"),
    "a list": ({"dense": UNIT}, "not a text"),
    "twice the same term": ({"ids": b64([3, 3], "<u4"), "weights": b64([0.5, 0.5])}, "strictly ascending"),
    "descending terms": ({"ids": b64([4, 3], "<u4"), "weights": b64([0.5, 0.5])}, "strictly ascending"),
    "a weight less": ({"ids": b64([3, 4], "<u4"), "weights": b64([0.5])}, "a weight each"),
    "a negative weight": ({"ids": b64([3], "<u4"), "weights": b64([-1.0])}, "above 0"),
    "a weight that is none": ({"ids": b64([3], "<u4"), "weights": b64([math.nan])}, "finite"),
    "a huge number": ({"start": 10**300}, "start is 1000"),
    "a negative one": ({"start": -5, "end": 3}, "start is -5"),
    "a fraction": ({"chunk": 0.0}, "chunk is 0.0"),
    "true": ({"chunk": True}, "chunk is True"),
    "another chunk": ({"chunk": 1}, "where chunk 0 belongs"),
    "another span": ({"end": 7_000}, "its span 7000"),
    "no text": ({"text": ""}, "its text has 0"),
    "a lone surrogate": ({"text": "\ud800", "start": 0, "end": 1}, "lone surrogate"),
    "a heading that is none": ({"headings": [["x"]]}, "a heading is"),
    "a page break elsewhere": ({"page_breaks": [9_999]}, "a page break is 9999"),
    "no tag": ({"language": "../../etc"}, "language is '../../etc'"),
    "a field too many": ({"state": "live"}, "state"),
}
HOSTILE_HEADS: dict[str, tuple[Fields, str]] = {
    "dots": ({"document": "file:///srv/../etc/passwd"}, "none that a document has"),
    "encoded dots": ({"document": "file:///srv/%2E%2e/etc"}, "none that a document has"),
    "a bare path": ({"document": "/etc/passwd"}, "document is '/etc/passwd'"),
    "a control character": ({"document": "file:///a\nb"}, "document is"),
    "an endless location": ({"document": "file:///" + "a" * 9_000}, "none that a document has"),
    "no chunks": ({"chunks": 0}, "chunks is 0"),
    "a time that is none": ({"ingested_at": 1e300}, "ingested_at is 1e"),
    "a key of the engine's": ({"metadata": {"a.b[]": "x"}}, "has the key 'a.b"),
    "metadata that is no text": ({"metadata": {"a": 3}}, "a is 3"),
    "a list of metadata": ({"metadata": []}, r"metadata is \[\]"),
}


@pytest.mark.parametrize("name", HOSTILE_CHUNKS)
def test_a_hostile_chunk_is_refused_with_its_line_and_nothing_is_written(
    archive: bytes, client: ServerStore, name: str
) -> None:
    changed, said = HOSTILE_CHUNKS[name]
    lines = lines_of(archive)
    lines[2] |= changed
    refused(sealed(lines), client, 3, said)


@pytest.mark.parametrize("name", HOSTILE_HEADS)
def test_a_hostile_document_is_refused_with_its_line_and_nothing_is_written(
    archive: bytes, client: ServerStore, name: str
) -> None:
    changed, said = HOSTILE_HEADS[name]
    lines = lines_of(archive)
    digest = lines[1]["digest"]
    lines[1] |= changed
    content = b"".join(_line(each) for each in [*lines[:1], {**lines[1], "digest": digest}, *lines[2:]])
    refused(content, client, 2, said)


def refused(archive: bytes, store: PassageStore, line: int, said: str) -> None:
    with pytest.raises(ReadError, match=rf"^line {line} of the archive .*{said}") as refusal:
        imported(archive, store)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400
    assert list(store.documents()) == []


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (b"[" * 100_000 + b"\n", "not a line of JSON"),
        (b'{"document": NaN}\n', "NaN is no number"),
        (b'{"document": "\xff"}\n', "not a line of JSON"),
        (b'{"n": ' + b"9" * 5_000 + b"}\n", "not a line of JSON"),
        (b"[]\n", "no JSON object"),
        (b"\n", "not a line of JSON"),
        (b"{}\n", "lacks some"),
        (b'"' + b"a" * (9 * 2**20), "longer than 8388608 bytes"),
    ],
)
def test_a_line_that_is_none_is_refused(archive: bytes, client: ServerStore, second: bytes, said: str) -> None:
    refused(archive.splitlines(keepends=True)[0] + second, client, 2, said)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({"archive": "another"}, "is no archive of cross-lingual-rag"),
        ({"archive_version": 2}, "upgrade it"),
        ({"archive_version": "1"}, "archive_version is '1'"),
        ({"dimension": 10**9}, "dimension is 1000000000"),
        ({"tenant_key": "a.b"}, "tenant_key is 'a.b'"),
    ],
)
def test_a_header_that_cannot_be_used_makes_no_index(
    archive: bytes, client: ServerStore, first: Fields, said: str
) -> None:
    header, *rest = lines_of(archive)
    with pytest.raises(ReadError, match=f"^line 1 of the archive .*{said}"):
        imported(sealed([{**header, **first}, *rest]), client)
    with pytest.raises(RagError, match="there is no collection"):
        client.info()


def test_documents_twice_wrong_counts_and_what_follows_the_end_are_refused(archive: bytes, client: ServerStore) -> None:
    lines = lines_of(archive)
    with pytest.raises(ReadError, match="was there before"):
        imported(sealed([*lines[:5], *lines[1:]]), client)
    with pytest.raises(ReadError, match="says that 9 documents came before it"):
        imported(sealed([*lines[:-1], {**lines[-1], "documents": 9}]), client)
    with pytest.raises(ReadError, match="comes after the end"):
        imported(archive + b"{}\n", client)


@examples(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.sampled_from(
        ["text", "start", "end", "page", "headings", "dense", "ids", "document", "metadata", "chunks", "x"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    ),
)
def test_whatever_a_field_says_an_import_ends_with_an_index_that_exports(
    archive: bytes, at: int, field: str, value: object
) -> None:
    lines = [dict(each) for each in lines_of(archive)]
    lines[at][field] = value
    client = ServerStore("http://localhost:6333", "library", client=QdrantClient(":memory:"), parallel=1)
    with suppress(RagError):
        imported(b"".join(_line(each) for each in lines), client)
    client.close()
    assert lines_of(exported(client))[-1]["end"] is True


def test_vectors_are_rounded_to_what_every_engine_gives_back() -> None:
    random = np.random.default_rng(3)
    chunks, embeddings = make_document("file:///a", "v1", 1)
    for _ in range(200):
        dense = random.standard_normal(256)
        unit = np.asarray(dense / np.linalg.norm(dense), np.float32)
        line = archive_records.chunk_line(chunks[0], Embedding(unit, embeddings[0].sparse))
        kept = np.frombuffer(base64.b64decode(json.loads(line)["dense"]), "<f4")
        np.testing.assert_allclose(kept, unit, atol=1.2e-7)
        normalised = np.asarray(kept / np.linalg.norm(kept), np.float32)
        again = archive_records.chunk_line(chunks[0], Embedding(normalised, embeddings[0].sparse))
        assert again == line


# The commands


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    (in_folder / "docs").mkdir()
    (in_folder / "docs" / "a.md").write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    (in_folder / "docs" / "b.md").write_text("# Torque\n\nThe bolts are tightened with ninety newton metres.\n")
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_STORE__PATH", str(in_folder / "store"))

    def run_here(*words: str, stdin: bytes | None = None) -> Done:
        return call(words, monkeypatch, capfd, stdin=stdin)

    assert run_here("ingest", "docs").code == 0
    return run_here


def test_an_index_goes_through_a_file_or_a_pipe_and_no_model_is_needed(shell: Shell, in_folder: Path) -> None:
    without_model = ("--model", "no-such-model")
    done = shell("ingest", "export", "all.jsonl.gz", *without_model)
    assert (done.code, done.out, done.err) == (0, "", "2 documents (2 chunks) exported\n")
    piped = shell("ingest", "export", "-", *without_model)
    content = gzip.decompress((in_folder / "all.jsonl.gz").read_bytes())
    assert piped.out.encode() == content
    done = shell("ingest", "import", "all.jsonl.gz", "--collection", "other", *without_model)
    assert (done.code, done.err) == (0, "2 added; 2 chunks written\n")
    again = shell("ingest", "import", "-", "--collection", "other", "--json", stdin=content)
    assert again.json == {"documents": {"added": 0, "updated": 0, "unchanged": 2}, "chunks": 0}
    assert shell("ingest", "export", "again.jsonl.gz", "--collection", "other").code == 0
    assert (in_folder / "again.jsonl.gz").read_bytes() == (in_folder / "all.jsonl.gz").read_bytes()
    found = shell("rag", "search", "When is the conveyor cleaned?", "--collection", "other", "--json")
    assert found.code == 0
    assert {line["source"] for line in found.lines} == {"docs/a.md", "docs/b.md"}


def test_an_export_writes_through_a_link_and_into_a_pipe_and_leaves_both_what_they_are(
    shell: Shell, in_folder: Path
) -> None:
    (in_folder / "disk").mkdir()
    (in_folder / "disk" / "old.jsonl").write_text("what was there")
    for link, target in (("link.jsonl", "disk/old.jsonl"), ("dangling.jsonl", "disk/new.jsonl")):
        (in_folder / link).symlink_to(target)
        assert shell("ingest", "export", link).code == 0
        assert (in_folder / link).is_symlink()
    whole = (in_folder / "disk" / "old.jsonl").read_bytes()
    assert whole == (in_folder / "disk" / "new.jsonl").read_bytes()
    os.mkfifo(in_folder / "pipe.jsonl.gz")
    with subprocess.Popen(["cat", "pipe.jsonl.gz"], stdout=subprocess.PIPE) as reader:
        try:
            assert shell("ingest", "export", "pipe.jsonl.gz").code == 0
            assert (in_folder / "pipe.jsonl.gz").is_fifo()
            assert gzip.decompress(reader.communicate()[0]) == whole
        finally:
            reader.kill()


def test_what_cannot_be_exported_or_imported_is_one_line(shell: Shell, in_folder: Path) -> None:
    (in_folder / "kept.jsonl").write_text("what was there")
    cases: dict[tuple[str, ...], int] = {
        ("export", "kept.jsonl", "--collection", "none"): 3,
        ("export", "no/folder/x.jsonl"): 5,
        ("export", "docs"): 5,
        ("import", "missing.jsonl"): 2,
        ("import", "docs"): 2,
        ("import", "kept.jsonl"): 1,
        ("import", "docs/a.md", "--collection", "new"): 1,
    }
    for words, code in cases.items():
        done = shell("ingest", *words)
        assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), (words, done)
    assert (in_folder / "kept.jsonl").read_text() == "what was there"
    assert shell("ingest", "export", "whole.jsonl.gz").code == 0
    packed = (in_folder / "whole.jsonl.gz").read_bytes()
    (in_folder / "half.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    done = shell("ingest", "import", "half.jsonl.gz", "--collection", "new")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert sorted(path.name for path in in_folder.iterdir() if "part" in path.name) == []
