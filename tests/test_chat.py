"""`rag chat` from a pipe, against a scripted endpoint: questions, follow-ups, commands, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from rag.locales import load
from tests.command_line import Done, call
from tests.openai_server import Reply, Server, breaking, scripted_server, status, text

DOCUMENTS = {
    "wartung.md": "# Wartung\n\nDas Förderband wird jeden Montag gereinigt. Die Schichtleitung prüft die Spannung.\n",
    "cantine.txt": "La cantine ouvre à midi et ferme à quatorze heures, du lundi au vendredi.\n",
    "安全.md": "# 安全マニュアル\n\n毎週月曜日にコンベアを清掃します。作業の前に電源を切ってください。\n",
    "دليل.md": "# دليل السلامة\n\nيتم تنظيف الحزام الناقل كل يوم اثنين. يجب فصل الكهرباء قبل العمل.\n",
}
QUESTION = "How often is the conveyor belt cleaned?"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents in four languages and their index."""
    folder = tmp_path_factory.mktemp("chat")
    for name, content in DOCUMENTS.items():
        path = folder / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
    )
    ingest([folder / "docs"], settings=settings, metadata={"site": "linz"})
    return folder


@dataclass
class Pipe:
    """Runs `rag chat` in the folder, its conversations in a folder of this test's own."""

    folder: Path
    kept: Path
    environment: Mapping[str, str]
    monkeypatch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]

    def __call__(self, *lines: str, options: tuple[str, ...] = (), **variables: str) -> Done:
        return self.send("".join(f"{line}\n" for line in lines).encode(), options=options, **variables)

    def send(self, data: bytes, *, options: tuple[str, ...] = (), **variables: str) -> Done:
        """The command with `data` on its standard input."""
        with self.monkeypatch.context() as during:
            during.chdir(self.folder)
            for name, value in {**self.environment, **variables}.items():
                during.setenv(name, value)
            return call(("rag", "chat", *options), during, self.captured, stdin=data)


@pytest.fixture
def pipe(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Pipe:
    kept = tmp_path / "chat"
    environment = {
        "RAG_STORE__PATH": str(store / "store"),
        "RAG_EMBEDDER__MODEL": "pocket-m3",
        "RAG_CHAT__PATH": str(kept),
    }
    return Pipe(store, kept, environment, monkeypatch, capfd)


@pytest.fixture
def endpoint(request: pytest.FixtureRequest, pipe: Pipe) -> Iterator[Server]:
    """A language model that says what the test's `replies` say."""
    replies: list[Reply] = request.param
    with scripted_server(replies) as server:
        pipe.environment = {**pipe.environment, "RAG_LLM__MODEL": "scripted", "RAG_LLM__BASE_URL": server.base_url}
        yield server


def replies(*script: Reply) -> pytest.MarkDecorator:
    """The endpoint's script for one test."""
    return pytest.mark.parametrize("endpoint", [list(script)], indirect=True)


def messages(server: Server, number: int) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in server.request(number).body["messages"]]


@replies(text("It is cleaned every ", "Monday [1]."))
def test_a_question_is_answered_with_its_sources(pipe: Pipe, endpoint: Server) -> None:
    done = pipe(QUESTION)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"> {QUESTION}\nIt is cleaned every Monday [1].\n\n[1] docs/")


@replies(text("Every Monday [1]."), text("The shift supervisor [1]."))
def test_a_follow_up_knows_the_turn_before(pipe: Pipe, endpoint: Server) -> None:
    assert pipe(QUESTION, "Who checks it afterwards?").code == 0
    first, second = messages(endpoint, 1), messages(endpoint, 2)
    assert [role for role, _ in first] == ["system", "user"]
    assert [role for role, _ in second] == ["system", "user", "assistant", "user"]
    assert second[1:3] == [("user", QUESTION), ("assistant", "Every Monday.")]
    assert "Who checks it afterwards?" in second[3][1]


@replies(text("Jeden Montag [1]."), text("Mit 24 Nm [1]."))
def test_a_question_without_a_language_stays_in_the_conversation_s(pipe: Pipe, endpoint: Server) -> None:
    pipe("Wie oft wird das Förderband gereinigt?", "M8?")
    assert messages(endpoint, 2)[0][1] == load("de").system


@replies(text("Every Monday [1]."), text("Every Monday, then [1]."), text("Nothing."))
def test_retry_replaces_the_answer_and_its_place_in_the_history(pipe: Pipe, endpoint: Server) -> None:
    pipe(QUESTION, "/retry", "And then?")
    assert len(messages(endpoint, 2)) == 2, "the answer to be replaced is no history"
    assert [content for role, content in messages(endpoint, 3) if role == "assistant"] == ["Every Monday, then."]


@replies(text("Jeden Montag [1]."), text("Every Monday [1]."))
def test_lang_decides_the_language_until_auto(pipe: Pipe, endpoint: Server) -> None:
    done = pipe("/lang de", QUESTION, "/lang auto", QUESTION)
    assert "Answers come in German (de)." in done.out
    assert "Answers come in the language of the question." in done.out
    assert [messages(endpoint, number)[0][1] for number in (1, 2)] == [load("de").system, load("en").system]


