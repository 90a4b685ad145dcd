"""`rag eval retrieval` from the command line: output, gates, comparisons, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest.api import ingest
from rag import build, build_retrieval
from rag.commands.shared import load_settings
from rag.errors import InputError
from rag.evaluation import specs, table
from rag.evaluation.results import Cell, Comparison, Difference, Evaluation, Interval
from tests.command_line import Shell, call
from tests.evaluation_data import CORPUS, QUERIES, QUESTIONS, SUBJECTS, write_dataset, write_lines


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Runs `rag eval retrieval` beside a data set in small/, with the bundled model and a store of its own."""
    write_dataset(in_folder / "small")
    monkeypatch.setenv("RAG_STORE__PATH", str(in_folder / "store"))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_EMBEDDER__DTYPE", "float32")

    return lambda *words: call(("rag", "eval", "retrieval", *words), monkeypatch, capfd)


@pytest.fixture
def index(in_folder: Path) -> Path:
    """An index of the same texts, and a file of questions with their sources."""
    for name, texts in SUBJECTS.items():
        for language, text in texts.items():
            (in_folder / "docs" / language).mkdir(parents=True, exist_ok=True)
            (in_folder / "docs" / language / f"{name}.txt").write_text(text)
    store, embedder = {"path": in_folder / "store"}, {"model": "pocket-m3", "dtype": "float32"}
    report = ingest([in_folder / "docs"], settings=Settings(store=store, embedder=embedder))  # type: ignore[arg-type]
    assert report.added == 9
    return write_lines(
        in_folder / "gold.jsonl",
        [
            {"question": text, "lang": language, "sources": [f"docs/{tag}/{name}.txt" for tag in ("de", "fr")]}
            for name, texts in QUESTIONS.items()
            for language, text in texts.items()
        ],
    )


