"""The command-line contract: options, fields of --json, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from rag.locales import load
from rag.stores.schema import SCHEMA_VERSION
from tests.command_line import Shell, call
from tests.index_copy import copy_index
from tests.openai_server import breaking, scripted_server, status, text

WARTUNG = "# Wartung\n\nDas Förderband wird jeden Montag gereinigt. Die Schichtleitung prüft danach die Spannung.\n"
QUESTION = "How often is the conveyor belt cleaned?"


def _write_docs(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "wartung.md").write_text(WARTUNG)
    cantine = "La cantine ouvre à midi et ferme à quatorze heures, du lundi au vendredi.\n"
    (folder / "docs" / "cantine.txt").write_text(cantine)


def _shell(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Runs command lines in `folder`, with the bundled model."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RAG_STORE__PATH", str(store))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    return lambda *words: call(words, monkeypatch, capfd)


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines in a folder of documents, with a store of its own in which nothing is yet."""
    _write_docs(in_folder)
    return _shell(in_folder, in_folder / "store", monkeypatch, capfd)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of documents and their index in store/; nobody writes to it."""
    folder = tmp_path_factory.mktemp("library").resolve()
    _write_docs(folder)
    settings = Settings(store={"path": folder / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    assert ingest([folder / "docs"], settings=settings).added == 2
    return folder


@pytest.fixture
def library(ingested: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines over that index that only read."""
    return _shell(ingested, ingested / "store", monkeypatch, capfd)


def test_ingest_reports_one_json_object(shell: Shell) -> None:
    Path("docs/bild.png").write_bytes(b"\x89PNG")
    Path("docs/leer.md").write_text("")
    done = shell("ingest", "docs", "--json")
    assert done.code == 1, "some files failed"
    report = done.json
    counts = {"added": 2, "updated": 0, "unchanged": 0, "removed": 0, "failed": 1, "skipped": 1}
    assert report["documents"] == counts
    assert report["chunks"] == 2
    assert report["tokens"] > 20
    assert report["seconds"] > 0
    [failure] = report["failures"]
    assert failure["source"] == "docs/leer.md"
    assert "docs/leer.md" in done.err


def test_ingest_for_people_keeps_stdout_free(shell: Shell) -> None:
    done = shell("ingest", "docs")
    assert (done.code, done.out) == (0, "")
    assert "2 added" in done.err
    assert "2 unchanged" in shell("ingest", "docs").err


def test_a_dry_run_leaves_no_index(shell: Shell) -> None:
    assert shell("ingest", "docs", "--dry-run", "--json").json["documents"]["added"] == 2
    assert shell("rag", "search", QUESTION).code == 3


def test_meta_exclude_and_filters_work_together(shell: Shell) -> None:
    assert shell("ingest", "docs", "--exclude", "*.txt", "--meta", "site=Linz").code == 0
    found = shell("rag", "search", QUESTION, "--where", "site=Linz", "--json")
    assert json.loads(found.out.splitlines()[0])["source"] == "docs/wartung.md"
    assert shell("rag", "search", QUESTION, "--where", "site=Graz", "--json").out == ""


