"""`ingest rebuild`: another model or other chunks, while the old index answers, whatever happens meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from ingest.rebuilding import rebuild
from rag import build, tuned
from rag.errors import IndexMissingError, InputError
from rag.stores import edge
from rag.stores.edge_generations import EdgeGenerations
from rag.types import Chunk
from tests.command_line import Done, Shell, call
from tests.qdrant_server import qdrant_server
from tests.tiny_checkpoint import write_tiny_checkpoint

TEXT = "The pump of hall {0} is oiled on day {1}. Its filter is changed in week {1}, and the log is signed by {0}. "


@pytest.fixture
def library(in_folder: Path) -> Path:
    """Three documents of several passages each; one says something of itself."""
    folder = in_folder / "library"
    folder.mkdir()
    for name in ("a", "b", "c"):
        text = "\n\n".join(f"# Part {part}\n\n" + TEXT.format(name, part) * 2 for part in range(3))
        (folder / f"{name}.md").write_text(("---\nauthor: Ada\n---\n" if name == "c" else "") + text)
    return folder


@pytest.fixture
def first(settings: Settings, library: Path) -> Settings:
    """The settings of an index of the library."""
    ingest(library, settings=settings, metadata={"team": "blue"})
    return settings


def with_chunks(settings: Settings, tokens: int) -> Settings:
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"chunk_tokens": tokens})})


def with_model(settings: Settings, model: str) -> Settings:
    return settings.model_copy(update={"embedder": settings.embedder.model_copy(update={"model": model})})


def contents(settings: Settings) -> dict[str, list[Chunk]]:
    """Chunks by the file's name."""
    with closing(build.store(settings)) as store:
        return {Path(each.uri).name: list(store.chunks(each.uri)) for each in store.documents()}


def folder_of(settings: Settings) -> Path:
    return settings.store.path / settings.store.collection


def test_other_chunks_are_in_the_index_and_nothing_else_has_changed(first: Settings, library: Path) -> None:
    before = contents(first)
    smaller = with_chunks(first, 40)
    report = rebuild(settings=smaller)
    assert (report.switched, report.added, report.failed) == (True, 3, 0)
    after = contents(smaller)
    assert after.keys() == before.keys()
    for name in before:
        assert len(after[name]) > len(before[name])
        assert after[name][0].metadata == before[name][0].metadata
    assert after["c.md"][0].metadata == {"author": "Ada", "team": "blue"}
    assert EdgeGenerations(folder_of(first)).others() == []
    again = ingest(library, settings=smaller, metadata={"team": "blue"})
    assert (again.unchanged, again.updated) == (3, 0)


