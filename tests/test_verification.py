"""`ingest verify`: damage that the engine itself has written is found, named, mended, and nothing else is touched."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from ingest import chunking, ingest, readers, repair
from ingest.failures import Failures
from ingest.verification import Verifier
from rag import Settings, build
from rag.identity import point_id
from rag.ports import PassageStore
from rag.stores.schema import payload_of
from rag.stores.server import LEASE_SECONDS
from rag.types import Chunk, Embedding
from tests.command_line import Done, Shell, call
from tests.damage import Sparse, raw_points
from tests.qdrant_server import qdrant_server

PARAGRAPH = "Paragraph {} of {} tells how the {} belt of the machine is cleaned, tightened and checked each Monday.\n\n"
DOCUMENTS = ("belt", "motor", "valve")
Dump = dict[str, tuple[str, Any, Any]]


BOTH = pytest.mark.parametrize("settings", ["folder", "server"], indirect=True)


@pytest.fixture
def settings(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("RAG_STORE__PATH", str(settings.store.path))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_EMBEDDER__DTYPE", "float32")
    monkeypatch.setenv("RAG_INGEST__CHUNK_TOKENS", "48")
    changes: dict[str, Any] = {"ingest": settings.ingest.model_copy(update={"chunk_tokens": 48})}
    if getattr(request, "param", "folder") == "folder":
        yield settings.model_copy(update=changes)
        return
    with qdrant_server(grpc=False) as server:
        monkeypatch.setenv("RAG_STORE__URL", server.url)
        changes["store"] = settings.store.model_copy(update={"url": server.url})
        yield settings.model_copy(update=changes)


@pytest.fixture
def docs(in_folder: Path, settings: Settings) -> Path:
    """Three ingested documents of several passages: one with metadata of its own, all with some that were given."""
    folder = in_folder / "docs"
    folder.mkdir()
    for name in DOCUMENTS:
        write_document(folder / f"{name}.md", name, "---\nauthor: Ada\nteam: nobody\n---\n" if name == "motor" else "")
    assert ingest(folder, settings=settings, metadata={"team": "ops"}).added == 3
    return folder


def write_document(path: Path, name: str, head: str = "") -> None:
    path.write_text(head + "".join(PARAGRAPH.format(n, name, name) for n in range(5)))


@pytest.fixture
def shell(docs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    def run_here(*words: str) -> Done:
        return call(words, monkeypatch, capfd)

    return run_here


def opened(settings: Settings) -> closing[PassageStore]:
    return closing(build.store(settings))


def dump(settings: Settings) -> Dump:
    """Every point with all that it carries but the time at which its document was read."""
    with opened(settings) as store:
        points = list(store.inspect())
        vectors = store.embeddings([point.chunk.text_hash for point in points if point.chunk])
    found: Dump = {}
    for point in points:
        chunk = point.chunk and dataclasses.replace(point.chunk, ingested_at=0.0)
        found[point.id] = (point.state or "", chunk, chunk and vectors[chunk.text_hash].dense.round(5).tolist())
    return found


def chunks(store: PassageStore, name: str) -> list[Chunk]:
    [uri] = [each.uri for each in store.documents() if each.uri.endswith(f"/{name}.md")]
    found = list(store.chunks(uri))
    assert len(found) >= 4
    return found


def write(store: PassageStore, chunk: Chunk, embedding: Embedding, *, id: str | None = None, **changes: Any) -> None:
    """A point as the engine takes it, for the chunk or instead of it."""
    vectors = {
        "dense": changes.pop("dense", embedding.dense.tolist()),
        "sparse": Sparse((embedding.sparse.ids.tolist(), embedding.sparse.weights.tolist())),
    }
    raw_points(store, [(id or chunk.id, vectors, payload_of(chunk, "live") | changes)])


Damage = Callable[..., None]
"""Of a store, the chunks of a document and an embedding."""


def lose(*ordinals: int) -> Damage:
    def damage(store: PassageStore, chunks: list[Chunk], embedding: Embedding | None = None) -> None:
        lost = {chunks[ordinal].id for ordinal in ordinals}
        store.discard([point for point in store.inspect(chunks[0].uri) if point.id in lost])

    return damage


def overwrite(**changes: Any) -> Damage:
    def damage(store: PassageStore, chunks: list[Chunk], embedding: Embedding) -> None:
        write(store, chunks[1], embedding, **changes)

    return damage


def double(store: PassageStore, chunks: list[Chunk], embedding: Embedding) -> None:
    write(store, chunks[1], embedding, id="6f0c5ad2-0000-4000-8000-000000000001")


def swap_text(store: PassageStore, chunks: list[Chunk], embedding: Embedding) -> None:
    write(store, chunks[1], embedding, text=chunks[1].text.replace("Monday", "Friday"))


def add_one_too_many(store: PassageStore, chunks: list[Chunk], embedding: Embedding) -> None:
    count = len(chunks)
    id = point_id(chunks[0].uri, chunks[0].version, count)
    write(store, chunks[1], embedding, id=id, ordinal=count, chunk_count=count + 1)


def leave_an_older_version(store: PassageStore, chunks: list[Chunk], embedding: Embedding) -> None:
    for ordinal in (0, 1):
        id = point_id(chunks[0].uri, "older", ordinal)
        write(store, chunks[ordinal], embedding, id=id, version="older", ingested_at=1.0)


TORN: dict[str, tuple[Damage, str]] = {
    "a passage is missing": (lose(2), "1 of {} passages missing (#2)"),
    "the first is missing, so no list shows it": (lose(0), "1 of {} passages missing (#0)"),
    "several are missing": (lose(0, 1, 2, 3), "4 of {} passages missing (#0, #1, #2, …)"),
    "a vector is zero": (overwrite(dense=[0.0] * 256), "passage #1 its dense vector has norm 0, not 1"),
    "a text is another": (swap_text, "passage #1 its text does not fit its hash"),
    "a span is another": (overwrite(start=0, end=3), "its span is [0, 3)"),
    "a field is gone": (overwrite(text=None), "its field 'text' is a NoneType"),
    "an ordinal is there twice": (double, "as its uri, version and ordinal make it"),
    "a passage is one too many": (add_one_too_many, "it is one of"),
    "points are of an older version": (leave_an_older_version, "2 points of an older version"),
}


@BOTH
def test_what_is_torn_is_named_and_mended_to_what_it_was(shell: Shell, settings: Settings, docs: Path) -> None:
    for number in range(len(TORN)):
        write_document(docs / f"torn{number}.md", f"conveyor {number}")
    ingest(docs, settings=settings, metadata={"team": "ops"})
    assert shell("ingest", "verify").code == 0
    before = dump(settings)
    sizes = []
    with opened(settings) as store:
        for number, (damage, _) in enumerate(TORN.values()):
            there = chunks(store, f"torn{number}")
            sizes.append(len(there))
            damage(store, there, store.embeddings([there[1].text_hash])[there[1].text_hash])
    with np.errstate(all="ignore"):
        found = shell("ingest", "verify", "--json")
        assert (found.code, found.json["documents"]["torn"]) == (1, len(TORN))
        said = {finding["source"]: (finding["kind"], finding["reason"]) for finding in found.json["findings"]}
        for number, (case, (_, reason)) in enumerate(TORN.items()):
            kind, told = said.pop(f"docs/torn{number}.md")
            assert kind == "torn", case
            assert reason.format(sizes[number]) in told, case
        assert said == {}
        assert len(shell("ingest", "verify", "--json").json["findings"]) == len(TORN), "to look changes nothing"
        mended = shell("ingest", "verify", "--repair", "--json")
    assert (mended.code, mended.json["mended"]) == (0, len(TORN)), mended.err
    assert dump(settings) == before
    assert shell("ingest", "verify").code == 0
    assert ingest("docs", settings=settings, metadata={"team": "ops"}).unchanged == len(DOCUMENTS) + len(TORN)


def test_only_what_is_damaged_is_embedded_again(
    shell: Shell, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(settings) as store:
        of_motor = chunks(store, "motor")
        lose(2)(store, of_motor)
    embedder = build.embedder(settings)
    embedded: list[str] = []
    real = type(embedder).embed_passages

    def counted(self: Any, texts: Any) -> Any:
        embedded.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(type(embedder), "embed_passages", counted)
    assert shell("ingest", "verify").code == 1
    assert embedded == [], "to look loads no model"
    assert shell("ingest", "verify", "--repair").code == 0
    assert [of_motor[2].text in text for text in embedded] == [True]


def test_a_plain_ingest_mends_a_document_that_no_list_shows(shell: Shell, settings: Settings) -> None:
    before = dump(settings)
    with opened(settings) as store:
        lose(0)(store, chunks(store, "motor"))
        assert len(list(store.documents())) == 2
    assert ingest("docs", settings=settings, metadata={"team": "ops"}).added == 1
    assert dump(settings) == before


@BOTH
def test_points_of_another_program_are_named_and_taken_out(shell: Shell, settings: Settings) -> None:
    before = dump(settings)
    with opened(settings) as store:
        raw_points(store, [(7, {"dense": [1.0] * 256}, {"recipe": "soup"}), (8, {"dense": [1.0] * 256}, {})])
    found = shell("ingest", "verify")
    assert (found.code, "ingest: the index: torn: 2 points of no document" in found.err) == (1, True)
    assert shell("ingest", "verify", "docs").code == 0, "they are not below docs"
    assert shell("ingest", "verify", "--repair").code == 0
    assert dump(settings) == before


# Orphaned


@BOTH
def test_staged_points_of_a_dead_writer_go_and_those_of_a_living_one_stay(shell: Shell, settings: Settings) -> None:
    before = dump(settings)
    with opened(settings) as store:
        [chunk, *_] = chunks(store, "motor")
        new = dataclasses.replace(chunk, version="new", id=point_id(chunk.uri, "new", 0))
        dead = {**payload_of(new, "staged"), "staged_at": time.time() - LEASE_SECONDS - 5}
        raw_points(store, [(new.id, {"dense": [1.0] + [0.0] * 255}, dead)])
    found = shell("ingest", "verify", "--json")
    assert found.json["documents"] == {"looked_at": 3, "torn": 0, "orphaned": 1, "stale": 0, "unchecked": 0}
    assert found.json["findings"][0]["reason"] == "1 point staged and never committed"
    assert (shell("ingest", "verify", "--repair").code, dump(settings)) == (0, before)
    if settings.store.url:  # only there can a writer be at work between stage and commit while another looks
        with opened(settings) as store:
            raw_points(store, [(new.id, {"dense": [1.0] + [0.0] * 255}, {**dead, "staged_at": time.time()})])
        done = shell("ingest", "verify", "--repair", "--json")
        assert (done.code, done.json["findings"]) == (0, [])
        assert new.id in {point.id for point in build.store(settings).inspect()}


def test_a_document_whose_file_is_gone_is_named_and_stays(shell: Shell, settings: Settings, docs: Path) -> None:
    (docs / "motor.md").unlink()
    before = dump(settings)
    found = shell("ingest", "verify")
    assert (found.code, found.err.splitlines()[0]) == (1, "ingest: docs/motor.md: orphaned: its file is gone")
    done = shell("ingest", "verify", "--repair")
    assert done.code == 1
    assert "`ingest … --prune`" in done.err
    assert dump(settings) == before
    assert shell("ingest", "verify", "--index-only").code == 0
    with opened(settings) as store:
        lose(2)(store, chunks(store, "motor"))
    before = dump(settings)
    assert shell("ingest", "verify", "--repair").code == 1
    assert dump(settings) == before, "what is left of it is all that there is"
    assert shell("ingest", "docs", "--meta", "team=ops", "--prune").code == 0
    assert shell("ingest", "verify").code == 0


def test_a_pipe_in_a_document_s_place_is_not_waited_for(shell: Shell, settings: Settings, docs: Path) -> None:
    (docs / "motor.md").unlink()
    os.mkfifo(docs / "motor.md")
    (docs / "belt.md").unlink()
    (docs / "belt.md").symlink_to("motor.md")
    found = shell("ingest", "verify")
    assert (found.code, found.err.splitlines()[:2]) == (
        1,
        [f"ingest: docs/{name}.md: unchecked: what is in its file's place is no file" for name in ("belt", "motor")],
    )
    with opened(settings) as store:
        lose(2)(store, chunks(store, "motor"))
    before = dump(settings)
    assert shell("ingest", "verify", "--repair").code == 1
    assert dump(settings) == before, "what is left of it is all that there is"


# Stale


def test_a_changed_file_is_stale_until_it_is_mended_with_its_metadata(
    shell: Shell, settings: Settings, docs: Path
) -> None:
    motor = docs / "motor.md"
    motor.write_text(motor.read_text().replace("author: Ada", "author: Grace").replace("Monday", "Friday"))
    found = shell("ingest", "verify")
    assert found.code == 1
    assert "docs/motor.md: stale: its file, or the setting chunk_tokens, has changed" in found.err
    assert shell("ingest", "verify", "docs/belt.md", "docs/valve.md").code == 0
    mended = shell("ingest", "verify", "docs/motor.md", "--repair", "--json")
    assert (mended.code, mended.json["documents"]["looked_at"], mended.json["mended"]) == (0, 1, 1)
    with opened(settings) as store:
        [document] = [each for each in store.documents() if each.uri.endswith("/motor.md")]
        assert document.metadata["author"] == "Grace"
        assert all("Friday" in chunk.text for chunk in store.chunks(document.uri))


def test_another_reader_chunker_or_chunk_size_makes_stale(
    shell: Shell, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(readers, "VERSIONS", {**readers.VERSIONS, "md": 2})
        assert shell("ingest", "verify", "--json").json["documents"]["stale"] == 3
    with monkeypatch.context() as newer:
        newer.setattr(chunking, "VERSION", 2)
        found = shell("ingest", "verify")
        assert found.err.count("stale: its reader or the chunker has changed") == 3
        assert shell("ingest", "verify", "--repair").code == 0
        with opened(settings) as store:
            assert {each.metadata["team"] for each in store.documents()} == {"ops"}
    monkeypatch.setenv("RAG_INGEST__CHUNK_TOKENS", "96")
    found = shell("ingest", "verify", "--json")
    assert (found.json["documents"]["stale"], found.json["documents"]["torn"]) == (3, 0)


def test_an_index_of_another_model_is_stale_as_a_whole(shell: Shell, settings: Settings) -> None:
    description = settings.store.path / settings.store.collection / "index.json"
    made = json.loads(description.read_text())
    description.write_text(json.dumps({**made, "fingerprint": "00" * 32}))
    found = shell("ingest", "verify", "--json")
    assert (found.code, found.json["of_another_model"], found.json["findings"]) == (1, True, [])
    assert "the index was made with model 'pocket-m3'" in found.json["remark"]
    absent = shell("ingest", "verify", "--model", "acme/absent")
    assert (absent.code, "which documents are stale is not known" in absent.err) == (0, True)


def test_a_file_that_no_reader_can_read_leaves_its_document_as_it_was(
    shell: Shell, settings: Settings, docs: Path
) -> None:
    (docs / "motor.md").write_bytes(b"")
    with opened(settings) as store:
        lose(2)(store, chunks(store, "motor"))
    before = dump(settings)
    done = shell("ingest", "verify", "--repair", "--json")
    assert (done.code, done.json["mended"]) == (1, 0)
    assert "empty" in done.json["findings"][0]["left"]
    assert dump(settings) == before


def test_a_repair_reads_files_within_the_limits_of_the_settings(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    write_document(Path("docs/motor.md"), "valve")
    monkeypatch.setenv("RAG_INGEST__MAX_BYTES", "100")
    done = shell("ingest", "verify", "--repair")
    assert (done.code, "more than 100: split it, or raise RAG_INGEST__MAX_BYTES" in done.err) == (1, True)
    monkeypatch.delenv("RAG_INGEST__MAX_BYTES")
    assert shell("ingest", "verify", "--repair").code == 0


def test_a_repair_that_is_cut_off_is_brought_back_by_retry_failed(
    shell: Shell, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(settings)
    with opened(settings) as store:
        swap_all = chunks(store, "motor")
        for chunk in swap_all:
            vectors = {"dense": [1.0] + [0.0] * 255}
            raw_points(store, [(chunk.id, vectors, {**payload_of(chunk, "live"), "end": chunk.end + 1})])

    def killed(*arguments: Any, **named: Any) -> Any:
        if named.get("dry_run"):
            return real(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        real = repair.Repair._run
        during.setattr(repair.Repair, "_run", killed)
        assert shell("ingest", "verify", "--repair").code == 130
    assert len(dump(settings)) < len(before), "nothing of it is left in the index"
    assert shell("ingest", "verify").code == 0
    assert ingest(retry_failed=True, settings=settings).added == 1
    assert dump(settings) == before
    assert Failures(settings.store.path, settings.store.collection, settings.store.url).load() == []


# The command


def test_paths_narrow_what_is_looked_at(shell: Shell, settings: Settings, docs: Path) -> None:
    with opened(settings) as store:
        lose(2)(store, chunks(store, "motor"))
        size = len(chunks(store, "belt"))
    one = shell("ingest", "verify", "docs/belt.md", "--json")
    assert (one.code, one.json["points"], one.json["documents"]["looked_at"]) == (0, size, 1)
    assert shell("ingest", "verify", "docs").code == 1
    assert shell("ingest", "verify", "--all").code == 1
    nothing = shell("ingest", "verify", "elsewhere")
    assert (nothing.code, "holds nothing at or below 'elsewhere'" in nothing.err) == (2, True)
    assert shell("ingest", "verify", "docs", "--all").code == 2
    assert shell("ingest", "verify", "--repair", "--index-only").code == 2
    assert shell("ingest", "verify", "--collection", "never-made").code == 3


def test_a_whole_index_is_said_to_be(shell: Shell, settings: Settings) -> None:
    done = shell("ingest", "verify")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("3 documents, ")
    assert "all whole" in done.err
    report = shell("ingest", "verify", "--json").json
    assert report["mended"] is None
    assert report["documents"] == {"looked_at": 3, "torn": 0, "orphaned": 0, "stale": 0, "unchecked": 0}


def test_a_commit_that_goes_on_between_two_pages_is_no_damage() -> None:
    from tests.store_contract import INFO, make_document, put

    client = QdrantClient(":memory:")
    from rag.stores.server import ServerStore

    writer, reader = (ServerStore("http://x", "library", client=client, parallel=1) for _ in range(2))
    writer.prepare(INFO)
    put(writer, make_document("file:///a", "v1", 300, seed=1, ingested_at=time.time() - 1))
    new = make_document("file:///a", "v2", 300, seed=2, ingested_at=time.time())
    scroll = client.scroll
    pages = 0

    def between_pages(*arguments: Any, **named: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:
            put(writer, new)
        return scroll(*arguments, **named)

    client.scroll = between_pages  # type: ignore[method-assign]
    verifier = Verifier(reader, budget=320, chunk_tokens=None, files=False)
    verifier._fits = lambda chunk: True  # type: ignore[method-assign]  # these have no heading in their hash
    found = verifier.run()
    assert pages > 2
    assert found.findings == {}
    client.close()
