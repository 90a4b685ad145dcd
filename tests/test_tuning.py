"""`rag tune retrieval`: what it finds, and that it takes no chance for a gain."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from rag_config.settings import Settings

from ingest.api import ingest
from rag import tuned
from rag.commands.tune_runs import enough
from rag.errors import InputError, StoreError
from rag.evaluation import tuning_candidates, tuning_table
from rag.evaluation.datasets import Dataset, DatasetDocument, DatasetQuestion
from rag.evaluation.measure import evaluate
from rag.evaluation.results import MEASURES
from rag.evaluation.scoring import ExactRanker, Vectors, vectors
from rag.evaluation.tuning import Tried, choose, dealt, grid
from rag.evaluation.tuning_candidates import Candidates, of_dataset, of_index
from rag.evaluation.tuning_scores import Objective, try_all
from rag.fusion import Ranking
from rag.types import Candidate, Embedding, SparseVector
from tests.command_line import Done, Shell, call
from tests.evaluation_data import QUESTIONS, SUBJECTS, write_dataset, write_lines
from tests.samples import a_chunk
from tests.tiny_corpus import PATTERNS

WEIGHTED = Ranking(method="weighted")


def parallel(subjects: int, languages: str = "abc", asked: str = "ab") -> Dataset:
    """Each subject has a document in each language, and a question in some."""
    documents = [DatasetDocument(f"{each}:{n:03}", each, "", f"d{n}") for each in languages for n in range(subjects)]
    questions = [
        DatasetQuestion(f"{each}:q{n}", each, f"{n}?", f"q{n}", {f"{each}:{n:03}": 1 + n % 2})
        for n in range(subjects)
        for each in asked
    ]
    return Dataset("parallel", tuple(documents), tuple(questions))


def at_random(dataset: Dataset, seed: int = 0) -> Vectors:
    """Vectors that know a little of what belongs together, in eighths: many scores are equal, and none is rounded."""
    generator = np.random.default_rng(seed)
    subjects = {each.group[1:]: generator.normal(size=8) for each in dataset.documents}
    languages = {each: generator.normal(size=8) for each in dataset.document_languages}

    def embedding(group: str, language: str) -> Embedding:
        dense = subjects[group[1:]] + languages[language] + generator.normal(size=8)
        dense = np.round(8 * dense / np.linalg.norm(dense)) / 8
        ids = np.sort(generator.choice(40, 4, replace=False)).astype(np.uint32)
        return Embedding(
            dense.astype(np.float32), SparseVector(ids, (np.round(8 * generator.random(4)) / 8).astype(np.float32))
        )

    return vectors(
        [embedding(each.group, each.language) for each in dataset.documents],
        [embedding(each.group, each.language) for each in dataset.questions],
    )


def made_up(gold_stands_out: float, offset: float, subjects: int = 60) -> tuple[Dataset, Candidates]:
    """Questions in a: documents in a are nearer by `offset`, the right one in a and in b by `gold_stands_out`."""
    dataset = parallel(subjects, "ab", "a")
    generator = np.random.default_rng(7)
    dense = generator.normal(0.4, 0.05, (subjects, 2 * subjects)).astype(np.float32)
    dense[:, :subjects] += offset
    each = np.arange(subjects)
    dense[each, each] += gold_stands_out
    dense[each, each + subjects] += gold_stands_out
    documents = np.broadcast_to(np.arange(2 * subjects), dense.shape)
    languages = np.repeat([0, 1], subjects)
    asked, own = np.full(subjects, "a"), np.ones(subjects)
    return dataset, Candidates(dense, np.zeros_like(dense), languages, ("a", "b"), documents, asked, own)


def tried(sums: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Tried:
    """One place; rankings in rows, questions in columns."""
    rankings = tuple(Ranking(level_k=1 + n) for n in range(len(sums)))
    names = tuple(f"q{n}" for n in range(sums.shape[1]))
    return Tried(rankings, ("all",), names, sums[:, None, :], np.ones((1, sums.shape[1])))


@pytest.mark.parametrize("present", [WEIGHTED, replace(WEIGHTED, coverage=0.3, centring=0.5, own_places=1)])
@pytest.mark.parametrize("objective", ["mean", "pairs"])
def test_each_ranking_is_worth_what_its_evaluation_says(objective: Objective, present: Ranking) -> None:
    dataset = parallel(30)
    found = at_random(dataset)
    rankings = grid(present, (0.0, 0.3, 2.0), (2, 8, 40))
    if not present.centring:  # one way of comparing vectors for all
        rankings = (*rankings, Ranking(mode="dense"), Ranking(mode="sparse"))
    measured = try_all(dataset, of_dataset(dataset, found, present), rankings, objective)
    assert len(measured.places) == (6 if objective == "pairs" else 4)
    for ranking in rankings:
        expected = evaluate(dataset, ExactRanker(dataset, found, ranking), name="", model="", fingerprint="").places
        column = MEASURES.index("nDCG@10")
        means = [float(expected[place].values[:, column].mean()) for place in measured.places]
        assert measured.by_place(ranking) == pytest.approx(means)
        assert measured.values()[rankings.index(ranking)] == pytest.approx(np.mean(means))


def test_of_many_documents_the_nearest_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = parallel(120, "ab", "a")
    found = at_random(dataset)
    rankings = (WEIGHTED, Ranking(level_k=4), Ranking(mode="dense"))
    whole = try_all(dataset, of_dataset(dataset, found, WEIGHTED), rankings, "mean")
    monkeypatch.setattr(tuning_candidates, "_WHOLE", 0)
    monkeypatch.setattr(tuning_candidates, "_NEAREST", 40)
    some = of_dataset(dataset, found, WEIGHTED)
    assert some.dense.shape == (120, 160)
    np.testing.assert_allclose(try_all(dataset, some, rankings, "mean").sums, whole.sums)


def test_a_document_of_an_index_stands_where_its_best_passage_does() -> None:
    documents = tuple(DatasetDocument(uri, "en", "", uri) for uri in ("u:long", "u:right"))
    question = DatasetQuestion("q", "en", "?", "q", {"u:right": 1})
    # Twelve passages of the other document are before the right one; they are one document.
    found = [Candidate.of(a_chunk(uri="u:long", ordinal=n, language="en"), 0.9 - n / 100, 0.0) for n in range(12)]
    found += [
        Candidate.of(a_chunk(uri="u:right", ordinal=n, language="en"), dense, 0.0) for n, dense in ((0, 0.5), (1, 0.1))
    ]
    found.append(Candidate.of(a_chunk(uri="u:came-meanwhile", language="en"), 0.2, 0.0))
    dataset = Dataset("index", documents, (question,))
    shown: list[tuple[int, int]] = []
    candidates = of_index(dataset, lambda at: found, [1.0] * len(dataset.questions), lambda *done: shown.append(done))
    measured = try_all(dataset, candidates, [WEIGHTED], "mean")
    assert measured.places == ("en → en",)
    assert measured.values()[0] == pytest.approx(1 / np.log2(3))
    assert shown == [(1, 1)]


def test_a_language_in_which_nothing_was_found_counts_for_nothing() -> None:
    documents = (DatasetDocument("u:de", "de", "", "one"), DatasetDocument("u:en", "en", "", "one"))
    dataset = Dataset("index", documents, (DatasetQuestion("q", "en", "?", "q", {"u:en": 1}),))
    found = [Candidate.of(a_chunk(uri="u:en", language="en"), 0.9, 0.0)]
    measured = try_all(
        dataset, of_index(dataset, lambda at: found, [1.0] * len(dataset.questions)), [WEIGHTED, Ranking()], "pairs"
    )
    assert dict(zip(measured.places, measured.by_place(Ranking()), strict=True)) == {"en → de": 0.0, "en → en": 1.0}
    empty = try_all(
        dataset, of_index(dataset, lambda at: [], [1.0] * len(dataset.questions)), [WEIGHTED, Ranking()], "mean"
    )
    assert empty.values().tolist() == [0.0, 0.0]


def test_depths_keep_what_a_search_of_them_finds() -> None:
    dense = np.array([[0.9, 0.8, 0.7, 0.2, 0.1, 0.15]], np.float32)
    sparse = np.array([[0.0, 0.0, 0.0, 0.0, 0.5, 0.1]], np.float32)
    languages = np.array([0, 0, 0, 1, 1, 1])
    candidates = Candidates(dense, sparse, languages, ("a", "b"), np.arange(6)[None], np.array(["a"]), np.ones(1))
    for depths, kept in (((1, 0), [0, 4]), ((2, 0), [0, 1, 4, 5]), ((1, 1), [0, 3, 4]), ((1, 2), [0, 1, 3, 4, 5])):
        found = candidates.nearest(*depths)
        assert np.flatnonzero(found.dense[0] > -np.inf).tolist() == kept


def test_what_helps_is_found_and_told_from_chance() -> None:
    dataset, candidates = made_up(gold_stands_out=0.15, offset=0.3)
    outcome = choose(try_all(dataset, candidates, grid(WEIGHTED, (0.0, 0.3), (8,)), "foreign"))
    assert (outcome.chosen.method, outcome.certain, outcome.agreement) == ("normalized", True, 5)
    assert outcome.present == WEIGHTED
    assert 0.1 < outcome.gain.low <= outcome.gain.mean <= outcome.gain.high
    assert outcome.out_of_fold == pytest.approx(outcome.present_value + outcome.gain.mean)
    assert "A gain that can be told from chance" in tuning_table.verdict(outcome)


def test_where_nothing_helps_nothing_is_changed() -> None:
    dataset, candidates = made_up(gold_stands_out=0.0, offset=0.0)
    outcome = choose(try_all(dataset, candidates, grid(WEIGHTED), "mean"))
    assert outcome.chosen != outcome.present, "chance makes something the best"
    assert outcome.chosen_value > outcome.present_value
    assert not outcome.certain
    assert tuning_table.verdict(outcome) == "No gain that can be told from chance: nothing is changed."


def test_where_all_are_equal_the_present_settings_stay() -> None:
    dataset, candidates = made_up(gold_stands_out=1.0, offset=0.0)
    outcome = choose(try_all(dataset, candidates, grid(Ranking()), "own"))
    assert (outcome.chosen, outcome.agreement, outcome.certain) == (Ranking(), 5, False)
    assert "the best of what was tried: nothing is changed" in tuning_table.verdict(outcome)


def test_a_question_has_no_part_in_the_choice_that_answers_it() -> None:
    # Each ranking is right for one question alone: whatever is best for the others fails.
    outcome = choose(tried(np.vstack([np.zeros(40), np.eye(40)])))
    assert outcome.chosen_value == pytest.approx(1 / 40)
    assert (outcome.out_of_fold, outcome.gain.mean, outcome.certain) == (0.0, 0.0, False)


def test_a_gain_that_all_questions_share_is_beyond_doubt() -> None:
    outcome = choose(tried(np.array([np.full(20, 0.25), np.full(20, 0.5)])), folds=10)
    assert [outcome.gain.mean, outcome.gain.low, outcome.gain.high] == pytest.approx([0.25] * 3)
    assert (outcome.certain, outcome.agreement) == (True, 10)


def test_questions_are_dealt_evenly_and_alike_in_whatever_order_they_come() -> None:
    names = [f"question {n}" for n in range(23)]
    folds = dealt(names, 5)
    assert sorted(np.bincount(folds).tolist()) == [4, 4, 5, 5, 5]
    assert dealt(names[::-1], 5).tolist() == folds.tolist()[::-1]


def test_a_question_and_its_translations_are_one() -> None:
    dataset = parallel(10, "abc", "abc")
    measured = try_all(dataset, of_dataset(dataset, at_random(dataset), WEIGHTED), [WEIGHTED], "all")
    assert len(measured.names) == 10
    assert measured.counts.tolist() == [[3.0] * 10]


def test_the_grid_begins_with_the_present_ranking_and_has_each_once() -> None:
    present = Ranking(dense_weight=2.0, sparse_weight=0.6)
    found = grid(present, (0.0, 0.3), (8, 16))
    assert found[0] == present, "and dense 1, sparse 0.3 is the same"
    assert [(each.method, each.sparse_weight, each.level_k) for each in found[1:3]] == [
        ("normalized", 0.3, 16),
        ("normalized", 0.0, 8),
    ]
    assert len(found) == 7
    assert sum(each.method == "rrf" for each in found) == 1
    assert len(set(grid(Ranking()))) == len(grid(Ranking())) == 55


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(InputError, match=r"^1 question \(translations count as one\) cannot be dealt into 5 folds"):
        choose(tried(np.ones((2, 1))))


def test_an_objective_that_the_data_do_not_have_is_refused() -> None:
    dataset = parallel(5, "a", "a")
    with pytest.raises(InputError, match="no question for the objective 'one': take mean, pairs"):
        try_all(dataset, of_dataset(dataset, at_random(dataset), WEIGHTED), [WEIGHTED], "one")


FOUND = tuned.Tuned("normalized", 1.0, 2.0, 8, 0.3, 0.5, "f" * 64, "gold.jsonl", 80, "mean", 0.03, 0.01, 0.05, 200)


def test_what_was_found_is_read_as_it_was_written_and_for_its_model_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert tuned.read(tmp_path, "f" * 64) is None
    path = tuned.write(tmp_path, FOUND)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] == ["tuning.json"]
    assert tuned.read(tmp_path, "f" * 64) == FOUND
    assert tuned.read(tmp_path, "0" * 64) is None
    assert "found for another model" in caplog.text


def test_a_file_of_before_questions_were_centred_is_read_as_it_was_meant(tmp_path: Path) -> None:
    fields = asdict(FOUND)
    del fields["coverage"], fields["centring"]
    (tmp_path / "tuning.json").write_text(json.dumps(fields))
    assert tuned.read(tmp_path, "f" * 64) == replace(FOUND, coverage=0.0, centring=0.0)


@pytest.mark.parametrize(
    "damage",
    [
        {"sparse_weight": "2"},
        {"sparse_weight": -1},
        {"dense_weight": None},
        {"level_k": 0},
        {"level_k": 8.5},
        {"fusion": "magic"},
        {"gain": "much"},
        {"fusion": []},
        {"coverage": -0.1},
        {"depth": 0},
        {"centring": 1.1},
    ],
    ids=str,
)
def test_a_damaged_file_is_told(tmp_path: Path, damage: dict[str, object]) -> None:
    (tmp_path / "tuning.json").write_text(json.dumps({**asdict(FOUND), **damage}))
    with pytest.raises(StoreError, match=r"tuning\.json is damaged: delete it"):
        tuned.read(tmp_path, "f" * 64)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", "\ud800"])
def test_a_file_of_something_else_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "tuning.json").write_text(content, errors="surrogatepass")
    with pytest.raises(StoreError, match="is damaged"):
        tuned.read(tmp_path, "f" * 64)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], in_folder: Path) -> Shell:
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_STORE__PATH", str(in_folder / "store"))

    def tune(*words: str) -> Done:
        return call(("rag", "tune", "retrieval", *words), monkeypatch, capfd)

    return tune


@pytest.fixture
def sentences(in_folder: Path) -> Path:
    """Short sentences in three languages; they are asked for in English."""
    texts = {
        language: [pattern.format(*words) for words in list(product(*parts))[::3]]
        for language, (pattern, *parts) in PATTERNS.items()
        if language in ("en", "de", "fr")
    }
    corpus = [
        {"id": f"{language}:{n}", "lang": language, "par": str(n), "text": text}
        for language, some in texts.items()
        for n, text in enumerate(some)
    ]
    queries = [
        {"id": str(n), "lang": "en", "qid": str(n), "text": text, "gold": f"en:{n}"}
        for n, text in enumerate(texts["en"])
    ]
    return write_dataset(in_folder / "sentences", corpus, queries)


def ingested(in_folder: Path) -> Path:
    """An index of nine short files in three languages, and six questions."""
    library = in_folder / "library"
    library.mkdir()
    for name, texts in SUBJECTS.items():
        for language, text in texts.items():
            (library / f"{name}.{language}.txt").write_text(text, encoding="utf-8")
    assert not ingest([library], settings=Settings()).failed
    return write_lines(
        in_folder / "gold.jsonl",
        [
            {
                "question": text,
                "language": language,
                "group": name,
                "sources": [f"library/{name}.{held}.txt" for held in SUBJECTS[name]],
            }
            for name, texts in QUESTIONS.items()
            for language, text in texts.items()
        ],
    )


@pytest.mark.parametrize(
    ("values", "present", "kept"),
    [
        ((0.5, 0.6, 0.7, 0.7, 0.7), 100, 100),  # what is there is enough: never less
        ((0.5, 0.5, 0.5, 0.6, 0.6005), 50, 100),
        ((0.5, 0.5, 0.5, 0.6, 0.65), 50, 200),
        ((0.6, 0.5, 0.5, 0.5, 0.5), 100, 100),
        ((0.5, 0.5, 0.5, 0.5, 0.6), 500, 500),
    ],
)
def test_more_candidates_are_kept_only_where_they_find_more(values: tuple[float, ...], present: int, kept: int) -> None:
    assert enough(list(zip((10, 25, 50, 100, 200), values, strict=True)), present) == kept


def test_a_gain_is_kept_with_the_index_where_one_says_so(
    shell: Shell, sentences: Path, in_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingested(in_folder)
    monkeypatch.setenv("RAG_RETRIEVAL__DENSE_WEIGHT", "0")
    monkeypatch.setenv("RAG_RETRIEVAL__SPARSE_WEIGHT", "1")
    words = (sentences.name, "--objective", "foreign", "--sparse-weights", "0,0.3", "--level-ks", "4")
    shown = shell(*words)
    assert (shown.code, shown.err) == (0, "")
    assert "normalized, level_k 4" in shown.out
    assert "A gain that can be told from chance. In rag.toml:\n\n[retrieval]\nmode = " in shown.out
    assert shown.out.endswith("Nothing is changed: --save keeps this with the index.\n")
    file = in_folder / "store" / "default" / "tuning.json"
    assert not file.exists()
    saved = shell(*words, "--save", "--json")
    best = saved.json["best"]
    assert saved.json["saved"] == str(file)
    assert (saved.json["certain"], saved.json["dataset"], saved.json["questions"]) == (True, "sentences", 22)
    assert best["value"] > saved.json["present"]["value"]
    tried = [(each["fusion"], each["sparse_weight"]) for each in saved.json["tried"]]
    assert sorted(tried) == [
        *[("normalized", 0.0), ("normalized", 0.3), ("normalized", 1.0)],
        *[("rrf", 1.0), ("weighted", 0.0), ("weighted", 0.3)],
    ]
    found = tuned.read(file.parent, saved.json["fingerprint"])
    assert found is not None
    shown_now = call(("rag", "config", "--json"), monkeypatch, capfd).lines
    kept = {row["setting"]: (row["value"], row["source"]) for row in shown_now if row["source"] == "tuning.json"}
    assert kept["retrieval.fusion"] == (best["fusion"], "tuning.json")
    assert "retrieval.sparse_weight" not in kept, "the environment goes before it"
    assert (found.fusion, found.sparse_weight, found.data) == (best["fusion"], best["sparse_weight"], "sentences")
    assert "setting retrieval.dense_weight is 0.0 and goes before what was saved: take it out" in saved.err


def test_what_may_be_chance_is_not_kept(shell: Shell, sentences: Path, in_folder: Path) -> None:
    ingested(in_folder)
    done = shell(sentences.name, "--objective", "own", "--save", "--max-questions", "8")
    assert done.code == 0
    assert "nothing is changed" in done.out
    assert "8 of 22 questions were asked" in done.err
    assert not (in_folder / "store" / "default" / "tuning.json").exists()


def test_an_index_is_tuned_on_what_it_finds(
    shell: Shell, in_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = ingested(in_folder)
    done = shell("--gold", gold.name, "--objective", "all", "--folds", "3", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["questions"] == 3
    assert [each["depth"] for each in done.json["depths"]] == [10, 25, 50, 100, 200]
    # Nine passages: a search takes them all.
    assert {each["value"] for each in done.json["depths"]} == {done.json["best"]["value"]}
    words = ("rag", "eval", "retrieval", "--gold", gold.name, "--json")
    monkeypatch.setenv("RAG_RETRIEVAL__COLLAPSE", "off")
    [run] = call(words, monkeypatch, capfd).json["runs"]
    [value] = [
        row["values"]["nDCG@10"]["mean"]
        for row in run["cases"]
        if (row["case"], row["question_language"]) == ("all", None)
    ]
    assert done.json["present"]["value"] == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give FOLDER or --gold FILE: neither given"),
        (["sentences", "--gold", "gold.jsonl"], "give FOLDER or --gold FILE: both given"),
        (["none"], "there is no folder 'none'"),
        (["sentences", "--sparse-weights", "0.3,much"], "--sparse-weights: 'much' is no weight: give numbers from 0"),
        (["sentences", "--sparse-weights", "nan"], "--sparse-weights: 'nan' is no weight"),
        (["sentences", "--sparse-weights", "-1"], "--sparse-weights: '-1' is no weight"),
        (["sentences", "--sparse-weights", ","], "--sparse-weights is empty"),
        (["sentences", "--level-ks", "2.5"], "--level-ks: '2.5' is none: give whole numbers from 1 to 100"),
        (["sentences", "--level-ks", "0"], "--level-ks: '0' is none"),
        (["sentences", "--folds", "1"], "Invalid value for '--folds'"),
        (["sentences", "--folds", "40"], "sentences has 22 questions (translations count as one), too few for 40"),
        (["sentences", "--max-questions", "3"], "sentences has 3 questions (translations count as one), too few for 5"),
        (["sentences", "--objective", "most"], "Invalid value for '--objective'"),
        (["sentences", "--languages", "en", "--objective", "one"], "no question for the objective 'one'"),
        (["bitext.tsv"], "'bitext.tsv' is bitext, which no index holds"),
        (["sentences", "--save", "--store", "http://localhost:1"], "--save: the collection 'default' is on a server"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told_in_one_line(
    shell: Shell, sentences: Path, in_folder: Path, words: list[str], message: str
) -> None:
    write_lines(in_folder / "bitext.tsv", ["de\tone\teins"])
    done = shell(*words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_gold_with_one_question_and_a_missing_index_are_told(shell: Shell, sentences: Path, in_folder: Path) -> None:
    done = shell(sentences.name, "--save")
    assert (done.code, done.err.count("\n")) == (3, 1)
    assert "there is no index" in done.err
    ingested(in_folder)
    write_lines(in_folder / "one.jsonl", [{"question": "Bees?", "language": "en", "source": "library/bees.en.txt"}])
    done = shell("--gold", "one.jsonl")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "one.jsonl has 1 question (translations count as one), too few for 5 folds" in done.err
    write_lines(in_folder / "bad.jsonl", [{"question": "Bees?", "source": "no.txt"}, "{"])
    done = shell("--gold", "bad.jsonl")
    assert (done.code, done.err.count("\n")) == (2, 2)
    assert all(line.startswith("rag tune retrieval: bad.jsonl:") for line in done.err.splitlines())


def test_questions_that_an_objective_does_not_ask_are_dealt_into_no_fold() -> None:
    # Nine questions, of which two are asked in the only place: too few for five folds, and no error of ours.
    sums = np.zeros((2, 1, 9))
    counts = np.zeros((1, 9))
    counts[0, :2] = 1.0
    tried = Tried((WEIGHTED, Ranking(level_k=4)), ("one",), tuple("abcdefghi"), sums, counts)
    with pytest.raises(InputError, match="2 questions"):
        choose(tried)