@replies(text("Every Monday [1]."), text("And power off [1]."))
def test_a_conversation_goes_on_where_it_was_left(pipe: Pipe, endpoint: Server) -> None:
    pipe(QUESTION)
    done = pipe("What else?", options=("--continue",))
    assert "1 turn" in done.out
    assert f"> {QUESTION}\nEvery Monday [1]." in done.out
    assert ("assistant", "Every Monday.") in messages(endpoint, 2)
    [file] = pipe.kept.glob("*.jsonl")
    assert len([line for line in file.read_text().splitlines() if line]) == 3


@replies(text("Every Monday [1]."), text("So [1]."))
def test_clear_forgets_and_resume_remembers(pipe: Pipe, endpoint: Server) -> None:
    first = pipe(QUESTION, "/clear", "/sources")
    assert "there is no answer yet" in first.err
    [file] = pipe.kept.glob("*.jsonl")
    done = pipe("/sessions", f"/resume {file.stem[:12]}", "Really?")
    assert f"{file.stem}  " in done.out
    assert QUESTION in done.out
    assert ("assistant", "Every Monday.") in messages(endpoint, 2)


def test_resume_of_a_conversation_that_is_gone_says_so(pipe: Pipe) -> None:
    done = pipe("/resume 2026-01-01")
    assert done.code == 2
    assert "there is no conversation '2026-01-01'" in done.err
    done = pipe(options=("--resume", "2026-01-01"))
    assert (done.code, done.out) == (2, "")
    done = pipe(options=("--continue",))
    assert done.code == 2
    assert "no conversation is kept" in done.err


@replies(text("It says “Das Förderband wird jeden Montag gereinigt” [1]."))
def test_the_original_words_can_be_looked_at(pipe: Pipe, endpoint: Server) -> None:
    done = pipe(QUESTION, "/quote 1", "/sources", "/why", "/json", options=("--in", "de"))
    assert done.code == 0
    quoted = done.out.split("> /quote 1\n")[1].split("> /sources")[0]
    assert "docs/wartung.md (German)" in quoted
    assert "Die Schichtleitung prüft die Spannung." in quoted, "what stands around the quotation"
    sources = done.out.split("> /sources\n")[1].split("> /why")[0]
    assert sources.startswith("[1] docs/wartung.md (German)")
    why = done.out.split("> /why\n")[1].split("> /json")[0]
    for shown in ("score", "dense", "sparse", "matched terms", "retrieve"):
        assert shown in why
    answer = json.loads(done.out.split("> /json\n")[1])
    assert answer["citations"][0]["quote"] == "Das Förderband wird jeden Montag gereinigt"


def test_search_shows_passages_without_an_answer(pipe: Pipe) -> None:
    done = pipe(f"/search {QUESTION}", "/quote 2", "/quote 9", "/retry")
    assert " 1. docs/" in done.out
    assert "#0" in done.out.split("> /quote 2\n")[1]
    assert "those of the last answer are 1, 2, 3, 4" in done.err
    assert "no question to ask again" in done.err


def test_filters_narrow_the_search_and_say_how_far(pipe: Pipe) -> None:
    done = pipe(
        "/docs-lang fr",
        f"/search {QUESTION}",
        "/docs-lang all",
        "/filter source=*.md site=linz",
        f"/search {QUESTION}",
        "/filter site=graz",
        f"/search {QUESTION}",
        "/filter off",
    )
    french, markdown, graz = [part.split("\n> ")[0] for part in done.out.split(f"> /search {QUESTION}\n")[1:]]
    assert "cantine" in french
    assert "wartung" not in french
    assert "wartung" in markdown
    assert "cantine" not in markdown
    assert graz.strip() == "No passage found."
    assert "Only source=*.md site=linz: 3 of 4 documents." in done.out
    assert "Only site=graz: 0 of 4 documents." in done.out
    assert "No filter: all documents are searched." in done.out


def test_the_mode_changes_what_is_found(pipe: Pipe) -> None:
    done = pipe("/mode sparse", "/search Förderband", "/mode dense", "/search Förderband", "/mode upside-down")
    sparse, dense = [part.split("\n> ")[0] for part in done.out.split("> /search Förderband\n")[1:]]
    assert "cantine" not in sparse
    assert "cantine" in dense
    assert "there is no mode 'upside-down': hybrid, dense, sparse" in done.err


@pytest.mark.parametrize(
    ("typed", "meant"), [("/qoute 1", "/quote"), ("/soruces", "/sources"), ("/sess", "/sessions"), ("/HLEP", "/help")]
)
def test_a_mistyped_command_suggests_the_right_one(pipe: Pipe, typed: str, meant: str) -> None:
    done = pipe(typed)
    assert done.code == 2
    assert f"there is no command '{typed.split()[0]}': did you mean {meant}?" in done.err


