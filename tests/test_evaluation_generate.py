"""`rag eval generate`: questions from the documents of an index, by a scripted language model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rag_config.settings import Settings

from ingest import ingest
from rag import build
from rag.commands.eval_generate import generate
from rag.commands.shared import run
from rag.commands.stored_documents import KnownSources
from rag.evaluation.generate_files import Question, QuestionFiles
from rag.evaluation.generate_passages import passages
from rag.evaluation.gold import read
from rag.ports import Embedder
from rag.types import ANYWHERE, Where
from tests.index_copy import copy_index
from tests.openai_server import Reply, Server, answering, breaking, holding, scripted_server, status
from tests.terminal import Terminal

LIBRARY = {
    "wartung.txt": "Das Förderband in Halle 3 wird jeden Montag gereinigt. Die Schichtleitung prüft die Spannung.",
    "urlaub.txt": "Jede Angestellte hat dreißig Tage Urlaub im Jahr. Der Antrag geht an die Personalabteilung in Linz.",
    "cantine.txt": "La cantine ouvre à midi et ferme à quatorze heures, du lundi au vendredi, sauf les jours fériés.",
    "conges.txt": "Le badge d'accès perdu doit être signalé au gardien dans les deux heures, sinon il est facturé.",
    "print.txt": "The printer on the second floor needs blue paper trays. Replace its toner every ninety days.",
    "kurz.txt": "Siehe oben.",
}
QUESTIONS = {
    ("de", "wartung"): "Wann wird das Förderband in Halle 3 gereinigt?",
    ("de", "urlaub"): "Wie viele Tage Urlaub hat jede Angestellte im Jahr?",
    ("de", "cantine"): "Wann öffnet die Kantine (cantine) und wann schließt sie?",
    ("de", "conges"): "Wem muss ein verlorener Badge beim gardien gemeldet werden?",
    ("de", "print"): "Wie oft muss der Toner des Druckers (printer) gewechselt werden?",
    ("en", "wartung"): "On which day is the conveyor belt (Förderband) cleaned?",
    ("en", "urlaub"): "How many days of vacation (Urlaub) do employees have?",
    ("en", "cantine"): "When does the cantine open for lunch?",
    ("en", "conges"): "Whom must I tell when my badge is lost?",
    ("en", "print"): "How often must the toner of the printer be replaced?",
}
PLACE = {"de": "German", "en": "English"}


def asked_for(body: dict[str, Any]) -> tuple[str, str]:
    """The language and the document that a request is about."""
    message = body["messages"][-1]["content"]
    language = next(tag for tag, name in PLACE.items() if f"Language of the question: {name}" in message)
    found = re.search(r"Title: (\w+)", message)
    assert found, message
    return language, found[1]


def well(body: dict[str, Any]) -> Iterable[str]:
    """A model that does what it should, in pieces."""
    return ["<question>", QUESTIONS[asked_for(body)], "</question>"]


Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, pocket: Embedder) -> Path:
    """A folder with documents and their index, which no test changes."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "docs").mkdir()
    for name, text in LIBRARY.items():
        (folder / "docs" / name).write_text(text + "\n")
    # The embedder of the fixture: with equal settings its weights are loaded once.
    embedder = {"model": "pocket-m3", "dtype": "float32"}
    ingest([folder / "docs"], settings=Settings(store={"path": folder / "store"}, embedder=embedder))  # type: ignore[arg-type]
    return folder