def test_search_gives_one_json_object_a_line(library: Shell) -> None:
    done = library("rag", "search", QUESTION, "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["rank"] for line in lines] == [1, 2]
    best = lines[0]
    fields = "rank score dense_score sparse_score source uri title heading page language ordinal span text"
    assert set(fields.split()) <= set(best)
    assert best["source"] == "docs/wartung.md"
    assert best["language"] == "de"
    assert WARTUNG[slice(*best["span"])] == best["text"]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_each_mode_ranks_by_its_own_score(library: Shell, mode: str) -> None:
    lines = [
        json.loads(line)
        for line in library("rag", "search", "Förderband Spannung", "--mode", mode, "--json").out.splitlines()
    ]
    assert lines[0]["source"] == "docs/wartung.md"
    if mode != "hybrid":
        assert lines[0]["score"] == lines[0][f"{mode}_score"]


def test_search_can_be_narrowed_by_language_and_source(library: Shell) -> None:
    def sources(*options: str) -> set[str]:
        return {
            json.loads(line)["source"]
            for line in library("rag", "search", QUESTION, "--json", *options).out.splitlines()
        }

    assert sources("--in", "fr") == {"docs/cantine.txt"}
    assert sources("--in", "fr", "--in", "de-AT") == {"docs/cantine.txt", "docs/wartung.md"}
    assert sources("--source", "docs/*.md") == {"docs/wartung.md"}
    assert len(library("rag", "search", QUESTION, "-k", "1", "--json").out.splitlines()) == 1


def test_search_for_people_shows_where_and_what_without_colour_codes(library: Shell) -> None:
    done = library("rag", "search", QUESTION)
    assert done.code == 0
    assert "docs/wartung.md (German)" in done.out
    assert "jeden Montag" in done.out
    assert "\x1b" not in done.out + done.err


def test_ask_without_a_language_model_quotes_and_says_so(library: Shell) -> None:
    done = library("rag", "ask", "À quelle fréquence le convoyeur est-il nettoyé ?")
    assert done.code == 0
    assert load("fr").no_language_model in done.out
    assert "Das Förderband wird jeden Montag gereinigt." in done.out
    assert "[1] docs/" in done.out


def test_ask_gives_one_json_object(library: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(text("The conveyor belt is cleaned ", "every Monday [1].")) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        done = library("rag", "ask", QUESTION, "--json")
    assert done.code == 0
    answer = done.json
    fields = "question text asked_in answered_in language_ok complete refused citations passages usage timings"
    assert set(fields.split()) <= set(answer)
    assert answer["text"] == "The conveyor belt is cleaned every Monday [1]."
    assert (answer["asked_in"], answer["answered_in"], answer["language_ok"]) == ("en", "en", True)
    [citation] = answer["citations"]
    assert {"marker", "source", "title", "page", "language", "quote", "span"} <= set(citation)
    assert WARTUNG[slice(*citation["span"])] == citation["quote"]
    assert answer["passages"][0]["source"] == "docs/wartung.md"


def test_ask_streams_or_waits_to_the_same_text(library: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(text("The conveyor belt is cleaned ", "every Monday [1].")) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        assert library("rag", "ask", QUESTION).out == library("rag", "ask", QUESTION, "--no-stream").out


def test_a_model_cannot_speak_to_the_terminal(library: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(text("The belt \x1b[31mis\x1b[0m cleaned \x1b]0;title\x07every Monday [1].\x9b2J")) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        for options in ((), ("--no-stream",)):
            shown = library("rag", "ask", QUESTION, *options).out
            assert not {"\x1b", "\x07", "\x9b"} & set(shown)
            assert "every Monday [1]." in shown


def test_what_begins_anew_is_said_to(library: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    right = "The conveyor belt is cleaned every Monday, as the manual says. "
    german = "Danach prüft die Schichtleitung die Spannung des Bandes und schreibt sie auf. " * 2
    whole = "The conveyor belt is cleaned every Monday, and the shift leader checks its tension [1]."
    with scripted_server([text(right, german), text(whole), text(right, german), text(whole)]) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        done = library("rag", "ask", QUESTION)
        at_once = library("rag", "ask", QUESTION, "--no-stream")
    assert done.code == at_once.code == 0
    assert done.out.index("as the manual says") < done.out.index(load("en").restarted) < done.out.index("shift leader")
    assert at_once.out.startswith(whole)
    assert "Danach" not in done.out + at_once.out


def test_an_answer_in_the_wrong_language_is_said_to_be(library: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    german = "Das Förderband wird jeden Montag von der Schichtleitung gereinigt und geprüft [1]."
    with scripted_server(text(german)) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        done = library("rag", "ask", QUESTION)
    assert done.code == 0
    assert "may not be in your language. (German)" in done.err


def test_a_source_is_found_however_it_is_written(shell: Shell, in_folder: Path) -> None:
    (in_folder / "docs" / "[neu]*.txt").write_text("Le portail ferme à vingt heures tous les soirs.\n")
    shell("ingest", "docs")

    def found(glob: str) -> set[str]:
        lines = shell("rag", "search", QUESTION, "--json", "--source", glob).out.splitlines()
        return {Path(json.loads(line)["source"]).name for line in lines}

    for glob in ("docs/wartung.md", "./docs/wartung.md", "wartung.md", "*.md", str(in_folder / "docs" / "wart*")):
        assert found(glob) == {"wartung.md"}, glob
    for glob in ("docs", "docs/", str(in_folder / "docs")):
        assert found(glob) == {"wartung.md", "cantine.txt", "[neu]*.txt"}, glob
    assert found("docs/[neu]*.txt") == {"[neu]*.txt"}


def test_an_incomplete_answer_exits_with_one_and_keeps_its_text(
    library: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_server(breaking("The conveyor belt is cleaned every Monday and")) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        done = library("rag", "ask", QUESTION)
    assert done.code == 1
    assert "every Monday and" in done.out
    assert load("en").incomplete in done.err


def test_an_endpoint_that_is_down_or_refuses_exits_with_five(library: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
    monkeypatch.setenv("RAG_LLM__RETRIES", "0")
    monkeypatch.setenv("RAG_LLM__API_KEY", "sk-secret")
    monkeypatch.setenv("RAG_LLM__BASE_URL", "http://127.0.0.1:9/v1")
    down = library("rag", "ask", QUESTION)
    assert (down.code, len(down.err.strip().splitlines())) == (5, 1)
    assert "http://127.0.0.1:9/v1" in down.err
    with scripted_server(status(401, "bad key")) as server:
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        refused = library("rag", "ask", QUESTION)
    assert refused.code == 5
    assert "RAG_LLM__API_KEY" in refused.err
    assert "sk-secret" not in down.err + refused.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rag", "search"), 2, "QUESTION"),
        (("rag", "search", "  "), 2, "empty"),
        (("rag", "search", "x", "--mode", "best"), 2, "best"),
        (("rag", "search", "x", "-k", "0"), 2, "-k"),
        (("rag", "search", "x", "--in", "not a tag"), 2, "not a tag"),
        (("rag", "search", "x", "--where", "novalue"), 2, "novalue"),
        (("rag", "search", "x", "--collection", "../x"), 2, "collection"),
        (("rag", "nonsense"), 2, "nonsense"),
        (("ingest",), 2, "PATH"),
        (("ingest", "docs", "--meta", "a.b=1"), 2, "a.b"),
        (("rag", "search", "x", "--collection", "none-yet"), 3, "ingest"),
        (("rag", "search", "x", "--model", "./no-such-folder"), 3, "no-such-folder"),
        (("ingest", "docs", "--model", "./no-such-folder"), 3, "no-such-folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_exit_code(
    library: Shell, words: tuple[str, ...], code: int, said: str
) -> None:
    done = library(*words)
    assert done.code == code
    assert done.out == ""
    assert said in done.err
    message = [line for line in done.err.splitlines() if line and not line.startswith(("Usage:", "Try "))]
    assert len(message) == 1


def test_a_model_that_the_hub_would_have_names_the_way_out(library: Shell) -> None:
    done = library("ingest", "docs", "--model", "BAAI/bge-m3", "--collection", "big")
    assert done.code == 3
    assert "pocket-m3" in done.err


def test_an_index_of_an_older_schema_is_refused(
    library: Shell, ingested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [meta] = copy_index(ingested / "store", tmp_path / "store").rglob("index.json")
    monkeypatch.setenv("RAG_STORE__PATH", str(tmp_path / "store"))
    meta.write_text(meta.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 0'))
    for words in (("rag", "search", QUESTION), ("ingest", "docs")):
        done = library(*words)
        assert done.code == 3
        assert "schema" in done.err


def test_debug_shows_where_an_error_came_from(shell: Shell, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rag", "search", "x", "--debug"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_help_and_version_answer_without_loading_anything_heavy(shell: Shell) -> None:
    assert "ask" in shell("rag", "--help").out
    assert "PATH…" in shell("ingest", "--help").out
    assert "--mode" in shell("rag", "search", "--help").out
    code = (
        "import sys\nfrom rag.commands.shared import run\nfrom rag.__main__ import rag\n"
        "sys.argv = ['rag', '--help']\n"
        "try:\n run(rag, 'rag')\n"
        "except SystemExit: print(sorted({'pydantic', 'numpy', 'torch', 'rich', 'qdrant_edge'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_installed_commands_run(library: Shell) -> None:
    commands = Path(sys.executable).parent
    done = subprocess.run([commands / "rag", "search", QUESTION, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["source"] == "docs/wartung.md"
    done = subprocess.run([commands / "ingest", "docs", "--json"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["documents"]["unchanged"] == 2


def test_a_pipe_that_closes_early_is_no_error(library: Shell) -> None:
    for reader in ("head -c 5", "true"):  # the other has left before the first line comes
        done = subprocess.run(
            f'"{sys.executable}" -m rag list --json | {reader}', shell=True, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""


def test_a_file_name_that_is_no_text_breaks_neither_output_nor_the_others(shell: Shell) -> None:
    name = os.fsencode("docs/caf\udce9 \u202e\n.txt")
    Path(os.fsdecode(name)).write_text("Le café ferme à dix-huit heures tous les jours de la semaine.\n")
    assert shell("ingest", "docs", "--json").json["documents"]["added"] == 3
    found = shell("rag", "search", "Quand ferme le café ?", "--in", "fr", "--json")
    assert found.code == 0
    assert any("caf\udce9" in json.loads(line)["source"] for line in found.out.splitlines())
    shown = shell("rag", "search", "Quand ferme le café ?", "--in", "fr")
    assert r"docs/caf\udce9 \u202e\n.txt (French)" in shown.out


def test_a_language_model_can_be_asked_about_a_file_whose_name_is_no_text(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(os.fsdecode(b"docs/caf\xe9.txt")).write_text("Le café ferme à dix-huit heures tous les jours.\n")
    shell("ingest", "docs")
    with scripted_server(text("Il ferme à dix-huit heures [1].")) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        done = shell("rag", "ask", "Quand ferme le café ?", "--json")
    assert (done.code, done.err) == (0, "")


def test_strict_output_takes_every_file_name(shell: Shell) -> None:
    Path(os.fsdecode(b"docs/caf\xe9.txt")).write_text("Le café ferme à dix-huit heures tous les jours.\n")
    assert shell("ingest", "docs", "--quiet").code == 0
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "rag", "list", "--json"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line)["source"] for line in done.stdout.decode().splitlines()]
    assert sorted(listed) == ["docs/caf\udce9.txt", "docs/cantine.txt", "docs/wartung.md"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ingest", ""), "empty path"),
        (("ingest", "docs", "--exclude", "!"), "'!'"),
        (("ingest", "docs", "--meta", "k=\udcff"), "k"),
        (("rag", "search", "x", "--store", ""), "store.path"),
        (("rag", "search", "x", "--where", "a=1", "--where", "a=2"), "'a' twice"),
        (("rag", "search", "\u200b"), "question"),
        (("rag", "search", "a\udcffb"), "question"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(library: Shell, words: tuple[str, ...], said: str) -> None:
    done = library(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_model_that_is_broken_ends_the_run_at_once(shell: Shell, in_folder: Path) -> None:
    import shutil

    from rag.checkpoint import BUNDLED

    shutil.copytree(BUNDLED["pocket-m3"], in_folder / "model")
    (in_folder / "model" / "tokenizer.json").write_text("{")
    done = shell("ingest", "docs", "--model", str(in_folder / "model"), "--collection", "broken")
    assert done.code == 3
    assert "tokenizer.json" in done.err


@pytest.mark.parametrize("words", [("rag", "search", QUESTION), ("ingest", "docs"), ("ingest", "docs", "--dry-run")])
def test_for_an_index_of_another_model_none_is_fetched(library: Shell, words: tuple[str, ...]) -> None:
    done = library(*words, "--model", "BAAI/bge-m3")
    assert done.code == 3
    assert "--model pocket-m3" in done.err


def test_a_missing_index_is_said_before_a_model_is_fetched(shell: Shell) -> None:
    done = shell("rag", "search", "x", "--model", "BAAI/bge-m3")
    assert done.code == 3
    assert "ingest" in done.err
    assert "hub" not in done.err


def test_an_index_on_a_server_is_used_as_one_in_a_folder(shell: Shell) -> None:
    from tests.qdrant_server import qdrant_server

    with qdrant_server() as server:
        store = ("--store", server.url)
        assert shell("ingest", "docs", "--json", *store).json["documents"]["added"] == 2
        assert shell("ingest", "docs", "--json", *store).json["documents"]["unchanged"] == 2
        lines = shell("rag", "search", QUESTION, "--json", *store).out.splitlines()
        assert json.loads(lines[0])["source"] == "docs/wartung.md"
        assert not Path("store").exists()
    down = shell("rag", "search", QUESTION, *store)
    assert down.code == 5
    assert server.url in down.err


@pytest.mark.parametrize("word", ["remove", "list"])
def test_a_subcommand_behind_options_is_not_taken_for_a_path(shell: Shell, word: str) -> None:
    done = shell("ingest", "--collection", "other", word, "docs/wartung.md")
    assert (done.code, done.out) == (2, "")
    assert f"ingest {word}" in done.err
    Path(word).mkdir()
    (Path(word) / "eigen.txt").write_text("Ein Ordner, der so heißt wie ein Befehl.")
    assert shell("ingest", "--collection", "other", word, "--json").json["documents"]["added"] == 1


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("RAG_STORE__URL", ("rag", "list")),
        ("RAG_STORE__URL", ("rag", "config")),
        ("RAG_LLM__BASE_URL", ("rag", "config")),
        ("RAG_LLM__BASE_URL", ("rag", "ask", QUESTION)),
    ],
)
def test_a_password_in_a_malformed_address_is_not_shown(
    library: Shell, monkeypatch: pytest.MonkeyPatch, variable: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("RAG_LLM__MODEL", "any")
    for address in ("user:secretpw@host:6333", "ftp://host/v1?key=abc@secretpw"):
        monkeypatch.setenv(variable, address)
        done = library(*words)
        assert "secretpw" not in done.out + done.err
