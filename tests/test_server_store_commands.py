"""`ingest` and `rag` as commands over a server's store: what works, and what is read when the server is at fault.

The server is tests.qdrant_server's; the commands run in this process, with their exit codes and both their streams.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from rag import Settings, build
from tests.command_line import Done, Shell, call
from tests.qdrant_server import Call, QdrantServer, Refusal, qdrant_server, two_free_ports

KEY = "s3cret-key-of-the-tests"


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines in a folder with three documents, with the bundled model and little patience."""
    (in_folder / "docs").mkdir()
    for name, text in {
        "a.md": "# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n",
        "b.md": "# Torque\n\nThe bolts of the gearbox are tightened with ninety newton metres.\n",
        "c.md": "# Garantie\n\nDie Garantie gilt zwei Jahre ab dem Tag der Lieferung.\n",
    }.items():
        (in_folder / "docs" / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_STORE__TIMEOUT", "1")
    monkeypatch.setenv("RAG_STORE__PATH", str(in_folder / "no-folder-is-wanted"))

    def run_here(*words: str) -> Done:
        done = call(words, monkeypatch, capfd)
        assert KEY not in done.out + done.err
        return done

    return run_here


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with qdrant_server() as server:
        yield server


ASKED = (("rag", "search", "Wann wird gereinigt?"), ("rag", "ask", "Wann?"), ("rag", "list"), ("ingest", "docs"))
"""Every way to the store: embedding a question, answering one, reading alone, and writing."""


def refused(shell: Shell, url: str, code: int, *, collection: str = "default") -> list[str]:
    """What each command says in its one line on stderr, when it ends with `code` and nothing on stdout."""
    said = []
    for words in ASKED:
        done = shell(*words, "--store", url, "--collection", collection)
        assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), (words, done)
        assert done.err.startswith(f"{words[0]}: ")
        said.append(done.err)
    return said


# As it should be


def test_documents_go_to_the_server_and_are_found_listed_and_removed_there(shell: Shell, server: QdrantServer) -> None:
    at = ("--store", server.url, "--collection", "manuals")
    assert shell("ingest", "docs", *at, "--json").lines[0]["documents"]["added"] == 3
    found = shell("rag", "search", "How often is the conveyor belt cleaned?", "--json", *at)
    assert (found.code, len(found.lines)) == (0, 3)
    assert [line["source"] for line in shell("rag", "list", "--json", *at).lines] == [f"docs/{n}.md" for n in "abc"]
    [report] = shell("ingest", "remove", "docs/a.md", "--yes", "--json", *at).lines
    assert report["documents"] == {"removed": 1, "unknown": 0}
    assert shell("ingest", "docs", *at, "--json").lines[0]["documents"]["added"] == 1


def test_removing_what_is_not_there_alone_reports_like_removing_what_is_there_in_part(
    shell: Shell, server: QdrantServer
) -> None:
    at = ("--store", server.url)
    shell("ingest", "docs", *at)
    done = shell("ingest", "remove", "nope", "--yes", "--json", *at)
    assert done.code == 2
    assert done.lines == [
        {
            "documents": {"removed": 0, "unknown": 1},
            "chunks": 0,
            "dry_run": False,
            "removed": [],
            "unknown": ["nope"],
            "forgotten": [],
        }
    ]
    assert "'nope'" in done.err
    assert shell("ingest", "remove", "nope", "--yes", *at).out == ""


def test_collections_are_named_without_those_of_others(shell: Shell, server: QdrantServer) -> None:
    for collection in ("manuals", "archive"):
        shell("ingest", "docs/a.md", "--store", server.url, "--collection", collection)
        shell("ingest", "docs/a.md", "--store", "here", "--collection", f"{collection}-here")
    server._engine.create_collection("recipes", models.VectorParams(size=4, distance=models.Distance.DOT))
    on_server, here = Settings(store={"url": server.url}), Settings(store={"path": "here"})  # type: ignore[arg-type]
    assert build.collections(on_server) == ["archive", "manuals"]
    assert build.collections(here) == ["archive-here", "manuals-here"]
    assert build.collections(Settings(store={"path": "nowhere"})) == []  # type: ignore[arg-type]


# As it should not be


def test_a_server_that_is_down_ends_every_command_with_5(shell: Shell) -> None:
    url = f"http://127.0.0.1:{two_free_ports()}"
    for line in refused(shell, url, 5):
        assert f"no server answers at {url}" in line
        assert "docker compose up -d" in line