@pytest.fixture
def index(library: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an index of its own."""
    copy_index(library / "store", in_folder / "store")
    monkeypatch.setenv("RAG_STORE__PATH", str(in_folder / "store"))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_EMBEDDER__DTYPE", "float32")
    monkeypatch.setenv("RAG_LLM__RETRIES", "0")
    return in_folder


@pytest.fixture
def shell(index: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Runs the command; gives exit code, stdout and stderr."""

    def call(*words: str, out: str = "gold.jsonl") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["generate", "--out", out, *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            run(generate, "rag")
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert isinstance(left.value.code, int)
        return left.value.code, captured.out, captured.err

    return call


@contextmanager
def model(monkeypatch: pytest.MonkeyPatch, replies: Any) -> Iterator[Server]:
    """An endpoint with these replies, configured."""
    with scripted_server(answering(replies) if callable(replies) else replies) as server:
        monkeypatch.setenv("RAG_LLM__MODEL", "scripted")
        monkeypatch.setenv("RAG_LLM__BASE_URL", server.base_url)
        yield server


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_each_question_is_kept_with_what_it_is_about_and_where_it_was_found(
    shell: Shell, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model(monkeypatch, well) as server:
        code, out, err = shell("--lang", "de", "--lang", "en", "--questions", "5", "--yes", "--json")
    assert code == 0, err
    questions = lines("gold.jsonl")
    assert len(questions) == len(server.requests) == 10, "each of the five long documents, in both languages"
    assert {question["text"] for question in questions} == set(QUESTIONS.values())
    for question in questions:
        place = Path(question["source"]).stem
        assert question["text"] == QUESTIONS[question["lang"], place]
        assert question["gold"] == [(library / "docs" / f"{place}.txt").as_uri()]
        assert (question["passage_ordinal"], question["model"]) == (0, "scripted")
        assert question["document_language"] == {"c": "fr", "p": "en"}.get(place[0], "de")
        assert 1 <= question["rank"] <= 6
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", question["created"])
    assert len({question["id"] for question in questions}) == 10
    summary = json.loads(out)
    assert summary["languages"] == [{"language": tag, "wanted": 5, "kept": 5, "rejected": {}} for tag in ("de", "en")]
    assert summary["usage"] == {"prompt_tokens": 110, "completion_tokens": 20, "requests": 10, "cost": 0.0}
    assert summary["passages"] == 5
    assert not Path(summary["rejected_file"]).exists()


def test_thoughts_that_only_their_end_tells_are_no_question(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def thinking(body: dict[str, Any]) -> Iterable[str]:
        return ["<question>Wie alt ist das?</question>", "</think>", *well(body)]

    with model(monkeypatch, thinking):
        assert shell("--lang", "de", "--yes")[0] == 0
    assert {line["text"] for line in lines("gold.jsonl")} == {
        said for (tag, _), said in QUESTIONS.items() if tag == "de"
    }


def test_the_rank_is_that_of_the_real_search(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with model(monkeypatch, well):
        assert shell("--lang", "en", "--yes")[0] == 0
    from rag import open_rag

    with open_rag(Settings(llm={"model": None})) as rag:  # type: ignore[arg-type]
        for question in lines("gold.jsonl"):
            found = [passage.chunk.uri for passage in rag.retrieve(question["text"], k=10)]
            assert found[question["rank"] - 1] == question["gold"][0]


def test_the_questions_can_be_measured_with(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with model(monkeypatch, well):
        assert shell("--lang", "de", "--lang", "en", "--yes")[0] == 0
    with closing(build.store(Settings())) as store:
        documents = list(store.documents())
    dataset = read(Path("gold.jsonl"), documents, KnownSources(documents).one)
    assert [(question.language, question.text, set(question.gold)) for question in dataset.questions] == [
        (line["lang"], line["text"], set(line["gold"])) for line in lines("gold.jsonl")
    ]


BAD = {
    "wrong language": "<question>How often is the belt in the third hall cleaned by people?</question>",
    "malformed": "Gern! Wie oft wird das Band gereinigt?",
    "no fact": "NO_QUESTION",
    "too long": f"<question>{'Wann genau wird das Förderband gereinigt und ' * 10}von wem?</question>",
    "duplicate": f"<question>{QUESTIONS['de', 'urlaub'].upper()}</question>",
    "not found": "<question>Wie viele Tage Urlaub hat jede Angestellte in Linz?</question>",
}


@pytest.mark.parametrize("reason", BAD)
def test_what_is_not_kept_is_counted_by_reason(reason: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def sometimes(body: dict[str, Any]) -> Iterable[str]:
        return [BAD[reason]] if asked_for(body)[1] == "wartung" else well(body)

    # A duplicate needs the other question before it.
    seed = next(seed for seed in range(20) if drawn(seed).index("urlaub") < drawn(seed).index("wartung"))
    with model(monkeypatch, sometimes):
        code, out, err = shell("--lang", "de", "--yes", "--json", "--k", "1", "--seed", str(seed))
    assert code == 0, err
    [language] = json.loads(out)["languages"]
    assert language["rejected"][reason] == 1
    rejected = next(line for line in lines("gold.rejected.jsonl") if line["source"].endswith("/wartung.txt"))
    assert (rejected["reason"], rejected["rank"], rejected["lang"]) == (reason, None, "de")
    assert rejected["text"]
    assert all(not line["source"].endswith("/wartung.txt") for line in lines("gold.jsonl"))


def drawn(seed: int, where: Where = ANYWHERE, per_document: int = 1) -> list[str]:
    with closing(build.store(Settings())) as store:
        return [Path(each.source).stem for each in passages(store, where, per_document=per_document, seed=seed)]


def test_passages_are_drawn_by_seed_and_languages_take_turns(index: Path) -> None:
    orders = {seed: drawn(seed) for seed in range(5)}
    assert orders[3] == drawn(3)
    assert len({tuple(order) for order in orders.values()}) > 1
    for order in orders.values():
        assert sorted(order) == ["cantine", "conges", "print", "urlaub", "wartung"], "the short one holds no fact"
        first = {"c": "fr", "p": "en", "u": "de", "w": "de"}
        assert {first[name[0]] for name in order[:3]} == {"de", "en", "fr"}


def test_filters_choose_the_passages_but_the_search_is_over_all(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(drawn(0, Where(languages=("fr",)))) == {"cantine", "conges"}
    assert drawn(0, Where(sources=("*/print*",))) == ["print"]
    assert drawn(0, Where(metadata={"site": "Linz"})) == []
    with model(monkeypatch, lambda body: ["<question>When is the printer's toner replaced?</question>"]):
        assert shell("--lang", "en", "--source", "*cantine*", "--k", "1", "--yes")[0] == 0
        assert lines("gold.rejected.jsonl")[0]["reason"] == "not found"
        code, _, err = shell("--lang", "en", "--source", "nowhere*", "--yes", out="other.jsonl")
    assert code == 2
    assert "has a passage of 60 letters" in err


def test_a_document_of_several_passages_is_asked_about_as_often_as_allowed(index: Path) -> None:
    long = "\n\n".join(f"# Teil {part}\n\n" + " ".join([LIBRARY["urlaub.txt"]] * 6) for part in range(4))
    Path("lang.md").write_text(long)
    ingest(["lang.md"], settings=Settings(ingest={"chunk_tokens": 160}))  # type: ignore[arg-type]
    assert drawn(0).count("lang") == 1
    twice = drawn(0, per_document=2)
    assert twice.count("lang") == 2
    assert twice[: len(drawn(0))] == drawn(0), "no document comes again before all others came once"


def test_the_estimate_comes_first_and_a_dry_run_asks_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with model(monkeypatch, well) as server:
        code, out, err = shell("--lang", "de", "--lang", "en", "--questions", "2", "--dry-run", "--json")
        assert (code, server.requests) == (0, [])
        assert "Estimate: 4 to 8 requests" in err
        least, most = (json.loads(out)["estimate"][key] for key in ("least", "most"))
        assert (least["requests"], most["requests"]) == (4, 8)
        assert least["prompt_tokens"] * 1.8 < most["prompt_tokens"] < least["prompt_tokens"] * 2.2
        assert most["completion_tokens"] == 2 * least["completion_tokens"] > 100
        assert not list(Path().glob("gold*"))
        code, out, err = shell("--lang", "de")
    assert (code, out, server.requests) == (2, "", [])
    assert "--yes" in err
    assert "--dry-run" in err
    assert len(err.splitlines()) == 1


def test_without_a_language_model_one_line_says_so(shell: Shell) -> None:
    code, out, err = shell("--lang", "de", "--yes")
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1
    assert "RAG_LLM__MODEL" in err


def test_an_index_with_tenants_needs_one_before_anything_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_STORE__COLLECTION", "shared")
    monkeypatch.setenv("RAG_STORE__TENANT_KEY", "tenant")
    Path("wartung.txt").write_text(LIBRARY["wartung.txt"])
    ingest(["wartung.txt"], settings=Settings(), metadata={"tenant": "linz"})
    with model(monkeypatch, well) as server:
        code, _, err = shell("--lang", "de", "--yes")
        assert (code, server.requests) == (2, [])
        assert "--where tenant=NAME" in err
        assert shell("--lang", "de", "--yes", "--where", "tenant=linz")[0] == 0
    assert [line["rank"] for line in lines("gold.jsonl")] == [1]


def test_three_failures_in_a_row_end_the_run_and_the_next_goes_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, down = answering(well), status(503, "overloaded")
    options = ("--lang", "de", "--lang", "en", "--questions", "5", "--yes", "--json")
    with model(monkeypatch, [good, down, good, down, breaking("<question>Wann"), down, good]) as server:
        code, out, err = shell(*options)
        assert (code, out, len(server.requests)) == (5, "", 6)
    assert "2 questions kept in gold.jsonl" in err
    assert "the same command goes on" in err
    before = Path("gold.jsonl").read_bytes()
    with model(monkeypatch, well) as server:
        code, out, _ = shell(*options)
        assert len(server.requests) == 8, "what is kept is not asked for again"
    assert [each["kept"] for each in json.loads(out)["languages"]] == [5, 5]
    assert Path("gold.jsonl").read_bytes().startswith(before)
    with model(monkeypatch, well) as server:
        code, _, err = shell(*options)
        assert (code, server.requests) == (0, [])
    assert "nothing left to ask" in err


def test_single_failures_are_passed_over_and_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    good, down = answering(well), status(503, "overloaded")
    with model(monkeypatch, [down, down, good, down, down]):
        code, _, err = shell("--lang", "de", "--yes")
    assert code == 1
    assert "German: 1 of 20 kept" in err
    assert "4 failed" in err
    assert "same command asks again" in err


def test_a_killed_run_ends_as_one_that_was_not(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--lang", "de", "--lang", "en", "--yes")
    with model(monkeypatch, well):
        assert shell(*options, out="whole.jsonl")[0] == 0
        assert shell(*options)[0] == 0
    text = Path("gold.jsonl").read_bytes()
    kept = text.splitlines(keepends=True)[:3]
    # As a process that is killed in the middle of a line leaves it.
    Path("gold.jsonl").write_bytes(b"".join(kept) + b'{"id": "12", "te')
    with model(monkeypatch, well) as server:
        assert shell(*options)[0] == 0
        assert len(server.requests) == len(text.splitlines()) - 3

    def without_time(path: str) -> list[dict[str, Any]]:
        return [{key: value for key, value in line.items() if key != "created"} for line in lines(path)]

    assert without_time("gold.jsonl") == without_time("whole.jsonl")
    assert Path("gold.jsonl").read_bytes().startswith(b"".join(kept))


def test_rejected_questions_are_not_asked_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with model(monkeypatch, lambda body: ["NO_QUESTION"]) as server:
        assert shell("--lang", "de", "--yes")[0] == 0
        assert len(server.requests) == 5
        code, _, err = shell("--lang", "de", "--yes")
        assert len(server.requests) == 5
    assert (code, lines("gold.rejected.jsonl")[0]["reason"]) == (0, "no fact")
    assert "German: 0 of 20 kept; rejected: 5 no fact" in err
    assert "--per-document" in err


def test_a_run_goes_on_with_the_same_options_only(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with model(monkeypatch, well) as server:
        assert shell("--lang", "de", "--yes")[0] == 0
        asked = len(server.requests)
        for words, said in (
            (("--lang", "de", "--seed", "1"), "--seed 0, and now it is 1"),
            (("--lang", "de", "--lang", "en"), "--lang de, and now it is de en"),
            (("--lang", "de", "--in", "fr"), "--in unset, and now it is fr"),
        ):
            code, _, err = shell(*words, "--yes")
            assert (code, len(err.splitlines())) == (2, 1)
            assert said in err
        Path("neu.txt").write_text(LIBRARY["urlaub.txt"])
        ingest(["neu.txt"], settings=Settings())
        code, _, err = shell("--lang", "de", "--yes")
        assert code == 2
        assert "an index of 6 documents" in err
        assert len(server.requests) == asked
        Path("mine.jsonl").write_text("{}\n")
        code, _, err = shell("--lang", "de", "--yes", out="mine.jsonl")
        assert (code, Path("mine.jsonl").read_text()) == (2, "{}\n")
        assert "another --out" in err
        assert shell("--lang", "de", "--yes", out="nowhere/gold.jsonl")[0] == 2


def test_ctrl_c_keeps_what_is_done(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from rag.commands.eval_generate import generate as g; from rag.commands.shared import run; run(g, 'rag')"
    command = [sys.executable, "-c", script, "--out", "gold.jsonl", "--lang", "de", "--yes"]
    replies: list[Reply] = [answering(well), holding("<question>Wann", seconds=30)]
    with model(monkeypatch, replies) as server:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
        until = time.monotonic() + 60
        while len(server.requests) < 2:
            assert time.monotonic() < until
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 question kept in gold.jsonl: the same command goes on" in err
    assert "Traceback" not in err
    assert len(lines("gold.jsonl")) == 1


def test_on_a_terminal_it_asks_and_shows_how_far_it_is(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from rag.commands.eval_generate import generate as g; from rag.commands.shared import run; run(g, 'rag')"
    command = [sys.executable, "-c", script, "--out", "gold.jsonl", "--lang", "de"]
    with model(monkeypatch, well) as server:
        for answer, code in (("n", 1), ("y", 0)):
            with Terminal(command, environment={}, folder=index, columns=120) as terminal:
                terminal.wait_for("Ask the language model?")
                assert server.requests == []
                terminal.type(f"{answer}\r")
                assert terminal.exit_code() == code
                shown = terminal.everything()
    assert "/20 kept" in shown
    assert "German: 5 of 20 kept" in shown
    assert len(lines("gold.jsonl")) == 5


def test_a_line_in_the_middle_that_is_none_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "gold.jsonl"
    files = QuestionFiles(out, {"--seed": "0"})
    files.begin()
    for name in "ab":
        files.add(Question(name, "de", name, ("file:///a",), "a", 0, "de", 1, "m", "2026"), None)
    assert (files.kept("de"), files.kept("en"), files.asked("B"), files.tried("c")) == (2, 0, True, False)
    whole = out.read_bytes()
    out.write_bytes(whole.rstrip(b"\n"))
    again = QuestionFiles(out, {"--seed": "0"})
    again.begin()
    assert (again.kept("de"), out.read_bytes()) == (2, whole), "a last line that only lost its end is whole"
    out.write_bytes(b"oops\n" + whole)
    from rag.errors import InputError

    with pytest.raises(InputError, match="line 1"):
        QuestionFiles(out, {"--seed": "0"})
