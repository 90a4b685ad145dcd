"""Sentences and their translations as a data set: what is read, what is refused, and figures worked out by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rag.errors import InputError
from rag.evaluation import bitext, pools, scoring, table
from rag.evaluation.datasets import Dataset
from rag.evaluation.measure import evaluate
from rag.evaluation.problems import DatasetError
from rag.fusion import Ranking
from rag.locations import translation_tag
from rag.types import Embedding, SparseVector
from tests.command_line import call

LINES = ["deu\tGood morning.\tGuten Morgen.", "cmn\tGood night.\t晚安。", "deu\tThank you.\tDanke.\tmore"]


def write(path: Path, lines: list[str]) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def answers(dataset: Dataset) -> dict[str, str]:
    texts = {document.id: document.text for document in dataset.documents}
    return {question.text: texts[next(iter(question.gold))] for question in dataset.questions}


@pytest.mark.parametrize("name", ["tatoeba.tsv", "tatoeba.tsv.gz"])
def test_a_line_with_its_language_is_a_question_in_both_directions(tmp_path: Path, name: str) -> None:
    dataset = bitext.read([write(tmp_path / name, LINES)])
    assert dataset.name == name
    assert dataset.document_languages == dataset.question_languages == ("de", "en", "zh")
    found = answers(dataset)
    assert len(found) == 6
    assert found["Good morning."] == "Guten Morgen."
    assert found["晚安。"] == "Good night."
    assert found["Danke."] == "Thank you."


def test_a_file_named_after_its_language_has_english_and_translation(tmp_path: Path) -> None:
    write(tmp_path / "en-de.tsv.gz", ["Bread\tBrot\ttag", "", "Salt\tSalz"])
    write(tmp_path / "en-pt-BR.tsv", ["Bread\tPão", "  \t ", " "])
    write(tmp_path / "en-zh-Hant.tsv", ["Bread\t麵包"])
    write(tmp_path / "readme.md", ["no\tdata"])
    dataset = bitext.read([tmp_path])
    assert dataset.pools == ("en-de", "en-pt", "en-zh")
    assert {(question.language, question.text) for question in dataset.questions if question.pool == "en-pt"} == {
        ("en", "Bread"),
        ("pt", "Pão"),
    }


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("en-de.tsv", "de"),
        ("en-pt-BR.tsv.gz", "pt-BR"),
        ("en-zh-Hant.tsv", "zh-Hant"),
        ("de-en.tsv", None),
        ("en-de.tsv.bak", None),
        ("en-.tsv", None),
    ],
)
def test_the_name_of_a_file_of_translations_says_their_language(name: str, tag: str | None) -> None:
    assert translation_tag(name) == tag


@pytest.mark.parametrize("name", ["de-dev.tsv", "my-set.tsv", "dev-it.tsv", "fra-deu.tsv", "en-sentences.tsv"])
def test_a_file_of_any_other_name_has_its_language_on_each_line(tmp_path: Path, name: str) -> None:
    found = answers(bitext.read([write(tmp_path / name, ["deu\tBread\tBrot"])]))
    assert found == {"Bread": "Brot", "Brot": "Bread"}


def test_a_sentence_is_looked_for_among_those_of_its_own_two_languages_alone(tmp_path: Path) -> None:
    dataset = bitext.read([write(tmp_path / "a.tsv", LINES)])
    found = {(asked, held): pool for asked, held, pool in pools.matrix(dataset)}
    assert set(found) == {("de", "en"), ("en", "de"), ("en", "zh"), ("zh", "en")}
    assert [found[each].name for each in (("de", "en"), ("en", "de"), ("zh", "en"))] == ["en-de", "en-de", "en-zh"]
    assert list(pools.cases(dataset)) == []
    vectors = scoring.vectors(*(2 * [[embedding(1.0, 0.0)] * 6]))
    ranker = scoring.ExactRanker(dataset, vectors, Ranking(mode="dense"))
    held = {dataset.documents[at].text for ranking in ranker.ranked(found["zh", "en"]) for at in ranking}
    assert held == {"Good night."}


def test_pairs_that_stand_twice_count_once_and_that_is_told(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tsv", [*LINES, LINES[0]])
    dataset = bitext.read([first, write(tmp_path / "en-de.tsv", ["Thank you.\tDanke. ", "Thank you.\tVielen Dank."])])
    assert len(dataset.documents) == 2 * 4
    assert dataset.remarks == ("2 pairs stand twice and count once",)
    assert bitext.read([first]).remarks == ("1 pair stands twice and counts once",)


def test_languages_can_be_chosen_and_nothing_is_asked_of_the_others(tmp_path: Path) -> None:
    write(tmp_path / "all.tsv", [*LINES, "ber\tHello\tAzul"])  # a group of languages has no tag
    write(tmp_path / "en-fr.tsv", ["no second column"])
    assert bitext.read([tmp_path], ["zh"]).document_languages == ("en", "zh")
    for chosen in (["ja"], ["de", "ja"]):
        with pytest.raises(InputError, match=r"all.tsv has nothing in 'ja': it has de, en, zh$"):
            bitext.read([tmp_path / "all.tsv"], chosen)
    write(tmp_path / "fr.tsv", ["deu\tHello\tHallo", "fra\tHello", "fra\t\udcff\tx", "fra\t\tx"])
    assert bitext.read([tmp_path / "fr.tsv"], ["de"]).document_languages == ("de", "en")
    with pytest.raises(DatasetError):
        bitext.read([tmp_path / "fr.tsv"], ["fr"])


def test_each_line_that_cannot_be_used_is_told_with_its_number_and_a_language_once(tmp_path: Path) -> None:
    wrong = [
        "deu\tHello",
        "qqx\tHi\tda",
        "qqx\tHi\tdu",
        "deu\tHi\t \u200b",
        "deu\t\tHallo",
        "eng\tA\tB",
        "deu\t\udcff\tx",
        "",
        "deu\tHi\tHallo",
    ]
    with pytest.raises(DatasetError) as caught:
        bitext.read([write(tmp_path / "a.tsv", wrong), write(tmp_path / "en-de.tsv", ["Hello"])])
    told = [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert [each.partition(": ")[0] for each in told] == [
        *(f"a.tsv:{number}" for number in (1, 2, 4, 5, 6, 7)),
        "en-de.tsv:1",
    ]
    assert told[0] == 'a.tsv:1: is "deu Hello": write language, English sentence and translation, with tabs between'
    assert told[1].startswith("a.tsv:2: 'qqx' is not a language tag: write a BCP-47 tag")
    assert told[2].endswith("the side in 'de' is empty: write a sentence, or leave the line out")
    assert told[3].endswith("the side in 'en' is empty: write a sentence, or leave the line out")
    assert told[6] == 'en-de.tsv:1: is "Hello": write sentence and translation, with tabs between'


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.tsv.gz", b"plain text", "is no whole gzip file"),
        ("a.tsv.gz", gzip.compress(b"deu\tHi\tHallo\n" * 99, mtime=0)[:30], "is no whole gzip file"),
        ("a.tsv", b"", "there is no pair of sentences"),
        ("en-eng.tsv", b"a\tb\n", "is named after 'en' twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        bitext.read([tmp_path / name])


def test_a_folder_of_documents_and_questions_is_no_bitext(tmp_path: Path) -> None:
    assert not bitext.is_bitext(tmp_path)
    write(tmp_path / "qrels.tsv", ["q\td\t1"])
    assert bitext.is_bitext(tmp_path)
    (tmp_path / "queries.jsonl").touch()
    assert not bitext.is_bitext(tmp_path)
    assert not bitext.is_bitext(tmp_path / "nowhere")


def test_a_sample_is_of_pairs_in_each_two_languages_and_so_is_the_pool(tmp_path: Path) -> None:
    lines = [f"{code}\tword {at}\t{code} {at}" for code in ("deu", "fra") for at in range(20)]
    dataset = bitext.read([write(tmp_path / "a.tsv", lines)]).sampled(5)
    assert [len(pool.questions) for _, _, pool in pools.matrix(dataset)] == [5] * 4
    assert {document.id for document in dataset.documents} == {question.id for question in dataset.questions}
    assert dataset.remarks == ("10 of 40 pairs were taken, at most 5 for two languages",)
    assert dataset.sampled(5) is dataset


# Figures


def embedding(*dense: float) -> Embedding:
    vector = np.array(dense, dtype=np.float32)
    nothing = SparseVector(np.array([], dtype=np.uint32), np.array([], dtype=np.float32))
    return Embedding(vector / np.linalg.norm(vector), nothing)


class _ByText:
    """An embedder that looks vectors up; a passage is all it can embed."""

    model, fingerprint, dimension, window = "m", "f", 2, 99

    def __init__(self, vectors: dict[str, tuple[float, float]]) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [1] * len(texts)

    def embed_passages(self, texts: list[str]) -> list[Embedding]:
        self.asked += texts
        return [embedding(*self.vectors[text]) for text in texts]


def test_accuracy_is_recall_at_one_of_each_direction(tmp_path: Path) -> None:
    """Each English sentence finds its German translation; of the German ones B alone finds the English one."""
    lines = ["deu\ta\tA", "deu\tb\tB", "deu\tc\tC", "fra\ta\tZ"]
    embedder = _ByText({"a": (1, 0), "b": (1, 1), "c": (0, 1), "A": (2, 1), "B": (1, 1.1), "C": (1, 1.7), "Z": (0, 1)})
    dataset = bitext.read([write(tmp_path / "x.tsv", lines)])
    vectors = scoring.embed(dataset, embedder)  # type: ignore[arg-type]
    assert sorted(embedder.asked) == ["A", "B", "C", "Z", "a", "b", "c"]  # each once
    embedder.vectors.clear()
    ranker = scoring.ExactRanker(dataset, vectors, Ranking(mode="dense"))
    evaluation = evaluate(dataset, ranker, name="dense", model="m", fingerprint="f").evaluation
    german, french = evaluation.translations
    assert (german.first, german.second, german.sentences) == ("en", "de", 3)
    # A lies at 27°, B at 48°, C at 60°: nearest to all three is b, at 45°, as a is at 0° and c at 90°.
    assert german.forth == pytest.approx(3 / 3)
    assert german.back == pytest.approx(1 / 3)
    assert german.mean == pytest.approx(2 / 3)
    assert (french.forth, french.back) == (1.0, 1.0)
    assert table.evaluation_text(evaluation, "R@1", 80).splitlines()[2:] == [
        "accuracy@1 (R@1): sentence → its translation, among those of the two languages alone",
        "             →      ←   mean",
        "en – de  1.000   .333   .667",
        "en – fr  1.000  1.000  1.000",
        "mean     1.000   .667   .833",
    ]


def test_the_bundled_model_finds_translations(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write(in_folder / "a.tsv", [*LINES, "cmn\tThe water is cold.\t水很冷。"])
    words = ("rag", "eval", "retrieval", "a.tsv", "--mode", "dense", "--model", "pocket-m3")
    done = call((*words, "--json", "--report", "a.html", "--min-recall", "de-en=1"), monkeypatch, capfd)
    assert (done.code, done.err) == (0, "")
    (found,) = done.json["runs"]
    assert (found["documents"], found["questions"], found["cases"], found["truncations"]) == (8, 8, [], [])
    assert found["accuracy@1"]["mean"] == 1.0
    assert found["accuracy@1"]["pairs"][0] == {
        "first": "en",
        "second": "de",
        "forth": 1.0,
        "back": 1.0,
        "mean": 1.0,
        "sentences": 2,
    }
    assert "Mean of the pairs" in (in_folder / "a.html").read_text(encoding="utf-8")
    again = (*words, "--min-recall", "deu-eng=1", "--min-recall", "1", "--compare", "dense", "--compare", "sparse")
    done = call(again, monkeypatch, capfd)
    assert "accuracy@1 (R@1)" in done.out
    assert "\nR@1, first: dense, second: sparse\n" in done.out
    assert "nDCG@10" not in done.out
    assert done.code == 1
    assert all(": R@1 " in line for line in done.err.splitlines())
    done = call((*words, "nowhere.tsv"), monkeypatch, capfd)
    assert (done.code, done.err) == (2, "rag: there is no file 'nowhere.tsv': check the path\n")