def test_the_grpc_port_ends_every_command_with_5_and_names_the_right_one(shell: Shell, server: QdrantServer) -> None:
    for line in refused(shell, f"http://127.0.0.1:{server.port + 1}", 5):
        assert "HTTP port (6333 by default), not its gRPC port (6334)" in line


def test_a_server_with_grpc_alone_ends_every_command_with_5(shell: Shell, server: QdrantServer) -> None:
    server._http.shutdown()
    server._http.server_close()
    try:
        for line in refused(shell, server.url, 5):
            assert f"no server answers at {server.url}" in line
    finally:
        assert server._grpc is not None
        server._grpc.stop(grace=None).wait()
        server.start()


@pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])
def test_a_wrong_and_a_missing_key_end_every_command_with_5(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, with_grpc: bool
) -> None:
    with qdrant_server(api_key=KEY, grpc=with_grpc) as server:
        for line in refused(shell, server.url, 5):
            assert "wants an API key: set RAG_STORE__API_KEY" in line
        monkeypatch.setenv("RAG_STORE__API_KEY", "another-key")
        for line in refused(shell, server.url, 5):
            assert "refuses the API key: correct RAG_STORE__API_KEY" in line
            assert "another-key" not in line
        monkeypatch.setenv("RAG_STORE__API_KEY", KEY)
        assert shell("ingest", "docs", "--store", server.url).code == 0


def test_a_server_that_is_too_old_ends_every_command_with_5_and_both_versions(shell: Shell) -> None:
    with qdrant_server(version="1.15.5") as server:
        for line in refused(shell, server.url, 5):
            assert "has version 1.15.5, but 1.16 is the oldest" in line


def test_a_collection_of_another_application_ends_every_command_with_3_and_is_left_alone(
    shell: Shell, server: QdrantServer
) -> None:
    engine: QdrantClient = server._engine
    engine.create_collection("recipes", models.VectorParams(size=4, distance=models.Distance.DOT))
    for line in refused(shell, server.url, 3, collection="recipes"):
        assert "'recipes'" in line
        assert "belongs to another application" in line
        assert "choose another --collection" in line
    assert engine.count("recipes").count == 0
    assert not {"create", "index", "upsert", "delete"} & set(server.names())


def test_a_collection_of_another_model_ends_what_needs_the_model_with_3_and_both_names(
    shell: Shell, server: QdrantServer
) -> None:
    assert shell("ingest", "docs", "--store", server.url).code == 0
    metadata = server._engine.get_collection("default").config.metadata or {}
    server._engine.delete_collection("default")
    server._engine.create_collection(
        "default",
        {"dense": models.VectorParams(size=metadata["dimension"], distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
        metadata={**metadata, "model": "acme/tall-m3", "fingerprint": "ab" * 32},
    )
    for words in (("rag", "search", "x"), ("rag", "ask", "x"), ("ingest", "docs"), ("ingest", "docs", "--dry-run")):
        done = shell(*words, "--store", server.url)
        assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
        for part in ("'acme/tall-m3'", "'pocket-m3'", "another --collection"):
            assert part in done.err
    assert server._engine.count("default").count == 0


@pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])
def test_a_server_that_goes_away_in_mid_ingest_keeps_what_was_committed_and_the_next_run_does_the_rest(
    shell: Shell, with_grpc: bool
) -> None:
    for name in "de":
        Path("docs", f"{name}.md").write_text(f"# Neu\n\nDas Dokument {name} kam später dazu.\n")
    with qdrant_server(grpc=with_grpc) as server:
        at = ("--store", server.url, "--json")
        committed: list[str] = []
        stopping = threading.Thread(target=server.stop)

        def go_away(call: Call) -> None:
            if call.name == "set_payload":
                committed.append(call.name)
            if len(committed) == 3:  # the third document's
                server.before = lambda call: None
                stopping.start()
                raise Refusal(503, "going down")

        server.before = go_away
        done = shell("ingest", "docs", *at)
        stopping.join()
        assert (done.code, done.out) == (5, ""), done
        said = done.err.splitlines()[-1]
        assert f"no server answers at {server.url}" in said
        assert "2 of 5 files were written and stay, 2 failed, 1 not yet: the same command goes on with them" in said
        server.start()
        assert [line["source"] for line in shell("rag", "list", *at).lines] == ["docs/a.md", "docs/b.md"]
        [report] = shell("ingest", "docs", *at).lines
        assert (report["documents"]["unchanged"], report["documents"]["added"]) == (2, 3)
        assert len(shell("rag", "list", *at).lines) == 5