def test_figures_for_every_pair_come_as_one_json_object(shell: Shell) -> None:
    done = shell("small", "--json")
    assert (done.code, done.err) == (0, "")
    assert set(done.json) == {"runs", "comparisons", "remarks"}
    (found,) = done.json["runs"]
    assert found["accuracy@1"] is None
    assert (found["name"], found["model"], found["dataset"]) == (
        "hybrid fusion=normalized dense=1 sparse=0.5 level_k=8 coverage=0 centring=0.25",
        "pocket-m3",
        "small",
    )
    assert (found["documents"], found["questions"]) == (9, 6)
    assert len(found["matrix"]) == 6
    german = next(cell for cell in found["matrix"] if cell["question_language"] == cell["document_language"] == "de")
    assert german["values"]["R@10"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert set(german["values"]) == {"nDCG@10", "R@1", "R@10", "R@100", "RR@10"}
    assert {row["case"] for row in found["cases"]} == {"all", "foreign", "one", "own"}
    assert [each["dimension"] for each in found["truncations"]] == [256, 128, 64, 32]
    assert done.json["comparisons"] == []


def test_the_table_shows_matrix_cases_preference_and_truncations(shell: Shell) -> None:
    done = shell("small", "--measure", "R@1", "--mode", "dense")
    assert done.code == 0
    assert "small · pocket-m3 · dense · 9 documents · 6 questions" in done.out
    assert "R@1: questions in rows, documents in columns\n" in done.out
    for title in ("All languages in one index", "Share of the first ten", "Dense vectors cut short"):
        assert f"\n{title}" in done.out


def test_runs_are_compared_with_the_first(shell: Shell) -> None:
    words = [word for spec in ("dense", "sparse", "hybrid sparse=1.0") for word in ("--compare", spec)]
    done = shell("small", *words, "--json")
    assert [each["name"] for each in done.json["runs"]] == [
        "dense",
        "sparse",
        "hybrid fusion=normalized dense=1 sparse=1 level_k=8 coverage=0 centring=0.25",
    ]
    assert [each["truncations"] != [] for each in done.json["runs"]] == [True, False, True]
    pairs = [(each["first"], each["second"]) for each in done.json["comparisons"]]
    assert pairs == [
        ("dense", "sparse"),
        ("dense", "hybrid fusion=normalized dense=1 sparse=1 level_k=8 coverage=0 centring=0.25"),
    ]
    places = {each["place"] for each in done.json["comparisons"][0]["places"]}
    assert {"de → fr", "en → en", "all", "one"} <= places
    for each in done.json["comparisons"][0]["places"]:
        assert 0 < each["p_value"] <= 1
    assert "nDCG@10, first: dense, second: sparse\n" in shell("small", *words[:4]).out


def test_a_value_below_its_gate_fails_and_says_where(shell: Shell) -> None:
    assert shell("small", "--min-ndcg", "de-de=0.9", "--min-recall", "0.5", "--min-recall", "own=1").code == 0
    done = shell("small", "--mode", "sparse", "--min-ndcg", "de-fr=1", "--min-ndcg", "DE-DE=0.9")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("rag eval retrieval: sparse: de → fr: nDCG@10 0.")
    assert line.endswith(" is below 1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is needed")
def test_a_page_that_cannot_be_written_after_all_hides_no_value_that_fell(shell: Shell) -> None:
    done = shell("small", "--mode", "sparse", "--min-ndcg", "1", "--report", "/dev/full")
    assert done.code == 2
    *fallen, last = done.err.splitlines()
    assert fallen
    assert all(line.endswith("is below 1") for line in fallen)
    assert last.startswith("rag: the report cannot be written to /dev/full (No space left on device)")


@pytest.mark.parametrize("gate", ["1.5", "nan", "de=0.4", "de-fr=", "de-fr-en=0.3", "de-xx=0.3", "high", "-0.1"])
def test_a_gate_that_cannot_be_used_is_refused(shell: Shell, gate: str) -> None:
    done = shell("small", f"--min-ndcg={gate}")
    assert done.code == 2
    assert done.err == (f"rag: --min-ndcg {gate!r} cannot be used: give 0.4, de-ja=0.4 or one=0.2, from 0 to 1\n")


def test_a_gate_for_what_is_not_measured_is_refused_before_anything_is_embedded(shell: Shell) -> None:
    done = shell("small", "--min-ndcg", "de-ja=0.4")
    assert done.code == 2
    assert done.err.startswith("rag: nothing is measured for 'de → ja': small has de → de, ")


def test_every_problem_of_a_data_set_is_a_line(shell: Shell, in_folder: Path) -> None:
    write_dataset(in_folder / "bad", [*CORPUS, "{"], [*QUERIES, {"id": "q", "lang": "en", "text": "?", "gold": "no"}])
    done = shell("bad")
    assert done.code == 2
    assert done.err.splitlines() == [
        "rag eval retrieval: bad/corpus.jsonl:10: is no JSON (Expecting property name enclosed in double quotes, "
        "character 2): write one object a line",
        "rag eval retrieval: bad/queries.jsonl:7: gold names an unknown document 'no': corpus.jsonl has no such id",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give FOLDER or --gold FILE: neither is given"),
        (["small", "--gold", "x.jsonl"], "give FOLDER or --gold FILE: both are given"),
        (["nowhere"], "there is no folder 'nowhere'"),
        (["small", "small"], "'small' is no .tsv, no .tsv.gz and no folder of them"),
        (["small", "--languages", "de,xx"], "'xx' is not a language tag"),
        (["small", "--languages", ","], "--languages is empty: give tags with commas between"),
        (["small", "--languages", "de,ja"], "small has nothing in 'ja': it has de, en, fr"),
        (["small", "--languages", "fr"], "small has no question in fr with an answer there"),
        (["small", "--report", "small/corpus.jsonl/out.html"], "the report cannot be written to small/corpus.jsonl/"),
        (["small/corpus.jsonl"], "'small/corpus.jsonl' is a file of another kind: give a folder with corpus.jsonl and"),
        (["empty"], "'empty' holds no data set: give a folder with corpus.jsonl and queries.jsonl, or bitext"),
        (["small", "--compare", "dense", "--compare", "dense"], "--compare: two runs are 'dense'"),
        (["small", "--compare", "dens"], "--compare 'dens': 'dens' is unknown"),
        (["small", "--sparse-weight", "much"], "setting retrieval.sparse_weight"),
        (["small", "--compare", "hybrid rrf_k=0"], "setting retrieval.rrf_k"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(shell: Shell, in_folder: Path, words: list[str], told: str) -> None:
    (in_folder / "empty").mkdir()
    done = shell(*words)
    assert done.code == 2
    assert done.err.startswith(f"rag: {told}")
    assert done.err.count("\n") == 1


def test_languages_can_be_chosen(shell: Shell) -> None:
    (found,) = shell("small", "--languages", "de,fr", "--mode", "sparse", "--json").json["runs"]
    assert [(cell["question_language"], cell["document_language"]) for cell in found["matrix"]] == [
        ("de", "de"),
        ("de", "fr"),
    ]
    assert (found["documents"], found["questions"]) == (6, 3)


def test_a_report_is_written(shell: Shell, in_folder: Path) -> None:
    assert shell("small", "--report", "out.html").code == 0
    assert "de" in (in_folder / "out.html").read_text()


def test_questions_that_are_foreign_everywhere_have_figures_too(shell: Shell, in_folder: Path) -> None:
    english = [record for record in CORPUS if record["lang"] == "en"]
    german = [{**each, "gold": each["gold"].replace("de:", "en:")} for each in QUERIES if each["lang"] == "de"]
    write_dataset(in_folder / "foreign", english, german)
    done = shell("foreign", "--json")
    (found,) = done.json["runs"]
    assert [(cell["question_language"], cell["document_language"]) for cell in found["matrix"]] == [("de", "en")]
    assert (found["cases"], found["preferences"], found["truncations"]) == ([], [], [])
    assert shell("foreign", "--report", "foreign.html").code == 0


# An index as it is


def test_an_index_is_measured_through_the_pipeline(shell: Shell, index: Path) -> None:
    done = shell("--gold", index.name, "--compare", "hybrid sparse=1.0", "--compare", "dense", "--json")
    assert (done.code, done.err) == (0, "")
    hybrid, dense = done.json["runs"]
    assert (hybrid["documents"], hybrid["questions"], hybrid["dataset"]) == (9, 6, "gold.jsonl")
    assert hybrid["fingerprint"] == dense["fingerprint"] != ""
    # Of the three languages English holds no answer.
    pairs = {(cell["question_language"], cell["document_language"]): cell["values"] for cell in hybrid["matrix"]}
    assert set(pairs) == {("de", "de"), ("de", "fr"), ("en", "de"), ("en", "fr")}
    assert pairs["de", "de"]["R@1"]["mean"] == 1.0
    assert pairs["en", "fr"]["R@100"]["mean"] == 1.0
    cases = {(row["case"], row["question_language"]): row["questions"] for row in hybrid["cases"]}
    assert cases["own", None] == 3
    assert cases["one", "en"] == 6
    assert hybrid["truncations"] == []
    assert {each["place"] for each in done.json["comparisons"][0]["places"]} >= {"de → fr", "foreign"}


def test_an_index_that_is_not_there_and_gold_that_is_not_in_it_are_told(shell: Shell, in_folder: Path) -> None:
    write_lines(in_folder / "g.jsonl", [{"question": "Who?", "lang": "en", "source": "nowhere.md"}])
    done = shell("--gold", "g.jsonl")
    assert done.code == 3
    assert done.err.count("\n") == 1


def test_gold_that_an_index_does_not_hold_is_told_with_its_line(shell: Shell, index: Path, in_folder: Path) -> None:
    write_lines(in_folder / "g.jsonl", [{"question": "Who?", "lang": "en", "source": "nowhere.md"}])
    done = shell("--gold", "g.jsonl")
    assert done.code == 2
    assert done.err.startswith("rag eval retrieval: g.jsonl:1: gold names an unknown document: the index holds no doc")


def test_of_an_index_languages_can_be_chosen(shell: Shell, index: Path) -> None:
    (found,) = shell("--gold", index.name, "--languages", "de", "--languages", "fr", "--json").json["runs"]
    assert (found["documents"], found["questions"]) == (6, 3)
    # What is not chosen takes no place among the first ten.
    assert {each["document_language"]: each["top_share"] for each in found["preferences"]} == {"de": 0.5, "fr": 0.5}


# Names of runs and widths of terminals


@pytest.mark.parametrize(
    "text",
    [
        "dense",
        "sparse",
        "hybrid fusion=normalized dense=2 sparse=0.3 level_k=7 coverage=0 centring=0",
        "hybrid fusion=normalized dense=1 sparse=1 level_k=8 own_places=4 coverage=0.3 centring=0.5",
        "hybrid fusion=weighted dense=2 sparse=0.3 coverage=0.2 centring=0",
        "hybrid fusion=rrf rrf_k=60 centring=0",
        "dense model=pocket-m3",
    ],
)
def test_the_name_of_a_run_asks_for_it(text: str) -> None:
    spec = specs.parse(text)
    settings = load_settings(model="pocket-m3", more={"retrieval": dict(spec.retrieval)})
    # With a model whose card says otherwise: what a name leaves out must not come from there.
    ranking = build_retrieval.ranking(settings, build.checkpoint(settings))
    assert specs.name(ranking, spec.model) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("hybrid k=3", "'k=3' is unknown"),
        ("hybrid sparse=", "'sparse=' is unknown"),
        ("dense hybrid", "mode is given twice"),
        ("dense sparse=1.0", "sparse= changes nothing in mode dense"),
    ],
)
def test_a_run_that_cannot_be_read_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        specs.parse(text)


def evaluation(languages: list[str]) -> Evaluation:
    values = {"nDCG@10": Interval(0.4444, 0.3, 1.0)}
    matrix = tuple(Cell(asked, held, 5, values) for asked in languages for held in languages)  # type: ignore[arg-type]
    return Evaluation("dense", "d", "m", "f", 4, 5, matrix)


def test_a_matrix_that_is_wider_than_the_terminal_becomes_a_list() -> None:
    wide = table.evaluation_text(evaluation(["de", "en", "ja"]), "nDCG@10", None)
    assert "      de    en    ja\nde  .444  .444  .444\n" in wide
    narrow = table.evaluation_text(evaluation(["de", "en", "ja"]), "nDCG@10", 19)
    assert "\nde → ja\n" not in wide
    assert "\nde → ja  .444  [.300, 1.000]\n" in narrow


def test_a_comparison_shows_one_measure() -> None:
    differences = (Difference("de → ja", "nDCG@10", 0.5, 0.4, 0.0312, 5), Difference("de → ja", "R@1", 0, 0, 1, 5))
    text = table.comparison_text(Comparison("dense", "sparse", differences), "nDCG@10")
    assert text.splitlines() == [
        "nDCG@10, first: dense, second: sparse",
        "         first  second  difference       p",
        "de → ja   .500    .400      -0.100  0.0312",
    ]
