"""The benchmarks of ranking run end to end on little data, and say what they measured."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import curves, flooding, ranking, search_speed
from rag.evaluation.measure import Values
from tests.evaluation_data import write_lines


def _values(ndcg, groups):
    return Values(np.arange(len(ndcg)), np.repeat(np.array(ndcg)[:, None], 5, axis=1), np.array(groups))


def test_what_the_default_loses_is_told_against_the_best_plain_fusion_of_each_column():
    runs = {
        "ours": {"all": _values([0.5, 0.5], [0, 1]), "own": _values([1.0, 1.0], [0, 1])},
        "one": {"all": _values([0.7, 0.7], [0, 1]), "own": _values([0.0, 0.0], [0, 1])},
        "two": {"all": _values([0.1, 0.1], [0, 1]), "own": _values([0.9, 0.9], [0, 1])},
    }
    lost = ranking.losses(runs, ["one", "two"], "ours")
    assert lost["all"] == {"best": "one", "mean": 0.2, "low": 0.2, "high": 0.2}
    assert lost["own"] == {"best": "two", "mean": -0.1, "low": -0.1, "high": -0.1}


def test_every_ranking_has_the_columns_that_the_data_can_have(tmp_path):
    texts = {"en": "The printer is out of paper.", "de": "Der Drucker hat kein Papier mehr."}
    others = {"en": "Lunch is at noon.", "de": "Das Mittagessen ist um zwölf."}
    write_lines(
        tmp_path / "corpus.jsonl",
        [
            {"id": f"{language}:{group}", "lang": language, "par": group, "text": text}
            for group, some in (("a", texts), ("b", others))
            for language, text in some.items()
        ],
    )
    asked = {"id": "q", "lang": "en", "qid": "q", "text": "Why does the printer not print?", "gold": "en:a"}
    write_lines(tmp_path / "queries.jsonl", [asked])
    found = ranking.measure(tmp_path, "pocket-m3", None, ())
    assert found["default"] == next(iter(found["runs"]))
    for run in found["runs"].values():
        assert list(run) == ["mono", "en>xx", "all", "foreign", "one", "own"]
    assert found["runs"]["dense"]["mono"]["nDCG@10"]["mean"] == 1.0
    assert "xx>en" not in ranking._text("a", found).splitlines()[-1]


def test_a_flood_asks_at_every_step_and_adds_what_does_not_answer(tmp_path):
    paragraphs = [f"Number {at} of the {name} weighs {at + 3} tons." for at, name in enumerate("abcdef")]
    corpus = [
        {"id": f"{language}:p{at}", "lang": language, "par": f"p{at}", "article": at // 2, "text": f"{text} {language}"}
        for language in ("en", "de")
        for at, text in enumerate(paragraphs)
    ]
    queries = [
        {"id": f"en:q{at}", "lang": "en", "text": f"What does number {at} weigh?", "gold_par": f"p{at}"}
        for at in range(6)
    ]
    (tmp_path / "xquad").mkdir()
    write_lines(tmp_path / "xquad" / "corpus.jsonl", corpus)
    write_lines(tmp_path / "xquad" / "queries.jsonl", queries)
    asked = flooding.task(tmp_path, "en", "de", 2)
    assert asked.held == [f"{paragraphs[0]} de", f"{paragraphs[2]} de"]
    assert asked.answers == [0, 1]
    assert len(asked.rivals) == 4
    found = flooding.flood(tmp_path, "en", "de", 2, (0, 1, 2), "pocket-m3")
    assert found["questions"] == 2
    for values in found["recall@10"].values():  # six passages at most: ten results hold them all
        assert [each["mean"] for each in values] == [1.0, 1.0, 1.0]
    assert found["most lost"] == {"normalized": 0.0, "weighted": 0.0, "rrf": 0.0}
    drawing = ElementTree.fromstring(flooding.picture([found]))
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}circle")) == 3 * 3


def test_a_curve_that_is_higher_is_drawn_higher():
    drawing = ElementTree.fromstring(
        curves.curves(
            {"a": [curves.Curve("low", [0.1, 0.1]), curves.Curve("high", [0.9, 0.9])]}, [0, 9], across="x", up="y"
        )
    )
    marks = [float(each.attrib["cy"]) for each in drawing.findall(".//{http://www.w3.org/2000/svg}circle")]
    assert max(marks[2:]) < min(marks[:2])


def test_a_search_is_timed_in_all_ways_over_one_index(monkeypatch):
    monkeypatch.setattr(search_speed, "PASSAGES_OF_A_DOCUMENT", 120)
    found = search_speed.measure(120, 3, 2, "pocket-m3")
    assert list(found["milliseconds"]) == list(search_speed.WAYS)
    for times in found["milliseconds"].values():
        assert 0 < times["search p50"] < times["whole p50"]
    assert found["candidates"]["normalized"] >= found["candidates"]["plain"] >= search_speed._RESULTS
    assert json.dumps(found)


def test_made_up_passages_are_nearer_to_a_question_in_their_language_than_others():
    made = search_speed.Passages(3, 64)
    _, languages, embeddings = made.document(0)
    question = made.question()
    cosines = np.array([each.dense @ question.dense for each in embeddings])
    own = np.array(languages) == made.languages[0]
    assert cosines[own].mean() > cosines[~own].mean() + 0.1
    assert all(np.isclose(np.linalg.norm(each.dense), 1, atol=1e-5) for each in embeddings[:9])


@pytest.mark.parametrize("module", [ranking, flooding])
def test_without_data_it_says_what_to_give(module, monkeypatch, capsys):
    monkeypatch.delenv("RAG_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["x"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert "RAG_DATA is not set" in capsys.readouterr().err