# Tenants


@pytest.fixture(params=["folder", "server"])
def team_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: QdrantServer) -> str:
    """A store that the next ingest makes with tenants."""
    monkeypatch.setenv("RAG_STORE__TENANT_KEY", "team")
    return server.url if request.param == "server" else "team-store"


def test_tenants_share_a_collection_and_find_their_own_documents_alone(
    shell: Shell, team_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--store", team_store)
    nobody_s = shell("ingest", "docs", *at)
    assert (nobody_s.code, nobody_s.out, nobody_s.err.count("\n")) == (2, "", 1)
    assert "--meta team=NAME" in nobody_s.err
    assert shell("ingest", "docs/a.md", "--meta", "team=ops", *at).code == 0
    monkeypatch.delenv("RAG_STORE__TENANT_KEY")  # a client that knows nothing of it
    assert shell("ingest", "docs/b.md", *at).code == 2
    assert shell("ingest", "docs/b.md", "--meta", "team=law", *at).code == 0
    for words in (("rag", "search", "belt"), ("rag", "ask", "belt"), ("rag", "search", "belt", "--in", "de")):
        done = shell(*words, *at)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "--where team=NAME" in done.err
    for team, source in (("ops", "docs/a.md"), ("law", "docs/b.md")):
        found = shell("rag", "search", "gereinigt", "--where", f"team={team}", "--json", *at).lines
        assert [line["source"] for line in found] == [source]
    assert shell("rag", "search", "gereinigt", "--where", "team=sales", "--json", *at).out == ""


def test_a_document_of_another_tenant_is_reported_and_the_others_are_ingested(shell: Shell, team_store: str) -> None:
    at = ("--store", team_store, "--json")
    assert shell("ingest", "docs/a.md", "--meta", "team=ops", *at).code == 0
    done = shell("ingest", "docs", "--meta", "team=law", *at)
    assert done.code == 1
    [report] = done.lines
    assert (report["documents"]["added"], report["documents"]["failed"]) == (2, 1)
    [failure] = report["failures"]
    assert failure["source"] == "docs/a.md"
    assert "a document of another 'team' than 'law'" in failure["error"]
    found = shell("rag", "search", "gereinigt", "--where", "team=ops", *at).lines
    assert [line["source"] for line in found] == ["docs/a.md"]


def test_a_front_matter_s_tenant_is_not_taken_for_the_ingester_s(shell: Shell, team_store: str) -> None:
    Path("docs/d.md").write_text("---\nteam: law\n---\n\nThe belt is cleaned by nobody at all.\n", encoding="utf-8")
    assert shell("ingest", "docs/d.md", "--store", team_store).code == 2
    assert shell("ingest", "docs/d.md", "--meta", "team=ops", "--store", team_store).code == 0
    for team, found in (("ops", 1), ("law", 0)):
        done = shell("rag", "search", "belt", "--where", f"team={team}", "--json", "--store", team_store)
        assert len(done.lines) == found


def test_another_tenant_key_than_the_collection_s_is_refused_with_both(
    shell: Shell, team_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--store", team_store)
    assert shell("ingest", "docs/a.md", "--meta", "team=ops", *at).code == 0
    monkeypatch.setenv("RAG_STORE__TENANT_KEY", "site")
    for words in (("rag", "search", "x", "--where", "team=ops"), ("ingest", "docs", "--meta", "team=ops")):
        done = shell(*words, *at)
        assert (done.code, done.err.count("\n")) == (3, 1)
        assert "'team'" in done.err
        assert "RAG_STORE__TENANT_KEY is 'site'" in done.err


def test_keys_of_the_settings_are_indexed_before_any_data(
    shell: Shell, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_STORE__METADATA_KEYS", "year, site")
    assert shell("ingest", "docs", "--meta", "year=2031", "--store", server.url).code == 0
    fields = [call.arguments.get("field", call.name) for call in server.calls if call.name in ("index", "upsert")]
    assert {"metadata.year", "metadata.site"} < set(fields[: fields.index("upsert")])
    for wrong in ("year, a.b", "Größe"):
        monkeypatch.setenv("RAG_STORE__METADATA_KEYS", wrong)
        done = shell("ingest", "docs", "--store", server.url)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert "RAG_STORE__METADATA_KEYS" in done.err
        assert repr(wrong.split()[-1]) in done.err
