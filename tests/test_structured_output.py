"""Answers asked for as JSON: while they come they turn into the text that the same model would write without."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.chat_models.openai_chat import OpenAIChatModel
from rag.chat_models.structured_output import StructuredOutputFilter
from rag.citations import check
from rag.markers import CitationFilter
from rag.types import ChatRequest, Finished, FinishReason, Message, TextDelta
from rag.verbatim import StoredText
from tests.openai_server import Reply, Server, holding, scripted_server, status, text, whole
from tests.samples import a_passage

REQUEST = ChatRequest((Message("user", "Wie heißt der Fluss?"),), "Wie heißt der Fluss?", (), "de")
CLAIMS = {
    "claims": [
        {"text": "Der Rhein fließt nach Norden.", "citations": [{"passage": 2, "quote": "The Rhine\nflows north"}]},
        {"text": "Er ist lang.\n\n", "citations": []},
        {
            "text": "Die Elbe auch.",
            "citations": [{"passage": 1, "quote": 'so "they" say'}, {"passage": 3, "quote": ""}],
        },
    ],
    "no_answer": False,
}
PLAIN = (
    'Der Rhein fließt nach Norden. [2: "The Rhine flows north"] Er ist lang.\n\nDie Elbe auch. [1: "so ”they” say"][3]'
)


def model_at(server: Server, **settings: object) -> OpenAIChatModel:
    return OpenAIChatModel("small", base_url=server.base_url, **settings)  # type: ignore[arg-type]  # passed on as given


def answer(model: OpenAIChatModel) -> tuple[str, Finished]:
    events = list(model.stream(REQUEST))
    end = events.pop()
    assert isinstance(end, Finished)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), end


def reply_to(reply: Reply) -> tuple[str, FinishReason]:
    """Text and end of an answer for which `reply` is given, and that alone."""
    with scripted_server([reply]) as server:
        written, end = answer(model_at(server, structured=True))
        assert len(server.requests) == 1
    return written, end.reason


def shown(written: str, places: list[int]) -> tuple[str, bool]:
    """What is shown of `written`, cut at `places`, and whether it ended where an answer ends."""
    edges = sorted({0, len(written), *(place % (len(written) + 1) for place in places)})
    filtered = StructuredOutputFilter()
    pieces = [filtered.feed(written[start:end]) for start, end in pairwise(edges)]
    return "".join([*pieces, filtered.finish()]), filtered.whole


def as_json(value: object, size: int = 3) -> Reply:
    written = json.dumps(value)
    return text(*(written[at : at + size] for at in range(0, len(written), size)))


def test_answers_as_json_are_asked_for_by_a_strict_schema_and_come_as_text() -> None:
    with scripted_server([as_json(CLAIMS), text(PLAIN)]) as server:
        structured = answer(model_at(server, structured=True))
        plain = answer(model_at(server))
        first, second = server.requests
    assert structured[0] == plain[0] == PLAIN
    assert structured[1].reason == plain[1].reason == "stop"
    assert "response_format" not in second.body
    asked = first.body["response_format"]
    assert (asked["type"], asked["json_schema"]["strict"]) == ("json_schema", True)

    def check(schema: dict[str, object]) -> None:
        if schema["type"] == "object":
            properties = schema["properties"]
            assert isinstance(properties, dict)
            assert schema["required"] == list(properties)
            assert schema["additionalProperties"] is False
            for each in properties.values():
                check(each)
        elif schema["type"] == "array":
            items = schema["items"]
            assert isinstance(items, dict)
            check(items)

    check(asked["json_schema"]["schema"])


def test_the_text_of_a_claim_comes_before_the_claim_is_complete() -> None:
    with scripted_server([holding('{"claims": [{"text": "Der Rhein fli', seconds=30)]) as server:
        events = model_at(server, structured=True).stream(REQUEST)
        assert next(events) == TextDelta("Der Rhein fli")
        events.close()


def test_no_answer_as_json_is_the_word_for_it() -> None:
    assert reply_to(as_json({"claims": [], "no_answer": True})) == ("NO_ANSWER", "stop")


def test_a_model_that_ignores_the_schema_is_heard_all_the_same() -> None:
    for written in (PLAIN, "{name} heißt der Fluss.", '{"answer": "Rhein"}', '```json\n{"x": 1}\n```'):
        assert reply_to(text(*written)) == (written, "stop")


def test_thoughts_before_the_json_are_no_text() -> None:
    assert reply_to(text("<think>{", "</think>\n", json.dumps(CLAIMS))) == (PLAIN, "stop")


@pytest.mark.parametrize("finish", ["stop", "length", None])
def test_json_that_breaks_off_keeps_its_text_and_is_incomplete(finish: str | None) -> None:
    written = json.dumps(CLAIMS, ensure_ascii=False)
    cut = written[: written.index("ist lang")]
    expected = 'Der Rhein fließt nach Norden. [2: "The Rhine flows north"] Er'
    said, reason = reply_to(text(cut, finish=finish))
    assert (said, reason) == (expected, "length" if finish == "length" else "disconnected")


@pytest.mark.parametrize(
    ("complaint", "param"),
    [
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", None),
        ("This is unavailable now", "response_format"),
        ("json_schema is not supported by this server", None),
        ("failed to parse grammar", None),
    ],
)
def test_an_endpoint_that_refuses_a_schema_is_asked_without_it_from_then_on(complaint: str, param: str | None) -> None:
    with scripted_server([status(400, complaint, param=param), text(PLAIN), text(PLAIN)]) as server:
        model = model_at(server, structured=True)
        assert answer(model)[0] == PLAIN
        assert answer(model)[0] == PLAIN
        assert [("response_format" in request.body) for request in server.requests] == [True, False, False]


def test_a_whole_reply_of_json_becomes_text() -> None:
    assert reply_to(whole(json.dumps(CLAIMS))) == (PLAIN, "stop")


CUT_ANYWHERE = settings(max_examples=100, deadline=None)
CUTS = st.lists(st.integers(0, 100_000), max_size=12)
WORDS = st.text(alphabet=st.sampled_from('ab.ß😀"\\ \n\t/é{}[]:,€'), max_size=12)
CITATIONS = st.lists(st.fixed_dictionaries({"passage": st.integers(1, 9), "quote": WORDS}), max_size=2)
ANSWERS = st.fixed_dictionaries(
    {
        "claims": st.lists(st.fixed_dictionaries({"text": WORDS, "citations": CITATIONS}), max_size=3),
        "no_answer": st.booleans(),
    }
)


@CUT_ANYWHERE
@given(
    value=ANSWERS, places=CUTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]), stop=st.integers(0, 999)
)
def test_the_cuts_change_nothing_and_breaking_off_loses_only_what_was_not_there(
    value: dict[str, object], places: list[int], ascii_only: bool, indent: int | None, stop: int
) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    whole_text = shown(written, [])
    assert shown(written, places) == whole_text
    assert whole_text[1]
    cut = written[: stop % len(written)]
    said, ended = shown(cut, [])
    assert shown(cut, places) == (said, ended)
    # What is no JSON yet goes through as it is, as what begins with a brace may be any text.
    if '"claims":' in cut:
        assert not ended
        assert whole_text[0].startswith(said.removesuffix("NO_ANSWER").rstrip())


@CUT_ANYWHERE
@given(texts=st.lists(WORDS, max_size=4), places=CUTS)
def test_all_words_of_all_claims_are_shown(texts: list[str], places: list[int]) -> None:
    value = {"claims": [{"text": each, "citations": []} for each in texts], "no_answer": False}
    assert shown(json.dumps(value), places)[0].split() == " ".join(texts).split()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('```json\n{"claims": [{"text": "Ja.", "citations": []}], "no_answer": false}\n```', "Ja."),
        (
            '{"no_answer": false, "claims": [{"citations": [{"quote": "q", "passage": "2"}], "text": "Ja."}]}',
            'Ja. [2: "q"]',
        ),
        ('{"claims": [{"text": "Ja.", "citations": [{"passage": 1}, {"quote": "x"}]}], "no_answer": false}', "Ja. [1]"),
        ('{"claims": [{"text": "Nichts.", "citations": []}], "no_answer": true}', "Nichts. NO_ANSWER"),
        ('{"claims": [{"text": "", "citations": [{"passage": 1, "quote": "q"}]}], "no_answer": false}', ""),
        ('{"claims": [{"text": null, "citations": null}, 3, "x"], "no_answer": null}', ""),
        ('{"claims": [{"text": "C:\\d und \\(x\\)", "citations": []}], "no_answer": false}', "C:\\d und \\(x\\)"),
        ('{"claims": [{"text": "a \\ud83d b \\ud83d\\ude00", "citations": []}], "no_answer": false}', "a \ufffd b 😀"),
        ('{"claims": [{"text": "Ja." "citations": []}] "no_answer": false}', "Ja."),
    ],
    ids=[
        *("fenced", "another order", "half citations", "both", "no text", "other values", "lone backslashes"),
        *("half a pair", "no commas"),
    ],
)
@CUT_ANYWHERE
@given(places=CUTS)
def test_json_as_models_write_it(written: str, expected: str, places: list[int]) -> None:
    assert shown(written, places) == (expected, True)


@CUT_ANYWHERE
@given(places=CUTS)
def test_after_a_syntax_error_what_can_be_read_is_kept(places: list[int]) -> None:
    for written in (
        '{"claims": [{"text": "Ja."} oops, {"text": "Nein."}]}',
        '{"claims": [{"text": "Ja.",, "citations": []} 1.2.3, {"text": "Nein."}]}',
    ):
        assert shown(written, places) == ("Ja. Nein.", False)
    assert shown('{"claims": [{"text": "Ja."} oops], "no_answer": true}', places) == ("Ja. NO_ANSWER", False)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (
            '{"text": "The manual says "clean it" daily.", "citations": [{"passage": 1, "quote": "q"}]}',
            'The manual says "clean it" daily. [1: "q"]',
        ),
        (
            '{"text": "It is called "Rhine"", "citations": [{"passage": 1, "quote": ""Rhine", it says"}]}',
            'It is called "Rhine" [1: "”Rhine”, it says"]',
        ),
        (
            '{"text": ""Yes", he said, "no": both.", "citations": [{"quote": "a "b"", "passage": 2}]}',
            '"Yes", he said, "no": both. [2: "a ”b”"]',
        ),
        ('{"text": "See "[3]", and {"a"}"}', 'See "[3]", and {"a"}'),
        ('{"text": "Ja.", "citations": [{"passage": 1, "quote": "q"]}', 'Ja. [1: "q"]'),
    ],
    ids=["within", "at the ends", "before a colon", "before brackets", "forgotten brace"],
)
@CUT_ANYWHERE
@given(places=CUTS)
def test_quotation_marks_that_were_not_escaped_lose_nothing(claim: str, expected: str, places: list[int]) -> None:
    written = f'{{"claims": [{claim}, {{"text": "Ende.", "citations": []}}], "no_answer": false}}'
    assert shown(written, places) == (f"{expected} Ende.", True)


PIECES = [
    '"',
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\\",
    "x",
    "7",
    '"text": "',
    '", "citations": [',
    '"quote": "',
    "}, {",
]


@CUT_ANYWHERE
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=30), places=CUTS)
def test_the_cuts_of_broken_json_change_nothing(pieces: list[str], places: list[int]) -> None:
    written = '{"claims": [{"text": "' + "".join(pieces)
    assert shown(written, places) == shown(written, [])


@pytest.mark.parametrize(
    ("passage", "expected"),
    [
        *(("2024", ""), ("0", ""), ("-1", ""), ("1000", ""), ("1.5", ""), ("true", ""), ("9" * 5000, "")),
        *(("999", ' [999: "q"]'), ('"07"', ' [7: "q"]')),
    ],
)
def test_a_citation_of_what_is_no_passage_is_dropped(passage: str, expected: str) -> None:
    written = (
        f'{{"claims": [{{"text": "Ja.", "citations": [{{"passage": {passage}, "quote": "q"}}]}}], "no_answer": false}}'
    )
    assert shown(written, [])[0] == f"Ja.{expected}"


def test_no_quote_closes_its_marker() -> None:
    quote = 'a"] and [1: "b"], [2] 【3】'
    value = {"claims": [{"text": "Ja.", "citations": [{"passage": 1, "quote": quote}]}], "no_answer": False}
    said = shown(json.dumps(value), [])[0]
    assert said == 'Ja. [1: "a”⟧ and ⟦1: ”b”⟧, ⟦2⟧ ⟦3⟧"]'
    assert StoredText(f"Here is {quote}.").find(said[9:-2]) == (8, 8 + len(quote))


def test_a_long_quote_keeps_its_first_words() -> None:
    quote = "word " * 200
    value = {"claims": [{"text": "Ja.", "citations": [{"passage": 1, "quote": quote}]}], "no_answer": False}
    said = shown(json.dumps(value), [])[0]
    assert said.startswith('Ja. [1: "word word')
    assert said.endswith('word"]')
    assert len(said) <= 520


DOCUMENT = (
    'Wer fragt, ob der Belt "läuft", liest Absatz [3] ("Betrieb"). Er sagt: "Ja, er läuft" [sic], und »immer«.\n\n'
    "Danach – so der Plan – prüft die Schichtleitung \"Spannung\" und 'Sitz' 「beider」 Rollen. " + "Wort " * 200
)


@CUT_ANYWHERE
@given(start=st.integers(0, len(DOCUMENT) - 5), length=st.integers(4, 900), places=CUTS)
def test_every_quote_of_a_document_is_found_in_it_again(start: int, length: int, places: list[int]) -> None:
    quote = DOCUMENT[start : start + length]
    if sum(character.isalnum() for character in quote) < 4:
        return  # too little to say where it is
    value = {"claims": [{"text": "So ist es.", "citations": [{"passage": 1, "quote": quote}]}], "no_answer": False}
    passages = [a_passage(text=DOCUMENT)]
    markers = CitationFilter(passages)
    said = markers.feed(shown(json.dumps(value), places)[0]) + markers.finish()
    assert said == "So ist es. [1]"
    [citation] = check(said, markers.offered, passages).citations
    assert citation.checked
    assert citation.quote in DOCUMENT
    assert len(quote) > 500 or re.findall(r"\w+", citation.quote) == re.findall(r"\w+", quote)
