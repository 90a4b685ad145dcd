"""Citations of real paragraphs in several languages, as models write them, true and made up."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

from rag.citations import check
from rag.marker_syntax import cited
from rag.markers import CitationFilter
from rag.segmentation import sentences
from rag.untrusted import escaped
from tests.samples import a_passage

ANSWERS = 25  # a language
MARKS = ["“”", "„“", "«»", "「」", '""', "''", "‘’", "『』"]
CLAIM = "This is a claim that is made"


def _written(choice: random.Random, words: str) -> str:
    """Words of a passage as a model may write them: as they were shown, on one line, decomposed."""
    forms = [words, escaped(words, "F"), " ".join(words.split()), unicodedata.normalize("NFD", words)]
    return choice.choice(forms)


def test_of_real_paragraphs_every_delivered_quote_is_verbatim_and_no_marker_is_made_up(data: Path) -> None:
    paragraphs: dict[str, list[str]] = {}
    for line in (data / "xquad" / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        paragraphs.setdefault(record["lang"], []).append(unicodedata.normalize("NFC", record["text"]))
    assert len(paragraphs) >= 6
    choice = random.Random(20)
    quoted = made_up = 0
    for language, texts in paragraphs.items():
        for _ in range(ANSWERS):
            passages = [a_passage(rank, text=text) for rank, text in enumerate(choice.sample(texts, 8), start=1)]
            written = expected = ""
            supported = []
            for _ in range(choice.randint(1, 4)):
                number = choice.randint(1, 9)  # one too many
                stored = passages[min(number, 8) - 1].chunk.text
                start, end = choice.choice([span for span in sentences(stored, language) if span[1] - span[0] > 8])
                words: str = stored[start : min(end, start + 500)]
                if false := choice.random() < 0.3:
                    at = choice.randrange(len(words))
                    words = f"{words[:at]}{choice.choice('ЖQ語ع') * 2}{words[at:]}"
                opening, closing = tuple(choice.choice(MARKS))
                written += f"{CLAIM} [{number}: {opening}{_written(choice, words)}{closing}]. "
                expected += f"{CLAIM} [{number}]. " if number < 9 else f"{CLAIM}. "
                supported.append(not false and number < 9)
                quoted, made_up = quoted + (not false), made_up + false
            markers = CitationFilter(passages)
            shown = ""
            while written:
                length = choice.randint(1, 9)
                shown += markers.feed(written[:length])
                written = written[length:]
            shown += markers.finish()
            assert shown == expected
            found = check(shown, markers.offered, passages, language="en")
            assert set(cited(shown)) == {each.marker for each in found.citations}
            for each in found.citations:
                chunk = passages[each.marker - 1].chunk
                assert each.quote == chunk.text[each.span[0] - chunk.start : each.span[1] - chunk.start]
            starts = [at for at in range(len(shown)) if shown.startswith(CLAIM, at)]
            unsupported = {start for start, _ in found.unsupported}
            assert [start not in unsupported for start in starts] == supported
    assert min(quoted, made_up) > 80
