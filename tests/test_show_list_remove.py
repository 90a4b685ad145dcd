"""`rag show`, `rag list`, `ingest list`, `ingest remove`, and `ingest` as a command with and without subcommands."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from rag_config.settings import Settings
from rich.cells import cell_len

import ingest
from ingest.cli import command as ingest_command
from rag import build
from rag.commands.stored_documents import KnownSources
from rag.locations import uri_of
from rag.normalization import printable
from rag.types import StoredDocument
from tests.command_line import Done, Shell, call
from tests.index_copy import copy_index
from tests.samples import a_chunk
from tests.store_contract import make_embedding

DEMO = Path(__file__).parent.parent / "demo" / "library"
TORQUES = "".join(
    f"# Teil {part}\n\n"
    + "".join(f"Die Schraube {row} an Teil {part} wird mit {row} Newtonmeter angezogen.\n" for row in range(1, 16))
    + "\n"
    for part in range(1, 5)
)
DOCUMENTS = {
    "handbuch.md": TORQUES,
    "de/README.md": "# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n",
    "en/README.md": "# Maintenance\n\nThe conveyor belt is cleaned every Monday morning by the crew.\n",
    "安全.md": "# 安全マニュアル\n\n毎週月曜日にコンベアを清掃します。\n",
    "دليل.md": "# دليل السلامة\n\nيتم تنظيف الحزام الناقل كل يوم اثنين.\n",
    "note[1].txt": "The first note says that the warehouse opens at eight in the morning.\n",
    "note1.txt": "The other note says that the warehouse closes at six in the evening.\n",
    "part#1.txt": "The number sign belongs to the name of this file and to nothing else.\n",
}
WITH_PDF = len(DOCUMENTS) + 1


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with docs/ and their index in store/; nobody writes to it."""
    folder = tmp_path_factory.mktemp("shelf").resolve()
    for name, text in DOCUMENTS.items():
        file = folder / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    shutil.copy(DEMO / "de" / "drucker-einrichten.pdf", folder / "docs" / "drucker.pdf")
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]  # pydantic turns the tables into their groups
        embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
        ingest={"chunk_tokens": 128},  # type: ignore[arg-type]
    )
    plain = [folder / "docs" / name for name in DOCUMENTS if not name.endswith("README.md")]
    assert ingest.ingest([*plain, folder / "docs" / "drucker.pdf"], settings=settings).failed == 0
    tagged = [folder / "docs" / "de", folder / "docs" / "en"]
    assert ingest.ingest(tagged, settings=settings, metadata={"site": "Linz"}).added == 2
    return folder


def _shell(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RAG_STORE__PATH", str(store))
    # Were a model looked for, that would end with exit code 3.
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "./no-such-model")

    def run_here(*words: str) -> Done:
        done = call(words, monkeypatch, capfd)
        assert "\x1b" not in done.out + done.err
        return done

    return run_here


