"""Answers that are in the right language, and answers that are not: what the language gate is measured on.

Most are made of texts that nobody wrote for it: paragraphs of XQuAD in six languages, and sentences of Tatoeba in all
languages that the detector knows, joined to answers of one to five sentences, with markers put in. The others are made
of the sentences in language_texts.py.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.language_texts import CODE, NAMES, QUOTES, TITLES, WRITTEN
from rag.answer_language import are_confusable
from rag.errors import InputError
from rag.language import known_languages, parse_tag, primary
from rag.segmentation import sentences

_UNSPACED = frozenset({"zh", "ja", "th"})
_LETTERS_OF_A_CHANGE = 60
"""Letters that a wrong continuation has at least (24 in scripts of syllables)."""
_MAJOR = ("en", "de", "es", "fr", "ru", "zh", "ar", "ja")
"""What documents are most often in: of the wrong answers that are made of Tatoeba, each second is in one of these."""

Texts = Mapping[str, Sequence[Sequence[str]]]
"""Language → texts, each a list of sentences."""


@dataclass(frozen=True, slots=True)
class Case:
    """One answer.

    Attributes:
        kind: what it is an example of.
        text: the answer, with markers.
        language: BCP-47 tag it must be in.
        right: whether it is.
        second_language: BCP-47 tag of what must follow a line of dashes.
        borrowed: whether it is made of texts that were not written for this.
    """

    kind: str
    text: str
    language: str
    right: bool
    second_language: str | None = None
    borrowed: bool = False


def cases(data: Path) -> list[Case]:
    """All answers, the same in each run, in random order."""
    rng = random.Random(6)
    xquad, tatoeba = _xquad(data / "xquad" / "corpus.jsonl"), _tatoeba(data / "tatoeba" / "tatoeba.tsv.gz", rng)
    made = [*_from_xquad(xquad, rng), *_from_tatoeba(tatoeba, rng), *written()]
    rng.shuffle(made)
    return made


def written() -> list[Case]:
    """The answers of sentences that were written for this."""
    rng = random.Random(7)
    return [case for tag in WRITTEN for case in (*_right(tag, rng), *_wrong(tag, rng))]


def _xquad(path: Path) -> Texts:
    texts: dict[str, list[Sequence[str]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        texts[each["lang"]].append([each["text"][slice(*span)] for span in sentences(each["text"], each["lang"])])
    return texts


def _tatoeba(path: Path, rng: random.Random) -> Texts:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t") for line in lines]
    found: dict[str, list[str]] = defaultdict(list)
    for name, english, sentence in pairs:
        try:
            tag = parse_tag(name)
        except InputError:
            continue
        if tag in known_languages():
            found[tag].append(sentence)
            if rng.random() < 0.01:
                found["en"].append(english)
    for each in found.values():
        rng.shuffle(each)
    return {tag: [[sentence] for sentence in each] for tag, each in found.items()}


def _from_xquad(texts: Texts, rng: random.Random) -> Iterator[Case]:
    """Paragraphs are parallel: that of another language goes on where the first stops."""
    for language, paragraphs in texts.items():
        for at, paragraph in enumerate(paragraphs):
            start = rng.randrange(len(paragraph))
            own = paragraph[start : start + rng.randint(1, 5)]
            yield Case("right", _answer(own, language, rng), language, True, borrowed=True)
            other = rng.choice([each for each in texts if each != language])
            foreign = texts[other][at]
            yield Case("wrong", _answer(foreign[:5], other, rng), language, False, borrowed=True)
            if len(paragraph) >= 2 and len(foreign) >= 3:
                mixed = _answer(paragraph[:2], language, rng) + " " + _answer(foreign[2:6], other, rng)
                yield Case("wrong from the third sentence", mixed, language, False, borrowed=True)
                turns = [part for two in zip(paragraph, foreign, strict=False) for part in two][:6]
                yield Case("mixed", _answer(turns, language, rng), language, False, borrowed=True)
            opening, closing = QUOTES.get(language, ("“", "”"))
            quoted = f"{WRITTEN[_written(language)].quoting} {opening}{' '.join(foreign[:2])}{closing} [1]."
            yield Case("foreign quotation", f"{quoted} {_answer(own, language, rng)}", language, True, borrowed=True)


def _from_tatoeba(texts: Texts, rng: random.Random) -> Iterator[Case]:
    for language, known in texts.items():
        pool = [each[0] for each in known]
        for _ in range(24):
            own = rng.sample(pool, rng.randint(1, 5))
            yield Case("right", _answer(own, language, rng), language, True, borrowed=True)
        others = [each for each in texts if primary(each) != primary(language)]
        major = [each for each in _MAJOR if each in others]
        for at in range(24):
            other = rng.choice(major if at % 2 else others)
            kin = are_confusable(language, other)
            foreign = [each[0] for each in texts[other]]
            length = _LETTERS_OF_A_CHANGE if other not in ("zh", "ja", "ko") else _LETTERS_OF_A_CHANGE * 2 // 5
            draw = rng.sample(foreign, 5)
            while sum(map(len, draw)) < length:
                draw = rng.sample(foreign, 5)
            kinds = ("wrong", "wrong from the third sentence")
            whole, tail = ("close kin",) * 2 if kin else kinds
            if at % 3:
                yield Case(whole, _answer(draw[: rng.randint(2, 5)], other, rng), language, False, borrowed=True)
            else:
                text = _answer(rng.sample(pool, 2), language, rng) + " " + _answer(draw, other, rng)
                yield Case(tail, text, language, False, borrowed=True)


def _right(tag: str, rng: random.Random) -> Iterator[Case]:
    text = WRITTEN[tag]
    facts = _answer(text.facts, tag, rng)
    opening, closing = QUOTES.get(tag, ("“", "”"))
    yield Case("every script", facts, tag, True)
    yield Case("one to five words", text.short, tag, True)
    for code in CODE:
        yield Case("code", f"{text.listing}\n\n{code}\n{facts}", tag, True)
    for names in NAMES:
        yield Case("names", f"{text.listing} {names} [1].\n\n{facts}", tag, True)
        listed = "\n".join(f"- {name} [1]" for name in names.split(", "))
        yield Case("names", f"{text.listing}\n\n{listed}\n\n{facts}", tag, True)
        yield Case("names", f"{facts} {text.listing} {names}.", tag, True)
    for title in TITLES:
        yield Case("titles", f"{text.quoting} {title} [2]. {facts}", tag, True)
        first, second = text.facts
        end = first[-1] if first[-1] in ".。।" else ""
        titled = f"{first.rstrip('.。।')} ({title.strip('*')}){end}"
        yield Case("titles", _answer([titled, second], tag, rng), tag, True)
    for other in rng.sample([each for each in WRITTEN if primary(each) != primary(tag)], 4):
        quoted = _answer(WRITTEN[other].facts, other, rng, markers=False)
        yield Case("foreign quotation", f"{facts} {text.quoting} {opening}{quoted}{closing} [2].", tag, True)
        yield Case("foreign quotation", f"{text.quoting}\n\n> {quoted} [1]\n\n{facts}", tag, True)
        both = f"{facts}\n\n---\n\n{_answer(WRITTEN[other].facts, other, rng)}"
        yield Case("two languages", both, tag, True, second_language=other)


def _wrong(tag: str, rng: random.Random) -> Iterator[Case]:
    facts = _answer(WRITTEN[tag].facts, tag, rng)
    fitting = [each for each in WRITTEN if primary(each) != primary(tag) and not are_confusable(tag, each)]
    for other in rng.sample(fitting, 6):
        foreign = WRITTEN[other]
        theirs = _answer(foreign.facts, other, rng)
        yield Case("every script", theirs, tag, False)
        yield Case("one to five words", foreign.short, tag, False)
        yield Case("wrong from the third sentence", f"{facts} {theirs}", tag, False)
        yield Case("wrong but its beginning", f"{WRITTEN[tag].listing}\n\n- {foreign.facts[0]} [1]\n", tag, False)
        yield Case("two languages", f"{theirs}\n\n---\n\n{facts}", tag, False, second_language=other)
        yield Case("two languages", f"{facts}\n\n---\n\n{facts}", tag, False, second_language=other)
    for other in WRITTEN:
        if primary(other) == primary(tag) and other != tag:
            for part in (WRITTEN[other].facts, WRITTEN[other].facts[:1], WRITTEN[other].facts[1:]):
                yield Case("the other script", _answer(part, other, rng), tag, False)


def _answer(parts: Sequence[str], language: str, rng: random.Random, *, markers: bool = True) -> str:
    """`parts` as one text, each second with a marker before or after its full stop."""
    said: list[str] = []
    for part in parts:
        marker = f"[{rng.randint(1, 8)}]"
        if not markers or rng.random() < 0.5:
            said.append(part)
        elif part[-1:] in ".。।" and rng.random() < 0.7:
            space = "" if part[-1] == "。" else " "
            said.append(f"{part[:-1]}{space}{marker}{part[-1]}")
        else:
            said.append(f"{part} {marker}")
    return ("" if primary(language) in _UNSPACED - {"th"} else " ").join(said)


def _written(language: str) -> str:
    return {"zh": "zh-Hans"}.get(language, language)
