"""What is read as a data set, and what is told of lines that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import otel_gold
from rag.errors import InputError
from rag.evaluation import beir, gold
from rag.evaluation.problems import DatasetError
from rag.types import StoredDocument
from tests.evaluation_data import CORPUS, QUERIES, write_dataset, write_lines


def problems_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as caught:
        beir.read(folder)
    return tuple(problem.replace(f"{folder}/", "") for problem in caught.value.problems)


# Folders


def test_translations_of_the_gold_document_answer_too(tmp_path: Path) -> None:
    dataset = beir.read(write_dataset(tmp_path / "small"))
    assert dataset.name == "small"
    assert (dataset.question_languages, dataset.document_languages) == (("de", "en"), ("de", "en", "fr"))
    ids = [document.id for document in dataset.documents]
    assert ids == sorted(ids)
    for question, relevant in zip(dataset.questions, dataset.relevant, strict=True):
        name = question.id.partition("q-")[2]
        assert {ids[at]: grade for at, grade in relevant.items()} == {f"{tag}:{name}": 1 for tag in ("de", "en", "fr")}


def test_without_a_group_a_document_has_no_translation(tmp_path: Path) -> None:
    corpus = [{key: value for key, value in record.items() if key != "par"} for record in CORPUS]
    # An id that reads like the name of a group is none.
    corpus.append({"id": "bees", "lang": "en", "text": "Another text.", "group": "en:bees"})
    dataset = beir.read(write_dataset(tmp_path, corpus))
    assert [len(relevant) for relevant in dataset.relevant] == [1] * len(QUERIES)


def test_a_title_is_embedded_as_ingest_does_it(tmp_path: Path) -> None:
    corpus = [
        {"_id": "a", "lang": "en", "title": " Bees  in\u200b winter ", "text": "They stay\u00ad warm."},
        {"_id": "b", "lang": "en", "title": "Bees", "text": "Bees sleep."},
    ]
    dataset = beir.read(write_dataset(tmp_path, corpus, [{"_id": "q", "lang": "en", "text": "?!", "gold": ["a"]}]))
    assert [each.text for each in dataset.documents] == ["Bees in winter\n\nThey stay warm.", "Bees sleep."]


def test_a_language_that_is_not_given_is_detected_and_one_that_is_given_becomes_its_primary_tag(tmp_path: Path) -> None:
    corpus = [
        {"id": 1, "text": "Der Nachtzug nach Wien fährt um neun Uhr von Gleis vier ab."},
        {"id": 2, "language": "zh_hant", "text": "x"},
        {"id": 3, "lang": "PT-br", "text": "x"},
    ]
    dataset = beir.read(write_dataset(tmp_path, corpus, [{"id": "q", "lang": "eng", "text": "x", "gold": 3}]))
    assert [each.language for each in dataset.documents] == ["de", "zh", "pt"]
    assert dataset.questions[0].language == "en"
    assert dataset.questions[0].gold == {"3": 1}


@pytest.mark.parametrize("head", [[], ["query-id\tcorpus-id\tscore"]])
def test_qrels_give_grades_and_zero_is_not_relevant(tmp_path: Path, head: list[str]) -> None:
    queries = [{"_id": "q", "lang": "en", "text": "When?"}]
    lines = [*head, "q\ten:bees\t2", "q\tde:rail\t1", "q\ten:bread\t0"]
    dataset = beir.read(write_dataset(tmp_path, CORPUS, queries, lines))
    assert dataset.questions[0].gold == {"en:bees": 2, "de:rail": 1}
    grades = {dataset.documents[at].id: grade for at, grade in dataset.relevant[0].items()}
    assert grades == {
        f"{tag}:{name}": grade for tag in ("de", "en", "fr") for name, grade in [("bees", 2), ("rail", 1)]
    }


def test_questions_of_another_split_are_left_out_and_counted(tmp_path: Path) -> None:
    queries = [{"_id": name, "lang": "en", "text": "When?"} for name in ("q1", "q2", "q3")]
    folder = write_dataset(tmp_path, CORPUS, queries)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\ten:bees\t1\n")
    dataset = beir.read(folder)
    assert [question.id for question in dataset.questions] == ["q2"]
    assert dataset.remarks == (f"2 of 3 questions have no gold in {folder}/qrels/test.tsv and were left out",)


def test_in_one_qrels_file_a_question_without_gold_is_a_mistake(tmp_path: Path) -> None:
    queries = [{"_id": name, "lang": "en", "text": "When?"} for name in ("q1", "q2")]
    assert problems_of(write_dataset(tmp_path, CORPUS, queries, ["q1\ten:bees\t1", "q2\ten:bees\t0"])) == (
        "queries.jsonl:2: question 'q2' has no gold: name the documents that answer it",
    )


def test_all_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    corpus: list[Any] = [
        *CORPUS,
        '{"id": "x", ',
        {"id": "de:bees", "lang": "de", "text": "Noch einmal."},
        {"id": "y", "lang": "xx-nope", "text": "Text."},
        {"id": "z", "lang": "en", "text": " \u200b"},
        {"id": "w", "lang": "en"},
        ["no", "object"],
        {"lang": "en", "text": "Text."},
        {"id": "n", "text": "12345"},
        "",
    ]
    queries: list[Any] = [
        *QUERIES,
        {"id": "q1", "lang": "en", "text": "Who?", "gold": "en:unknown"},
        {"id": "q2", "lang": "en", "text": "Who?"},
        {"id": "q3", "lang": "en", "text": "Who?", "gold": [["en:bees"]]},
        {**QUERIES[0], "text": "Again?"},
    ]
    told = problems_of(write_dataset(tmp_path, corpus, queries))
    starts = [
        "corpus.jsonl:10: is no JSON (",
        "corpus.jsonl:11: id 'de:bees' is already that of ",
        "corpus.jsonl:12: 'xx-nope' is not a language tag",
        "corpus.jsonl:13: 'text' is empty",
        "corpus.jsonl:14: has no 'text'",
        'corpus.jsonl:15: is no JSON object but ["no", "object"]',
        "corpus.jsonl:16: has no '_id' or 'id'",
        "corpus.jsonl:17: the language of \"12345\" cannot be told: add 'lang'",
        "queries.jsonl:7: gold names an unknown document 'en:unknown'",
        "queries.jsonl:9: 'gold' holds [\"en:bees\"]",
        "queries.jsonl:10: id 'en:q-bees' is already that of ",
        "queries.jsonl:8: question 'q2' has no gold",
        "queries.jsonl:9: question 'q3' has no gold",
    ]
    assert len(told) == len(starts)
    for problem, start in zip(told, starts, strict=True):
        assert problem.startswith(start)
        assert "\n" not in problem


def test_qrels_that_name_what_is_not_there_are_told(tmp_path: Path) -> None:
    lines = ["en:q-bees\ten:bees\t1", "en:q-bees\tnowhere\t1", "nobody\ten:bees\t1", "a b c", "en:q-bees\ten:bees\t1"]
    assert problems_of(write_dataset(tmp_path, CORPUS, QUERIES, lines)) == (
        "qrels.tsv:2: gold names an unknown document 'nowhere': corpus.jsonl has no such id",
        'qrels.tsv:4: is "a b c": write question id, document id, grade, with tabs between',
        "qrels.tsv:5: question 'en:q-bees' and document 'en:bees' stand twice: keep one line",
        "queries.jsonl: there is no question 'nobody', which the qrels name: add it",
    )


def test_a_line_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    with (folder / "corpus.jsonl").open("ab") as file:
        file.write(b'{"id": "l", "lang": "fr", "text": "caf\xe9"}\n')
    assert problems_of(folder)[0].startswith("corpus.jsonl:10: is not UTF-8 (byte 38)")


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_dataset(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"there is no file '.*{missing}'"):
        beir.read(folder)
    with pytest.raises(InputError, match="there is no folder"):
        beir.read(folder / "elsewhere")


def test_a_sample_is_the_same_whatever_the_order_and_keeps_translations_together(tmp_path: Path) -> None:
    forwards = beir.read(write_dataset(tmp_path / "a")).sampled(2)
    backwards = beir.read(write_dataset(tmp_path / "b", CORPUS[::-1], QUERIES[::-1])).sampled(2)
    ids = {question.id for question in forwards.questions}
    assert ids == {question.id for question in backwards.questions}
    assert len(ids) == 4
    assert len({question.group for question in forwards.questions}) == 2
    assert forwards.remarks == ("2 of 3 questions were asked, each in all its languages",)
    assert forwards.sampled(99) is forwards


# Questions for an index


def stored(name: str, language: str) -> StoredDocument:
    return StoredDocument(f"file:///d/{name}", "v", name, language, "md", 1, 0.0)


HELD = [stored("de/a.md", "de"), stored("en/a.md", "en"), stored("de/b.md", "de")]


def find(word: str) -> StoredDocument:
    found = [each for each in HELD if each.uri.endswith(word)]
    if len(found) != 1:
        raise InputError(f"the index holds no document {word!r}")
    return found[0]


def test_questions_name_sources_in_several_ways(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "gold.jsonl",
        [
            {"id": "1", "language": "en", "question": "How?", "sources": ["de/a.md", "en/a.md"]},
            {"text": "Wo steht, wie lange der Brotteig ruhen muss?", "source": "b.md"},
            {"lang": "fr", "text": "Qui ?", "gold": ["file:///d/de/b.md"], "source": "somewhere/else"},
            {"lang": "fr", "text": "Quand ?", "gold": ["file:///moved/de/b.md"], "source": "de/b.md"},
        ],
    )
    dataset = gold.read(path, HELD, find)
    assert [(each.language, {uri[8:] for uri in each.gold}) for each in dataset.questions] == [
        ("en", {"d/de/a.md", "d/en/a.md"}),
        ("de", {"d/de/b.md"}),
        ("fr", {"d/de/b.md"}),
        ("fr", {"d/de/b.md"}),
    ]
    assert [each.id for each in dataset.documents] == sorted(each.uri for each in HELD)


def test_pages_with_their_translations_are_asked_for_once(tmp_path: Path) -> None:
    page = {"en_title": "Bees", "en_sentence": "They fly.", "en_path": "en/a.md", "lang": "de", "title": "x"}
    path = write_lines(tmp_path / "gold.jsonl", [{**page, "path": "de/a.md"}, {**page, "path": "de/b.md"}])
    dataset = gold.read(path, HELD, find)
    (question,) = dataset.questions
    assert (question.text, question.language) == ("Bees. They fly.", "en")
    assert len(dataset.relevant[0]) == 3


def test_gold_that_names_no_document_of_the_index_is_told(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "gold.jsonl",
        [
            {"lang": "en", "question": "How?", "source": "c.md"},
            {"lang": "en", "question": "Who?"},
            {"lang": "en", "question": "When?", "source": 3},
            {"lang": "en", "question": "Where?", "source": "b.md"},
            {"lang": "en", "question": "Where?", "source": "en/a.md"},
        ],
    )
    with pytest.raises(DatasetError) as caught:
        gold.read(path, HELD, find)
    assert [problem.removeprefix(f"{path}:") for problem in caught.value.problems] == [
        "1: gold names an unknown document: the index holds no document 'c.md'",
        "2: question \"Who?\" has no gold: add 'source', as `rag list` shows it",
        "3: the source is 3: write it as `rag list` shows it",
        f"5: the same question is at {path}:4: name all its sources on one line",
    ]
    with pytest.raises(InputError, match="holds no question"):
        gold.read(write_lines(tmp_path / "none.jsonl", [""]), HELD, find)


# The data set that is made of documentation


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gone.jsonl", "out"], "gone.jsonl cannot be read as JSON lines"),
        (["broken.jsonl", "out"], "broken.jsonl cannot be read as JSON lines"),
        (["gone.jsonl", "out", "--tokens", "0"], "--tokens 0 leaves nothing of a page"),
    ],
)
def test_what_no_data_set_can_be_made_of_is_said_in_one_line(
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    (in_folder / "broken.jsonl").write_text("{")
    monkeypatch.setattr("sys.argv", ["otel_gold", *words])
    with pytest.raises(SystemExit) as stopped:
        otel_gold.main()
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not (in_folder / "out").exists()
