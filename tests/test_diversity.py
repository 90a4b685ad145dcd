"""Translations and near-copies become one result, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag import diversity
from rag.diversity import Collapse
from rag.ports import Embedder
from rag.types import Chunk, Passage, StoredVector
from tests.samples import a_chunk

LEAFLET = {
    "en": (
        "The fire door on the second floor must stay closed at all times. It is tested every six months.",
        "Holiday requests go to your team lead at least three weeks before the first day off.",
        "The forklift may only be driven by staff with a valid licence and a helmet.",
        "Lost keys have to be reported to security on the same day, so that the lock can be changed.",
        "Printer paper is kept in the cupboard next to the kitchen, toner in the IT office.",
        "Our canteen serves lunch from noon; vegetarian meals are ordered the day before.",
    ),
    "de": (
        "Die Brandschutztür im zweiten Stock muss immer geschlossen bleiben. Sie wird alle sechs Monate geprüft.",
        "Urlaubsanträge gehen mindestens drei Wochen vor dem ersten freien Tag an die Teamleitung.",
        "Den Gabelstapler dürfen nur Beschäftigte mit gültigem Führerschein und Helm fahren.",
        "Verlorene Schlüssel sind noch am selben Tag dem Wachdienst zu melden, damit das Schloss getauscht wird.",
        "Druckerpapier liegt im Schrank neben der Küche, Toner im Büro der IT.",
        "Unsere Kantine bietet ab zwölf Uhr Mittagessen; vegetarische Gerichte bestellt man am Vortag.",
    ),
    "es": (
        "La puerta cortafuegos del segundo piso debe permanecer siempre cerrada. Se revisa cada seis meses.",
        "Las solicitudes de vacaciones se envían al jefe de equipo al menos tres semanas antes del primer día libre.",
        "La carretilla elevadora solo puede conducirla personal con licencia válida y casco.",
        "Las llaves perdidas deben comunicarse a seguridad el mismo día, para que se cambie la cerradura.",
        "El papel de impresora se guarda en el armario junto a la cocina, el tóner en la oficina de informática.",
        "Nuestro comedor sirve el almuerzo desde el mediodía; los platos vegetarianos se piden el día anterior.",
    ),
}


@dataclass(frozen=True)
class Collapsed:
    """One result: a passage and the others that say the same."""

    passage: Passage
    copies: tuple[Passage, ...]


def collapse(passages: Sequence[Passage], vectors: dict[str, StoredVector], **given: Any) -> list[Collapsed]:
    groups = diversity.collapse([passage.chunk for passage in passages], vectors, **given)
    return [Collapsed(passages[first], tuple(passages[other] for other in others)) for first, *others in groups]


def a_vector(dense: np.ndarray, terms: int = 20) -> StoredVector:
    return StoredVector((dense / np.linalg.norm(dense)).astype(np.float32), terms)


def ranked(chunks: list[Chunk]) -> list[Passage]:
    return [Passage(rank, chunk, 1 / rank, 0.5, 0.1) for rank, chunk in enumerate(chunks, start=1)]


def ranks(found: list[Collapsed]) -> list[list[int]]:
    return [[each.passage.rank, *(copy.rank for copy in each.copies)] for each in found]


def embedded(embedder: Embedder, texts: list[tuple[str, str]]) -> tuple[list[Passage], dict[str, StoredVector]]:
    """Passages of (language, text), each its own document, and their vectors."""
    chunks = [
        a_chunk(text=text, language=language, text_hash=f"hash {n}", uri=f"file:///flat/{n}.txt")
        for n, (language, text) in enumerate(texts)
    ]
    vectors = embedder.embed_passages([text for _, text in texts])
    return ranked(chunks), {
        chunk.text_hash: StoredVector(each.dense, len(each.sparse.ids))
        for chunk, each in zip(chunks, vectors, strict=True)
    }


# A made-up space: what all passages share, two topics that share much, the shift of each language, and twelve
# directions for passages that have no translation.
SHARED = (0.7,)
TOPICS = ((1.0, 0.0), (0.6, 0.8))
SHIFT = {"en": (0.0, 0.0), "de": (0.3, 0.0), "ja": (0.0, 0.3)}


def a_pool(**texts: str) -> tuple[list[Passage], dict[str, StoredVector]]:
    """18 passages: 1, 2, 3 the first topic in en, de, ja; 4, 5, 6 the second; 7 to 18 of each language four others.

    Args:
        texts: by topic and language, such as `first_de`; by default those of a topic hold the same number.
    """
    chunks, vectors = [], {}
    keys = [f"{topic}_{language}" for topic in ("first", "second", *"abcd") for language in SHIFT]
    for place, key in enumerate(keys):
        language = key[-2:]
        text = texts.get(key, f"{key} {(24, 7)[place // 3]}" if place < 6 else f"{key} {100 + place}")
        topic = TOPICS[place // 3] if place < 6 else (0.0, 0.0)
        own = np.eye(12)[place - 6] if place >= 6 else np.zeros(12)
        chunks.append(a_chunk(text=text, language=language, text_hash=key, uri=f"file:///flat/{place}.txt"))
        vectors[key] = a_vector(np.array([*SHARED, *topic, *SHIFT[language], *own]))
    return ranked(chunks), vectors


def topics(found: list[Collapsed]) -> list[list[int]]:
    """The results that hold passages 1 to 6; the twelve others must be alone."""
    assert all(len(group) == 1 for group in ranks(found) if 7 <= group[0] <= 18)
    return [group for group in ranks(found) if group[0] < 7]


def a_random_pool(seed: int) -> tuple[list[Passage], dict[str, StoredVector]]:
    """40 passages of 9 topics in 4 languages, some equal, some near-copies, some without a vector."""
    rng = np.random.default_rng(seed)
    subjects = rng.normal(size=(9, 12)) + 1.0
    chunks: list[Chunk] = []
    vectors: dict[str, StoredVector] = {}
    for n in range(40):
        topic, language = int(rng.integers(9)), str(rng.choice(["en", "de", "ja", "und"]))
        text_hash = f"{topic} {language} {rng.integers(3)}"
        text = f"{language} text on topic {topic}, " + ("with much the same words again and again " * 3)
        chunks.append(a_chunk(ordinal=n, text=text, language=language, text_hash=text_hash))
        if text_hash not in vectors and rng.random() < 0.8:
            noise = rng.choice([0.02, 0.4]) * rng.normal(size=12)
            vectors[text_hash] = a_vector(subjects[topic] + noise, int(rng.integers(10, 40)))
    return ranked(chunks), vectors


def test_a_leaflet_in_three_languages_gives_each_of_its_passages_once(pocket: Embedder) -> None:
    paragraphs = zip(*LEAFLET.values(), strict=True)
    texts = [pair for paragraph in paragraphs for pair in zip(LEAFLET, paragraph, strict=True)]
    passages, vectors = embedded(pocket, texts)
    found = ranks(collapse(passages, vectors))
    together = [group for group in found if len(group) > 1]
    assert all(len({(rank - 1) // 3 for rank in group}) == 1 for group in found), "only translations are folded"
    assert sum(len(group) - 1 for group in together) >= 9, f"most of the 12 translations are: {found}"


def test_nothing_is_folded_in_a_library_without_translations(pocket: Embedder) -> None:
    library = Path(__file__).parents[1] / "demo" / "workplace" / "library"
    files = sorted(path for suffix in ("md", "txt") for path in library.glob(f"*/*.{suffix}"))
    assert len(files) > 15
    passages, vectors = embedded(pocket, [(path.parent.name, path.read_text("utf-8")[:600]) for path in files])
    assert [each.copies for each in collapse(passages, vectors)] == [()] * len(files)


def test_translations_become_one_result_under_the_best_ranked() -> None:
    passages, vectors = a_pool()
    found = collapse(passages, vectors)
    assert topics(found) == [[1, 2, 3], [4, 5, 6]]
    assert found[0].passage is passages[0]
    assert ranks(collapse(passages[::-1], vectors))[-2:] == [[6, 5, 4], [3, 2, 1]]


@pytest.mark.parametrize(("number", "together"), [("24", True), ("２４", True), ("25", False)])
def test_another_number_speaks_against_a_translation_and_other_digits_do_not(number: str, together: bool) -> None:
    passages, vectors = a_pool(first_en=number)
    rival = a_chunk(text="Noch etwas anderes", language="de", text_hash="rival", uri="file:///flat/rival.txt")
    vectors["rival"] = a_vector(np.array([*SHARED, 0.95, 0.3, *SHIFT["de"], *np.zeros(12)]))
    pool = [*passages[:2], *passages[6:], Passage(19, rival, 0.0, 0.5, 0.1)]
    assert topics(collapse(pool, vectors)) == ([[1, 2]] if together else [[1], [2]])


def test_a_text_of_another_length_is_no_translation() -> None:
    passages, vectors = a_pool()
    vectors["second_de"] = a_vector(vectors["second_de"].dense, terms=41)
    assert topics(collapse(passages, vectors)) == [[1, 2, 3], [4, 6], [5]]


def test_two_passages_of_one_language_are_never_translations_of_each_other() -> None:
    passages, vectors = a_pool()
    again = a_chunk(text="first_en 24 once more", language="en", text_hash="again", uri="file:///flat/again.txt")
    vectors["again"] = a_vector(vectors["first_en"].dense + 0.3 * vectors["a_en"].dense)
    found = collapse([*passages, Passage(19, again, 0.0, 0.5, 0.1)], vectors, similarity=0.0)
    assert any(each.copies for each in found)
    for each in found:
        languages = [passage.chunk.language for passage in (each.passage, *each.copies)]
        assert len(languages) == len(set(languages))


def test_a_passage_without_a_language_is_no_translation() -> None:
    passages, vectors = a_pool()
    table = a_chunk(text="24", language="und", text_hash="first_de", uri="file:///flat/table.txt")
    assert topics(collapse([passages[0], Passage(2, table, 1.0, 0.5, 0.1), *passages[2:]], vectors))[:2] == [
        [1, 3],
        [2],
    ]


def test_two_passages_alone_are_one_result_only_where_their_places_say_so() -> None:
    """There is no rival to compare with, so nearness counts nothing and equal numbers are not enough."""
    passages, vectors = a_pool()
    assert ranks(collapse(passages[:2], vectors)) == [[1], [2]]
    mirrored = [
        a_chunk(text="24", language=language, text_hash=f"first_{language}", uri=f"file:///docs/{language}/door.md")
        for language in ("en", "de")
    ]
    assert ranks(collapse(ranked(mirrored), vectors)) == [[1, 2]]


@pytest.mark.parametrize(
    ("first", "second", "tipped"),
    [
        ("docs/en/door.md", "docs/de/door.md", 0.2),
        ("docs/en-US/door.md", "docs/de/door.md", 0.2),
        ("door.md", "door.de.md", 0.2),
        ("door_en.md", "door_de.md", 0.2),
        ("docs/en/door.md", "docs/de/window.md", -0.2),
        ("docs/en/door.md", "window.md", 0.0),
        ("door.md", "window.md", 0.0),
        ("it/door.md", "it/door.md", 0.0),  # a folder that is called like a third language
    ],
)
def test_the_places_of_the_files_tip_the_scales(first: str, second: str, tipped: float) -> None:
    passages, vectors = a_pool()
    step = 0.025

    def reached(*places: str) -> float:
        """The highest similarity at which the first two passages are one result when their files lie there."""
        pair = [
            a_chunk(
                text=each.chunk.text,
                language=each.chunk.language,
                text_hash=each.chunk.text_hash,
                uri=f"file:///library/{place}",
            )
            for each, place in zip(passages[:2], places, strict=True)
        ]
        pool = ranked([*pair, *(each.chunk for each in passages[3:])])
        folded = [len(collapse(pool, vectors, similarity=n * step)[0].copies) == 1 for n in range(8, 64)]
        assert folded == sorted(folded, reverse=True), "a higher one never folds more here"
        return sum(folded) * step

    assert reached(first, second) - reached("a", "b") == pytest.approx(tipped, abs=1.5 * step)


COPY = "The screws of the engine are tightened crosswise, first by hand and then with the torque wrench to {} Nm. "


@pytest.mark.parametrize(
    ("text", "cosine", "folded"),
    [
        (COPY.format(24).upper() + "\n", 0.999, True),  # case and white space alone
        (COPY.format(24), 0.97, False),
        (COPY.format(25), 0.999, False),  # another number
        (COPY.format(24) + "They are never tightened twice, as the thread would suffer from it.", 0.999, False),
    ],
)
def test_near_copies_of_one_language_are_folded_when_letters_numbers_and_vectors_agree(
    text: str, cosine: float, folded: bool
) -> None:
    first = a_chunk(text=COPY.format(24), text_hash="a", ordinal=0)
    second = a_chunk(text=text, text_hash="b", ordinal=1)
    vectors = {
        "a": a_vector(np.array([1.0, 0.0])),
        "b": a_vector(np.array([cosine, np.sqrt(1 - cosine**2)])),
    }
    for mode in ("near", "translations"):
        found = collapse(ranked([first, second]), vectors, mode=mode)
        assert ranks(found) == ([[1, 2]] if folded else [[1], [2]])


def test_a_copy_does_not_hide_that_its_original_is_a_translation() -> None:
    passages, vectors = a_pool()
    copy = a_chunk(text="FIRST_DE 24!", language="de", text_hash="copy")
    vectors["copy"] = vectors["first_de"]
    assert topics(collapse([*passages, Passage(19, copy, 0.0, 0.5, 0.1)], vectors)) == [[1, 2, 3, 19], [4, 5, 6]]


def test_without_a_vector_only_equal_texts_are_folded() -> None:
    chunks = [a_chunk(ordinal=n, text="All the same.", text_hash=text_hash) for n, text_hash in enumerate("aba")]
    assert ranks(collapse(ranked(chunks), {})) == [[1, 3], [2]]
    assert ranks(collapse(ranked(chunks), {"a": a_vector(np.ones(2))})) == [[1, 3], [2]]


def test_each_mode_folds_what_its_name_says() -> None:
    passages, vectors = a_pool()
    again = a_chunk(text=passages[0].chunk.text, language="en", text_hash="first_en")
    pool = [*passages, Passage(19, again, 0.0, 0.5, 0.1)]
    assert ranks(collapse(pool, vectors, mode="off")) == [[rank] for rank in range(1, 20)]
    assert topics(collapse(pool, vectors, mode="near")) == [[1, 19], [2], [3], [4], [5], [6]]
    assert topics(collapse(pool, vectors, mode="translations")) == [[1, 2, 3, 19], [4, 5, 6]]
    assert topics(collapse(pool, vectors, similarity=1.5)) == [[1, 19], [2], [3], [4], [5], [6]]


def test_numbers_of_any_length_and_texts_without_letters_are_no_trouble() -> None:
    passages, vectors = a_pool(first_en="9" * 6000, first_de="", second_ja="²③½ ٣٠٨")
    found = ranks(collapse(passages, vectors))
    assert sorted(chain.from_iterable(found)) == list(range(1, 19))


def test_no_passages_give_no_results() -> None:
    assert collapse([], {}) == []


@pytest.mark.parametrize("mode", ["translations", "near", "off"])
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_or_moved_and_the_same_pool_gives_the_same_results(seed: int, mode: Collapse) -> None:
    passages, vectors = a_random_pool(seed)
    found = collapse(passages, vectors, mode=mode, similarity=0.1)
    everything = ranks(found)
    assert sorted(chain.from_iterable(everything)) == [passage.rank for passage in passages], (
        "each passage is in one result"
    )
    assert [group[0] for group in everything] == sorted(group[0] for group in everything), "the order stays"
    assert all(group == sorted(group) for group in everything), "the best of a group leads it"
    assert (len(found) < len(passages)) == (mode != "off")
    for each in found:
        for copy in each.copies:
            known = {each.passage.chunk.text_hash, copy.chunk.text_hash} <= vectors.keys()
            assert known or each.passage.chunk.text_hash == copy.chunk.text_hash
    members = sorted((p for each in found for p in (each.passage, *each.copies)), key=lambda passage: passage.rank)
    assert collapse(members, vectors, mode=mode, similarity=0.1) == found, "what is folded stays folded so"