def test_the_same_model_embeds_no_text_again(first: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = build.embedder(first)
    monkeypatch.setattr(type(embedder), "embed_passages", lambda self, texts: pytest.fail("was embedded again"))
    before = contents(first)
    assert rebuild(settings=first).switched
    after = contents(first)
    assert {name: [chunk.id for chunk in chunks] for name, chunks in after.items()} == {
        name: [chunk.id for chunk in chunks] for name, chunks in before.items()
    }


def test_another_model_makes_an_index_of_its_own_and_what_was_tuned_goes(
    first: Settings, tmp_path: Path, library: Path
) -> None:
    other = with_model(first, str(write_tiny_checkpoint(tmp_path / "other-model")))
    folder_of(first).joinpath(tuned.TUNED_FILE).write_text("{}")
    report = rebuild(settings=other)
    assert (report.switched, report.added, report.untuned) == (True, 3, True)
    assert not folder_of(first).joinpath(tuned.TUNED_FILE).exists()
    embedder = build.embedder(other)
    with closing(build.store(other)) as store:
        build.require_fit(store, embedder, other)
        assert store.candidates(embedder.embed_query("Who signs the log?"), 5)
    (library / "b.md").unlink()
    back = rebuild(settings=first, keep_missing=True)
    assert [failure.source for failure in back.kept] == ["library/b.md"]
    with closing(build.store(first)) as store:
        [b] = [each for each in store.documents() if each.uri.endswith("b.md")]
        chunks = list(store.chunks(b.uri))
        vectors = store.embeddings([chunk.text_hash for chunk in chunks])
        assert len(vectors) == len(chunks) == b.chunk_count


def test_documents_without_their_files_stop_a_rebuild_or_are_taken_over(first: Settings, library: Path) -> None:
    before = contents(first)
    (library / "a.md").unlink()
    (library / "b.md").write_bytes(b"\xff\xfe\x00 no text" * 9)
    smaller = with_chunks(first, 40)
    with pytest.raises(InputError, match=r"1 in all: library/a\.md \(is gone\); .* --keep-missing"):
        rebuild(settings=smaller)
    assert contents(first) == before
    report = rebuild(settings=smaller, keep_missing=True)
    after = contents(first)
    assert report.switched
    assert {failure.source for failure in report.kept} >= {"library/a.md"}
    assert [chunk.text for chunk in after["a.md"]] == [chunk.text for chunk in before["a.md"]]
    assert len(after["c.md"]) > len(before["c.md"])


def test_a_document_that_cannot_be_read_leaves_the_old_index(first: Settings, library: Path) -> None:
    before = contents(first)
    (library / "b.md").write_text(" \n")
    report = rebuild(settings=with_chunks(first, 40))
    assert (report.switched, [failure.source for failure in report.failures]) == (False, ["library/b.md"])
    assert contents(first) == before


def test_files_are_read_within_the_limits_of_the_settings(first: Settings) -> None:
    limited = first.model_copy(update={"ingest": first.ingest.model_copy(update={"max_bytes": 100})})
    report = rebuild(settings=limited)
    assert (report.switched, report.failed) == (False, 3)
    assert "more than 100: split it, or raise RAG_INGEST__MAX_BYTES" in report.failures[0].error


def test_the_new_index_is_optimized_once_it_answers(first: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "WORTHWHILE", 5)
    smaller = with_chunks(first, 40)
    told: list[int] = []
    report = rebuild(settings=smaller, on_optimizing=told.append)
    after = contents(smaller)
    assert told == [sum(len(chunks) for chunks in after.values())]
    assert report.optimized is not None
    assert all(len(chunks) > 3 for chunks in after.values())


def test_what_is_ingested_and_removed_during_a_rebuild_is_so_afterwards(first: Settings, library: Path) -> None:
    (library / "d.md").write_text("# New\n\nThe crane is painted green.\n")
    meanwhile = threading.Event()

    def once(progress: object) -> None:
        if not meanwhile.is_set():
            meanwhile.set()
            (library / "a.md").write_text("# Changed\n\nThe pump was sold.\n")
            ingest([library / "a.md", library / "d.md"], settings=first)
            with closing(build.store(first)) as store:
                [c] = [each for each in store.documents() if each.uri.endswith("c.md")]
                store.remove(c.uri)

    smaller = with_chunks(first, 40)
    assert rebuild(settings=smaller, on_progress=once).switched
    assert meanwhile.is_set()
    after = contents(smaller)
    assert sorted(after) == ["a.md", "b.md", "d.md"]
    assert [chunk.text for chunk in after["a.md"]] == ["# Changed\n\nThe pump was sold."]


def test_a_rebuild_that_was_ended_goes_on_where_it_was(first: Settings) -> None:
    before = contents(first)
    smaller = with_chunks(first, 40)
    stop = threading.Event()
    stop.set()
    ended = rebuild(settings=smaller, stop=stop)
    assert (ended.switched, ended.added, ended.left) == (False, 1, 2)
    assert contents(first) == before
    report = rebuild(settings=smaller)
    assert (report.switched, report.unchanged, report.added) == (True, 1, 2)


def test_without_an_index_there_is_nothing_to_rebuild(settings: Settings) -> None:
    with pytest.raises(IndexMissingError):
        rebuild(settings=settings)
    assert not folder_of(settings).exists()


def test_on_a_server_the_new_collection_takes_over_and_open_stores_go_on(settings: Settings, library: Path) -> None:
    with qdrant_server() as server:
        there = settings.model_copy(update={"store": settings.store.model_copy(update={"url": server.url})})
        ingest(library, settings=there)
        with closing(build.store(there)) as store:
            before = sum(document.chunk_count for document in store.documents())
            for tokens in (40, 60):
                assert rebuild(settings=with_chunks(there, tokens)).switched
                assert sum(document.chunk_count for document in store.documents()) > before
        assert build.collections(there) == ["default"]
        assert sum(name == "drop" for name in server.names()) == 2


PROGRAM = """
import sys
from rag_config.settings import Settings
from ingest import embedding
from ingest.rebuilding import rebuild
from rag.stores.index_folder import point_to
from rag.stores import edge_generations
from rag.stores.edge import EdgeStore
from benchmarks.kills import die_at
step, after = sys.argv[3:]
if step == "point_to":
    class Pointer:
        point_to = staticmethod(point_to)
    die_at(Pointer, "point_to", 1, after == "after")
    edge_generations.point_to = Pointer.point_to
else:
    embedding._SIZES = (1, 1)  # each document is committed by itself
    die_at(EdgeStore, step, 2, after == "after")
rebuild(settings=Settings(
    store={"path": sys.argv[1]}, embedder={"model": "pocket-m3", "dtype": "float32"},
    ingest={"chunk_tokens": int(sys.argv[2])},
))
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["commit_all before", "point_to before", "point_to after"])
def test_a_rebuild_that_is_killed_leaves_a_whole_index_and_the_next_one_ends_it(first: Settings, step: str) -> None:
    before = contents(first)
    words = [sys.executable, "-c", PROGRAM, str(first.store.path), "40", *step.split()]
    killed = subprocess.run(words, cwd=Path(__file__).parent.parent, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    smaller = with_chunks(first, 40)
    switched = step == "point_to after"
    found = contents(first)
    if switched:
        assert all(len(found[name]) > len(before[name]) for name in before)
    else:
        assert found == before
    report = rebuild(settings=smaller)
    assert (report.switched, report.failed) == (True, 0)
    assert report.unchanged == (0 if switched else 1 if "commit" in step else 3)
    assert EdgeGenerations(folder_of(first)).others() == []
    generations = list((folder_of(first) / "generations").iterdir())
    assert len(generations) == 1
    assert all(len(chunks) > len(before[name]) for name, chunks in contents(smaller).items())


@pytest.mark.slow
def test_a_process_that_asks_all_along_is_answered_all_along(first: Settings) -> None:
    program = (
        "import sys\n"
        "from rag_config.settings import Settings\n"
        "from rag.api import open_rag\n"
        "rag = open_rag(Settings(store={'path': sys.argv[1]}, embedder={'model': 'pocket-m3', 'dtype': 'float32'}))\n"
        "seen = set()\n"
        "import select\n"
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    passages = rag.search('Who signs the log of hall a?', k=8).passages\n"
        "    assert passages\n"
        "    if not seen: print('ready', flush=True)\n"
        "    seen.add(max(len(passage.chunk.text) for passage in passages))\n"
        "rag.search('Who signs the log of hall a?', k=8)\n"  # after the switch: it leaves the old index
        "rag.close()\n"
        "print(sorted(seen), flush=True)\n"
    )
    asker = subprocess.Popen(
        [sys.executable, "-c", program, str(first.store.path)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert asker.stdout is not None
    assert asker.stdout.readline() == "ready\n"
    assert rebuild(settings=with_chunks(first, 40)).switched
    out, err = asker.communicate("\n", timeout=60)
    assert asker.returncode == 0, err
    lengths = [int(word) for word in out.strip("[]\n").split(",")]
    assert max(lengths) > 200  # the old index answered
    with closing(build.store(first)) as store:
        assert EdgeGenerations(folder_of(first)).others() == []
        assert max(len(chunk.text) for each in store.documents() for chunk in store.chunks(each.uri)) < 200


# The command


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_STORE__PATH", str(in_folder / "store"))

    def run_here(*words: str) -> Done:
        return call(words, monkeypatch, capfd)

    return run_here


def test_the_command_says_what_it_did_and_what_is_to_be_set(shell: Shell, library: Path) -> None:
    assert shell("ingest", "library").code == 0
    done = shell("ingest", "rebuild", "--chunk-tokens", "40")
    assert done.code == 0
    assert done.err.startswith("3 written; ")
    assert "the new index answers" in done.err
    assert "set RAG_INGEST__CHUNK_TOKENS=40" in done.err
    as_json = shell("ingest", "rebuild", "--chunk-tokens", "60", "--json").json
    assert (as_json["switched"], as_json["documents"]["written"], as_json["kept"]) == (True, 3, [])
    assert shell("rag", "list").code == 0


def test_the_command_names_what_would_be_lost(shell: Shell, library: Path) -> None:
    shell("ingest", "library")
    (library / "a.md").unlink()
    done = shell("ingest", "rebuild")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "library/a.md (is gone)" in done.err
    kept = shell("ingest", "rebuild", "--keep-missing")
    assert kept.code == 0
    assert "library/a.md: is gone: taken over as it was" in kept.err
    (library / "b.md").write_text(" ")
    failed = shell("ingest", "rebuild", "--chunk-tokens", "50")
    assert failed.code == 2  # a.md is still gone
    (library / "a.md").write_text("# Back\n\nIt is here again.\n")
    failed = shell("ingest", "rebuild", "--chunk-tokens", "50")
    assert failed.code == 1
    assert "library/b.md: the file holds no text" in failed.err
    assert "the old index stays" in failed.err