def test_help_names_every_command(pipe: Pipe) -> None:
    from rag.chat.commands import COMMANDS

    done = pipe("/help", "/help /quote")
    for command in COMMANDS:
        assert f"/{command.name}" in done.out
    assert done.out.split("> /help /quote\n")[1].startswith("/quote N\n")


@replies(status(400, "the prompt is odd"), breaking("Every Mon"), text("Every Monday [1]."))
def test_a_question_that_fails_costs_no_other(pipe: Pipe, endpoint: Server) -> None:
    done = pipe(QUESTION, QUESTION, QUESTION)
    assert done.code == 5
    assert "the prompt is odd" in done.err
    assert "Every Mon\n" in done.out
    assert "Every Monday [1]." in done.out


def test_a_line_that_is_no_text_costs_no_other(pipe: Pipe) -> None:
    done = pipe.send(b"\xff\xfe\x00\n\n/mode\n")
    assert done.code == 2
    assert "not UTF-8" in done.err
    assert "(hybrid)" in done.out


def test_collections_are_listed_and_changed(pipe: Pipe, store: Path) -> None:
    settings = Settings(
        store={"path": store / "store", "collection": "policies"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
    )
    (store / "policy.txt").write_text("Employees may work from home on two days of the week.\n")
    ingest([store / "policy.txt"], settings=settings)
    done = pipe(
        "/collection", "/collection policies", "/search home", "/collection nowhere", "/search home", "/collection .."
    )
    assert "> default\n  policies\n" in done.out
    first, second = [part.split("\n> ")[0] for part in done.out.split("> /search home\n")[1:]]
    assert "policy.txt" in first
    assert "policy.txt" in second, "a collection that cannot be opened leaves the old one"
    assert "there is no collection 'nowhere': the nearest is" in done.err
    assert "'..' is no name of a collection" in done.err


def test_without_an_index_it_says_what_to_do(pipe: Pipe, tmp_path: Path) -> None:
    done = pipe(QUESTION, RAG_STORE__PATH=str(tmp_path / "empty"))
    assert (done.code, done.out) == (3, "")
    assert "ingest" in done.err


@replies(text("Every Monday [1]."), text("So [1]."))
def test_an_answer_that_cannot_be_kept_is_shown_whole(pipe: Pipe, endpoint: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = pipe(QUESTION, "/sources", "/docs-lang ja", QUESTION, "/quote 1", RAG_CHAT__PATH=str(tmp_path / "file"))
    assert done.code == 1
    assert "RAG_CHAT__PATH" in done.err
    assert "Every Monday [1].\n\n[1] docs/" in done.out
    assert "docs/安全.md" in done.out.split("> /quote 1\n")[1]


@replies(text("Every Monday [1]."), text("Never [1]."))
def test_what_one_tenant_was_told_is_not_told_to_another(pipe: Pipe, endpoint: Server, store: Path) -> None:
    settings = Settings(
        store={"path": store / "store", "collection": "shared", "tenant_key": "team"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
    )
    ingest([store / "docs" / "wartung.md"], settings=settings, metadata={"team": "acme"})
    ingest([store / "docs" / "cantine.txt"], settings=settings, metadata={"team": "bolt"})
    options = ("--collection", "shared", "--where")
    pipe(QUESTION, options=(*options, "team=acme"))
    done = pipe(QUESTION, options=(*options, "team=bolt", "--continue"))
    assert "Every Monday" not in done.out
    assert "answered from another collection or tenant" in done.out
    assert [role for role, _ in messages(endpoint, 2)] == ["system", "user"]
    nobody = pipe("/search conveyor", "/filter source=nothing*", "/search conveyor", options=options[:2])
    assert nobody.err.count("the index holds the documents of several tenants") == 2


def test_a_continued_line_before_a_blank_one_is_a_question(pipe: Pipe) -> None:
    done = pipe("How often\\", "", "/search　Förderband")
    assert done.out.startswith("> How often\n")
    assert "wartung.md" in done.out.split("> /search")[1]


def test_a_filter_that_says_nothing_is_refused(pipe: Pipe) -> None:
    done = pipe("/filter source=", "/filter linz", "/filter")
    assert "needs a path or a pattern" in done.err
    assert "/filter linz is not of the form key=value" in done.err
    assert "No filter" in done.out


def test_nothing_is_kept_where_that_is_the_setting(pipe: Pipe) -> None:
    pipe(QUESTION, RAG_CHAT__KEEP="false")
    assert not pipe.kept.exists()


@replies(text("Every Monday [1]."))
def test_a_conversation_is_saved_as_a_file(pipe: Pipe, endpoint: Server, tmp_path: Path) -> None:
    path = tmp_path / "my talk.md"
    done = pipe("/save", QUESTION, f"/save '{path}'", f"/save '{path}'")
    assert "needs the name of one file" in done.err
    assert "stays as it is" in done.err
    assert path.read_text().startswith(f"# {QUESTION}\n")