@pytest.fixture
def shell(ingested: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines that only read."""
    return _shell(ingested, ingested / "store", monkeypatch, capfd)


@pytest.fixture
def own(ingested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Command lines over an index of the test's own."""
    copy_index(ingested / "store", tmp_path / "store")
    return _shell(ingested, tmp_path / "store", monkeypatch, capfd)


def held(shell: Shell) -> set[str]:
    return {source.removeprefix("docs/") for source in shell("rag", "list", "--json").sources}


def on_a_terminal(*words: str, typed: str = "", columns: int = 80) -> tuple[int, str]:
    """Exit code and all that is seen; `typed` is entered once a question mark or a bracketed choice stands there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-m", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    seen = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            try:
                read = os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not read:
                break
            seen += read
            if typed and b"[y/N]" in seen:
                os.write(ours, typed.encode())
                typed = ""
        return child.wait(60), seen.decode()
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def a_document(path: str) -> StoredDocument:
    return StoredDocument(uri_of(Path(path)), "v1", "Title", "en", "txt", 1, 1.0)


# show


def test_a_document_is_shown_with_what_is_known_of_it_and_its_passages_in_order(shell: Shell) -> None:
    done = shell("rag", "show", "docs/handbuch.md")
    assert done.code == 0
    head, _, passages = done.out.partition("\n\n#0 · ")
    assert head.splitlines()[0] == "Teil 1"
    known = dict(line.split(maxsplit=1) for line in head.splitlines()[1:])
    assert known["source"] == "docs/handbuch.md"
    assert known["uri"] == Path("docs/handbuch.md").resolve().as_uri()
    assert known["language"] == "German (de)"
    assert known["format"] == "md"
    assert known["ingested"].startswith("20")
    marks = [line for line in passages.splitlines() if line.startswith("#") and "·" in line]
    assert [mark.split(" · ")[0] for mark in marks] == [f"#{at}" for at in range(1, int(known["chunks"]))]
    assert "Teil 4" in marks[-1]
    shown = [line for line in done.out.splitlines() if line.startswith("Die Schraube")]
    assert shown == [line for line in TORQUES.splitlines() if line.startswith("Die Schraube")], "each once, in order"


def test_show_for_programs_has_the_fields_of_list_and_search(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    document, *passages = shell("rag", "show", "docs/handbuch.md", "--json").lines
    assert document == next(
        line for line in shell("rag", "list", "--json").lines if line["source"] == "docs/handbuch.md"
    )
    fields = "source uri title language format chunks ingested_at metadata version"
    assert set(document) == set(fields.split())
    assert len(passages) == document["chunks"] > 3
    for ordinal, passage in enumerate(passages):
        assert passage["ordinal"] == ordinal
        assert TORQUES[slice(*passage["span"])] == passage["text"]
        assert passage["neighbour"] is False
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    found = shell("rag", "search", "Schraube Newtonmeter", "--source", "docs/handbuch.md", "-k", "1", "--json").lines[0]
    same = passages[found["ordinal"]]
    of_search = {
        "rank",
        "score",
        "dense_score",
        "sparse_score",
        "fused_score",
        "level",
        "handicap",
        "rerank_score",
        "wording",
        "copies",
    }
    assert set(found) - of_search == set(same) - {"neighbour"}
    assert all(found[name] == value for name, value in same.items() if name != "neighbour")


def test_a_passage_is_shown_marked_between_its_neighbours(shell: Shell) -> None:
    def marks(*words: str) -> list[str]:
        lines = shell("rag", "show", *words).out.splitlines()
        return [line.split(" · ")[0] for line in lines if line.startswith(("#", "> #")) and " · " in line]

    assert marks("docs/handbuch.md#2") == ["#1", "> #2", "#3"]
    assert marks("docs/handbuch.md#0") == ["> #0", "#1"]
    assert marks("docs/handbuch.md#2", "--neighbours", "0") == ["> #2"]
    assert marks("docs/handbuch.md#2", "--neighbours", "2") == ["#0", "#1", "> #2", "#3", "#4"]
    _, *passages = shell("rag", "show", "docs/handbuch.md#2", "--json").lines
    assert [(each["ordinal"], each["neighbour"]) for each in passages] == [(1, True), (2, False), (3, True)]


def test_a_passage_of_a_pdf_is_shown_with_its_page(shell: Shell) -> None:
    assert "#0 · p. 1" in shell("rag", "show", "docs/drucker.pdf").out
    assert shell("rag", "show", "docs/drucker.pdf#0", "--json").lines[1]["page"] == 1


def test_metadata_stand_in_the_header(shell: Shell) -> None:
    assert "\n  site    Linz\n" in shell("rag", "show", "docs/de/README.md").out


@pytest.mark.parametrize(
    "spelling",
    ["docs/handbuch.md", "./docs/../docs/handbuch.md", "{folder}/docs/handbuch.md", "{uri}", "handbuch.md", "*buch*"],
)
def test_a_document_is_found_by_every_way_to_name_it(shell: Shell, ingested: Path, spelling: str) -> None:
    word = spelling.format(folder=ingested, uri=(ingested / "docs" / "handbuch.md").as_uri())
    assert shell("rag", "show", word, "--json").sources[0] == "docs/handbuch.md"
    assert shell("rag", "show", f"{word}#1", "--json").lines[2]["ordinal"] == 1


def test_a_name_composed_otherwise_is_the_same_name_unless_both_are_there() -> None:
    """File systems and keyboards differ in whether é is one code point or two."""
    composed, decomposed = (a_document(name) for name in ("/library/caf\u00e9.txt", "/library/cafe\u0301.txt"))
    assert KnownSources([decomposed]).one("caf\u00e9.txt") == decomposed
    assert KnownSources([decomposed]).any("/library/caf\u00e9*") == [decomposed]
    both = KnownSources([composed, decomposed])
    assert both.any("/library/caf\u00e9.txt") == [composed]
    assert both.any("/library/cafe\u0301.txt") == [decomposed]


def test_names_that_are_no_text_or_no_file_are_found_as_they_are_shown() -> None:
    broken = a_document(os.fsdecode(b"/library/caf\xe9\n.txt"))
    web, page = (replace(broken, uri=f"https://example.org/{end}") for end in ("manual", "manual/page#2"))
    known = KnownSources([broken, web, page])
    assert known.one(os.fsdecode(b"/library/caf\xe9\n.txt")) == broken
    assert known.one(printable(broken.source)) == broken
    assert known.one("https://example.org/manual") == web
    assert known.any("https://example.org/*") == [web, page]
    assert "'https://example.org/manual'" in known.unknown("https://example.org/manul")
    assert known.unknown("caf\n").isprintable()


def test_a_number_sign_in_a_name_is_no_ordinal(own: Shell, tmp_path: Path) -> None:
    assert own("rag", "show", "docs/part#1.txt", "--json").sources == ["docs/part#1.txt"] * 2
    assert own("rag", "show", "docs/part#1.txt#0", "--json").lines[1]["ordinal"] == 0
    store = build.store(Settings(store={"path": tmp_path / "store"}))  # type: ignore[arg-type]
    for uri in ("https://example.org/page", "https://example.org/page#0"):
        embedding = make_embedding(1, dimension=store.info().dimension)
        store.stage([a_chunk(uri=uri, text_hash="1" * 32)], [embedding])
        store.commit(uri, "v1")
    store.close()
    document, passage = own("rag", "show", "https://example.org/page#0", "--json").lines
    assert document["uri"] == "https://example.org/page#0", "a name wins over a passage"
    assert own("rag", "show", "https://example.org/page#0#0", "--json").lines == [document, passage]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("README.md", "'docs/de/README.md', 'docs/en/README.md'"),
        ("README.md#0", "2 documents"),
        ("docs/*.txt", "any of 3 documents"),
        ("docs/handbuhc.md", "nearest: 'docs/handbuch.md'"),
        ("HANDBUCH.MD", "nearest: 'docs/handbuch.md'"),
        ("docs/nothing-like-it-at-all", "`rag list`"),
        ("docs/de", "'docs/de/*'"),
        ("docs/handbuch.md#999", "#0 to #"),
    ],
)
def test_what_names_no_document_or_several_is_one_line_with_what_is_near(shell: Shell, word: str, said: str) -> None:
    done = shell("rag", "show", word)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err


# list


def test_both_commands_list_the_same(shell: Shell) -> None:
    assert shell("rag", "list", "--json").out == shell("ingest", "list", "--json").out
    lines = shell("rag", "list", "--json").lines
    assert {line["source"].removeprefix("docs/") for line in lines} == {*DOCUMENTS, "drucker.pdf"}
    japanese = next(line for line in lines if line["source"] == "docs/安全.md")
    assert (japanese["title"], japanese["language"], japanese["format"]) == ("安全マニュアル", "ja", "md")
    assert (japanese["chunks"], japanese["metadata"]) == (1, {})
    assert japanese["ingested_at"].endswith("Z")


def test_a_list_for_people_is_aligned_by_the_columns_that_characters_take(shell: Shell) -> None:
    done = shell("rag", "list")
    head, *rows = done.out.splitlines()
    assert len(rows) == WITH_PDF
    at = cell_len(head[: head.index("title")])
    titles = {"docs/安全.md": "安全マニュアル", "docs/دليل.md": "دليل السلامة", "docs/handbuch.md": "Teil 1"}
    for source, title in titles.items():
        [row] = [row for row in rows if source in row]
        assert cell_len(row[: row.rindex(title)]) == at
        assert cell_len(row[: row.index(source)]) == cell_len(head[: head.index("source")])
    assert "\u2068" not in done.out, "what goes into a pipe is searched and cut by other programs"
    assert f"{WITH_PDF} documents" in done.err
    assert "1 ja" in done.err


def test_a_list_can_be_narrowed(shell: Shell) -> None:
    def sources(*options: str) -> set[str]:
        return {source.removeprefix("docs/") for source in shell("rag", "list", "--json", *options).sources}

    assert sources("--in", "ja") == {"安全.md"}
    assert sources("--in", "ja-JP", "--in", "ar") == {"安全.md", "دليل.md"}
    assert sources("--source", "docs/*/README.md") == {"de/README.md", "en/README.md"}
    assert sources("--where", "site=Linz", "--in", "de") == {"de/README.md"}
    assert sources("--where", "site=Graz") == set()
    assert "2 documents of 9" in shell("rag", "list", "--where", "site=Linz").err


def test_an_exact_source_wins_over_the_glob_it_also_is(shell: Shell) -> None:
    assert shell("rag", "list", "--source", "docs/note[1].txt", "--json").sources == ["docs/note[1].txt"]
    assert shell("rag", "list", "--source", "docs/note[2-9].txt", "--json").sources == []
    assert shell("rag", "list", "--source", "docs/note[0-9].txt", "--json").sources == ["docs/note1.txt"]


def test_a_list_is_sorted_as_asked(shell: Shell) -> None:
    def lines(order: str) -> list[Any]:
        return shell("rag", "list", "--sort", order, "--json").lines

    by_source = [line["source"] for line in lines("source")]
    assert by_source == sorted(by_source)
    languages = [line["language"] for line in lines("language")]
    assert languages == sorted(languages)
    chunks = [line["chunks"] for line in lines("chunks")]
    assert chunks == sorted(chunks, reverse=True)
    assert chunks[0] > chunks[-1]
    dates = [line["ingested_at"] for line in lines("date")]
    assert dates == sorted(dates, reverse=True)
    assert {line["source"] for line in lines("date")[:2]} == {"docs/de/README.md", "docs/en/README.md"}


def test_a_filter_that_finds_nothing_is_an_empty_list_and_says_what_is_near(shell: Shell) -> None:
    done = shell("rag", "list", "--source", "docs/handbuc.md")
    assert (done.code, done.out) == (0, "")
    assert "'docs/handbuch.md'" in done.err
    assert shell("rag", "list", "--in", "fi", "--json").out == ""


def test_a_list_without_an_index_says_how_to_make_one(shell: Shell) -> None:
    for words in (("rag", "list"), ("rag", "show", "x"), ("ingest", "remove", "x", "--yes")):
        done = shell(*words, "--collection", "none-yet")
        assert (done.code, len(done.err.splitlines())) == (3, 1)
        assert "ingest" in done.err


def test_on_a_terminal_titles_are_cut_to_its_width_and_right_to_left_runs_isolated(shell: Shell) -> None:
    code, seen = on_a_terminal("rag", "list", columns=66)
    assert code == 0
    head, *rows = seen.splitlines()[: WITH_PDF + 1]
    assert "title" in head
    assert all(cell_len(row) <= 66 for row in rows)
    assert any(row.endswith("…") for row in rows)
    [arabic] = [row for row in rows if "دليل" in row]
    assert arabic.count("\u2068") == arabic.count("\u2069") == 2
    _, narrow = on_a_terminal("rag", "list", columns=40)
    assert "title" not in narrow
    assert "docs/handbuch.md" in narrow


# remove


def test_removing_says_what_it_removed_and_the_rest_stays(own: Shell) -> None:
    before = held(own)
    done = own("ingest", "remove", "docs/handbuch.md", "docs/*/README.md", "docs/de/README.md", "--yes")
    assert (done.code, done.out) == (0, "")
    for source in ("docs/handbuch.md (de", "docs/de/README.md", "docs/en/README.md"):
        assert source in done.err
    assert done.err.splitlines()[-1].startswith("3 documents (")
    assert held(own) == before - {"handbuch.md", "de/README.md", "en/README.md"}
    assert Path("docs/handbuch.md").exists(), "files are none of its business"


def test_removing_reports_one_json_object(own: Shell) -> None:
    chunks = next(line for line in own("rag", "list", "--json").lines if line["source"] == "docs/handbuch.md")["chunks"]
    [report] = own("ingest", "remove", "docs/handbuch.md", "--yes", "--json").lines
    assert report["documents"] == {"removed": 1, "unknown": 0}
    assert (report["chunks"], report["dry_run"], report["unknown"]) == (chunks, False, [])
    assert [document["source"] for document in report["removed"]] == ["docs/handbuch.md"]
    assert "handbuch.md" not in held(own)


def test_a_dry_run_removes_nothing_and_needs_no_leave(own: Shell) -> None:
    before = held(own)
    done = own("ingest", "remove", "docs/*", "--dry-run")
    assert (done.code, done.out) == (0, "")
    assert f"{WITH_PDF} documents" in done.err
    assert "would be removed" in done.err
    assert own("ingest", "remove", "docs/*", "--dry-run", "--json").lines[0]["dry_run"] is True
    assert held(own) == before


def test_an_exact_source_is_removed_and_not_what_it_matches_as_a_glob(own: Shell) -> None:
    assert own("ingest", "remove", "docs/note[1].txt", "--yes").code == 0
    assert {name for name in held(own) if name.startswith("note")} == {"note1.txt"}


def test_unknown_sources_are_named_and_the_others_removed(own: Shell) -> None:
    done = own("ingest", "remove", "docs/handbuhc.md", "docs/note1.txt", "--yes", "--json")
    assert done.code == 1
    assert "'docs/handbuhc.md'" in done.err
    assert "'docs/handbuch.md'" in done.err
    assert done.lines[0]["unknown"] == ["docs/handbuhc.md"]
    assert {"handbuch.md", "note1.txt"} & held(own) == {"handbuch.md"}
    done = own("ingest", "remove", "docs/handbuhc.md", "docs", "--yes")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 2)
    assert "'docs/*'" in done.err


def test_where_nobody_can_be_asked_nothing_is_removed(own: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        done = own("ingest", "remove", "docs/handbuch.md")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "--yes" in done.err
    assert "handbuch.md" in held(own)


def test_on_a_terminal_it_asks_and_a_no_keeps_everything(own: Shell) -> None:
    before = held(own)
    code, seen = on_a_terminal("ingest.cli", "remove", "docs/handbuch.md", typed="n\n")
    assert code == 1
    assert "Remove 1 document (" in seen
    assert "nothing removed" in seen
    assert held(own) == before
    code, seen = on_a_terminal("ingest.cli", "remove", "docs/handbuch.md", typed="y\n")
    assert code == 0
    assert held(own) == before - {"handbuch.md"}


# ingest and its subcommands


def test_a_folder_called_like_a_subcommand_can_be_ingested(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call = _shell(in_folder, in_folder / "store", monkeypatch, capfd)
    for name in ("list", "remove"):
        Path(name).mkdir()
        Path(name, "note.txt").write_text(f"This note lies in the folder that is called {name}.\n")
    model = ("--model", "pocket-m3", "--json")
    assert json.loads(call("ingest", "./list", *model).out)["documents"]["added"] == 1
    assert json.loads(call("ingest", "--quiet", "remove", "list", *model).out)["documents"]["added"] == 1
    assert call("ingest", "list", "--json").sources == ["list/note.txt", "remove/note.txt"]
    Path("PATH…").mkdir()
    Path("PATH…", "note.txt").write_text("This note lies in a folder with a name that nobody has.\n")
    assert json.loads(call("ingest", "PATH…", *model).out)["documents"]["added"] == 1
    assert call("ingest", "lis", *model).code != 0, "no abbreviations: that is a path, and it is not there"


def test_help_shows_the_options_of_the_main_use_and_the_subcommands(shell: Shell) -> None:
    done = shell("ingest", "--help")
    assert done.out.startswith("Usage: ingest [OPTIONS] PATH…\n")
    assert "--exclude GLOB" in done.out
    commands = done.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert {"list", "remove", "verify"} <= {line.split()[0] for line in commands}
    assert shell("ingest", "remove", "--help").out.startswith("Usage: ingest remove [OPTIONS] SOURCE…\n")
    assert shell("ingest", "list", "--help").out.startswith("Usage: ingest list ")
    assert shell("rag", "list", "--help").out.startswith("Usage: rag list ")


def test_completion_knows_subcommands_options_and_files() -> None:
    complete = ShellComplete(ingest_command, {}, "ingest", "_INGEST_COMPLETE").get_completions

    def values(words: list[str], incomplete: str) -> set[str]:
        return {item.value for item in complete(words, incomplete) if item.type == "plain"}

    assert values([], "") >= {"list", "remove", "verify"}
    assert values([], "--ex") == {"--exclude"}
    assert values(["docs"], "--ex") == {"--exclude"}
    assert values(["remove"], "--dry") == {"--dry-run"}
    assert [item.type for item in complete([], "doc")] == ["file"]
    assert [item.type for item in complete(["docs"], "no")] == ["file"]


def test_no_model_library_is_imported(shell: Shell) -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from rag.commands.shared import run\n"
        "module, name, *sys.argv[1:] = sys.argv[1:]\n"
        "try:\n run(getattr(import_module(module), name), 'x')\n"
        "except SystemExit as left:\n"
        " heavy = {'torch', 'transformers', 'tokenizers', 'safetensors', 'sentence_transformers', 'openai'}\n"
        " print(left.code, sorted(heavy & set(sys.modules)))\n"
    )
    for words in (
        ("rag.__main__", "rag", "list"),
        ("rag.__main__", "rag", "show", "docs/handbuch.md#1"),
        ("ingest.cli", "command", "list", "--json"),
        ("ingest.cli", "command", "remove", "docs/handbuch.md", "--dry-run"),
    ):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "0 []", done.stderr
