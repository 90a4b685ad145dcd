from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.budget import Budget
from rag.errors import InputError
from rag.types import Message, Passage
from tests.samples import a_passage

SENTENCE = "Die Schrauben werden mit 24 Nm angezogen. "


def _shown(number: int, passage: Passage) -> str:
    return f"[{number}] {passage.chunk.text}"


def _fit(budget: Budget, passages: list[Passage], history: list[Message] | None = None, question: str = "Wie fest?"):
    return budget.fitted(question, passages, history or [], instructions=("Antworte.",), shown=_shown)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("The screws are tightened to 24 Nm.", 8, 16),
        ("Винты затягивают с моментом 24 Нм.", 8, 24),
        ("螺丝以二十四牛米拧紧。", 9, 16),
        ("สกรูขันด้วยแรงบิด", 5, 17),
        ("12345", 5, 5),
        ("😀", 3, 3),
        ("", 1, 1),
    ],
)
def test_sizes_are_estimated_by_script(text: str, least: int, most: int) -> None:
    assert least <= Budget(1000, 100).tokens(text) <= most


def test_an_estimate_is_never_below_what_a_large_vocabulary_counts_and_seldom_far_above(
    data: Path, record_property: Callable[[str, object], None]
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(data / "xlmr_tokenizer" / "tokenizer.json"))
    budget = Budget(10_000, 100)
    ratios: dict[str, list[float]] = {}
    for line in (data / "xquad" / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        paragraph = json.loads(line)
        counted = len(tokenizer.encode(paragraph["text"], add_special_tokens=False).ids)
        ratios.setdefault(paragraph["lang"], []).append(budget.tokens(paragraph["text"]) / counted)
    assert min(min(each) for each in ratios.values()) >= 1
    means = {language: round(sum(each) / len(each), 2) for language, each in ratios.items()}
    assert max(means.values()) < 2.5
    record_property("figures", f"estimated / counted tokens, XQuAD: {means}")


def test_everything_stays_where_there_is_room() -> None:
    passages = [a_passage(1), a_passage(2)]
    history = [Message("user", "Hallo"), Message("assistant", "Guten Tag")]
    fitted = _fit(Budget(4000, 500), passages, history)
    assert fitted.passages == tuple(passages)
    assert fitted.history == tuple(history)


def test_history_goes_first_then_the_worst_passages_then_the_end_of_the_last_one() -> None:
    passages = [a_passage(rank, text=SENTENCE * 20) for rank in range(1, 5)]
    history = [Message(role, f"{number} {SENTENCE}") for number in range(4) for role in ("user", "assistant")]
    seen: list[tuple[int, int, int]] = []
    for context in range(4000, 150, -20):
        fitted = _fit(Budget(context, 100), passages, history)
        assert fitted.passages[1:] == tuple(passages[1 : len(fitted.passages)])
        assert fitted.history == tuple(history[len(history) - len(fitted.history) :])
        assert not fitted.history or fitted.history[0].role == "user"
        seen.append((len(fitted.passages), len(fitted.passages[0].chunk.text), len(fitted.history)))
    assert seen[0] == (4, len(SENTENCE) * 20, 8)
    assert [kept for kept, _, _ in seen] == sorted((kept for kept, _, _ in seen), reverse=True)
    assert {kept for kept, _, _ in seen} == {1, 2, 3, 4}
    # While turns are left out, no passage is, until there are no turns.
    first_without_turns = next(at for at, (_, _, turns) in enumerate(seen) if turns == 0)
    assert all(kept == 4 for kept, _, _ in seen[:first_without_turns])
    shortened = [length for kept, length, _ in seen if kept == 1 and length < len(SENTENCE) * 20]
    assert len(set(shortened)) > 5
    ends = set(accumulate([len(SENTENCE)] * 20))
    assert all(length + 1 in ends for length in shortened)


def test_what_is_left_of_a_passage_is_still_a_span_of_its_document() -> None:
    whole = a_passage(text=SENTENCE * 40, start=1000)
    (cut,) = _fit(Budget(400, 100), [whole, a_passage(2)]).passages
    assert whole.chunk.text.startswith(cut.chunk.text)
    assert (cut.chunk.start, cut.chunk.end) == (1000, 1000 + len(cut.chunk.text))
    assert cut.chunk.text.endswith("angezogen.")


def test_a_sentence_too_long_by_itself_is_cut_at_a_word() -> None:
    (cut,) = _fit(Budget(200, 100), [a_passage(text="Wort " * 500)]).passages
    assert set(cut.chunk.text.split(" ")) == {"Wort"}


@given(
    context=st.integers(300, 3000),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    turns=st.integers(0, 6),
    correction=st.floats(0.5, 3),
)
def test_what_fits_does_fit(context: int, sizes: list[int], turns: int, correction: float) -> None:
    budget = Budget(context, 100, correction)
    passages = [a_passage(rank, text=SENTENCE * size) for rank, size in enumerate(sizes, start=1)]
    history = [Message("user" if turn % 2 == 0 else "assistant", SENTENCE) for turn in range(turns)]
    fitted = _fit(budget, passages, history)
    shown = [_shown(number, passage) for number, passage in enumerate(fitted.passages, start=1)]
    sent = [Message("system", "Antworte."), *fitted.history, Message("user", "".join(["Wie fest?", *shown]))]
    assert fitted.passages
    assert budget.size(sent) <= budget.room


@pytest.mark.parametrize(
    ("budget", "question"),
    [(Budget(1000, 200), "Wie fest? " * 500), (Budget(100, 100), "Wie?"), (Budget(30, 10), "Wie?")],
)
def test_a_question_that_does_not_fit_is_an_error_that_says_so(budget: Budget, question: str) -> None:
    with pytest.raises(InputError, match=rf"the question takes about \d+ tokens.*context has {budget.context_tokens}"):
        _fit(budget, [a_passage()], question=question)


def test_what_an_endpoint_counted_corrects_the_estimate_within_bounds() -> None:
    budget = Budget(8000, 1000)
    messages = [Message("user", SENTENCE * 50)]
    estimated = budget.size(messages)
    learned = budget.corrected(estimated, round(estimated * 0.7))
    assert learned.correction == pytest.approx(0.7, abs=0.01)
    assert learned.corrected(learned.size(messages), round(estimated * 0.7)).correction == pytest.approx(0.7, abs=0.02)
    assert budget.corrected(100, 1).correction == 0.5
    assert budget.corrected(100, 100_000).correction == 3
    assert budget.corrected(100, 0) == budget.corrected(0, 100) == budget


def test_half_the_room_keeps_the_answers_tokens() -> None:
    assert Budget(8000, 1000, 1.5).halved() == Budget(4500, 1000, 1.5)
