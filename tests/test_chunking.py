from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.chunking import chunk, embedding_input
from rag.ports import Embedder
from rag.segmentation import cluster_starts
from rag.types import Chunk, Document, Heading, Language


def words(texts: object) -> list[int]:
    """A ruler that is easy to check by eye: one token a word, one a CJK character, two special ones."""
    return [2 + len(re.findall(r"[\u3040-\u9fff]|[^\s\u3040-\u9fff]+", text)) for text in texts]  # type: ignore[attr-defined]


def german(text: str) -> Language:
    return Language("de", 0.99)


def cut(document: Document, budget: int = 60) -> list[Chunk]:
    return chunk(document, version="v1", ingested_at=1.0, budget=budget, count_tokens=words, detect=german)


def of(text: str, *titles: tuple[int, str], pages: tuple[int, ...] = ()) -> Document:
    headings = tuple(Heading(level, at := text.index(title), at + len(title), title) for level, title in titles)
    return Document("file:///a.md", text, "Handbuch", "md", headings, pages)


def sentence(count: int, start: str = "Wort") -> str:
    return " ".join([start] + ["wort"] * (count - 2) + ["ende."])


def test_a_short_document_is_one_chunk_with_the_span_of_its_text() -> None:
    [only] = cut(of("\n\n  Ein kurzer Text.  \n"))
    assert only.text == "Ein kurzer Text."
    assert only.span == (4, 20)
    assert (only.ordinal, only.chunk_count) == (0, 1)


def test_long_sections_are_cut_at_their_headings() -> None:
    text = f"Montage\n\n{sentence(40)}\n\nWartung\n\n{sentence(40)}"
    first, second = cut(of(text, (1, "Montage"), (1, "Wartung")))
    assert first.headings == ("Montage",)
    assert second.headings == ("Wartung",)
    assert second.text.startswith("Wartung\n\n")


def test_small_sections_join_their_siblings_under_the_common_heading() -> None:
    text = f"Montage\n\nOben\n\n{sentence(10)}\n\nUnten\n\n{sentence(10)}"
    [only] = cut(of(text, (1, "Montage"), (2, "Oben"), (2, "Unten")))
    assert only.headings == ("Montage",)


def test_a_small_section_does_not_join_the_child_of_another_heading() -> None:
    text = f"A\n\n{sentence(30)}\n\nKind\n\n{sentence(20)}\n\nBlatt\n\nzwei Wörter"
    chunks = cut(of(text, (1, "A"), (2, "Kind"), (1, "Blatt")))
    assert [c.headings for c in chunks] == [("A",), ("A", "Kind"), ("Blatt",)]


def test_small_sections_under_different_headings_stay_apart() -> None:
    text = f"A\n\n{sentence(54)}\n\nKlein\n\nzwei Wörter\n\nWinzig\n\ndrei kurze Wörter\n\nB\n\nvier"
    chunks = cut(of(text, (1, "A"), (2, "Klein"), (2, "Winzig"), (1, "B")))
    assert [c.headings for c in chunks] == [("A",), ("A",), ("B",)]
    assert chunks[1].text.startswith("Klein")
    assert chunks[1].text.endswith("drei kurze Wörter")


def test_two_headings_of_one_title_are_two_headings() -> None:
    text = f"A\n\n{sentence(54)}\n\nx\n\neins\n\nA\n\n{sentence(54, 'Zwei')}\n\nx\n\nzwei"
    second = text.index("A\n\nZwei")
    heads = [(1, 0), (2, text.index("x\n\neins")), (1, second), (2, text.index("x\n\nzwei"))]
    headings = tuple(Heading(level, at, at + 1, text[at]) for level, at in heads)
    chunks = cut(Document("file:///a.md", text, "Handbuch", "md", headings))
    assert [(c.headings, c.text.endswith(("eins", "zwei"))) for c in chunks] == [
        (("A",), False),
        (("A", "x"), True),
        (("A",), False),
        (("A", "x"), True),
    ]


def test_a_small_section_joins_a_large_sibling_that_leaves_room() -> None:
    text = f"Dach\n\nEins\n\n{sentence(40)}\n\nZwei\n\nkurz"
    assert [c.headings for c in cut(of(text, (1, "Dach"), (2, "Eins"), (2, "Zwei")))] == [("Dach",)]


def test_paragraphs_are_kept_whole_where_they_fit() -> None:
    paragraphs = [sentence(22, f"Absatz{n}") for n in range(6)]
    chunks = cut(of("\n\n".join(paragraphs)))
    assert [c.text for c in chunks] == ["\n\n".join(paragraphs[n : n + 2]) for n in (0, 2, 4)]


def test_a_long_paragraph_is_cut_between_sentences_of_its_script() -> None:
    text = "".join(f"第{n}条规定员工必须在离开前关闭所有设备的电源。" for n in "一二三四五六七八九十")
    chunks = cut(of(text))
    assert len(chunks) > 1
    assert all(c.text.endswith("。") for c in chunks)
    assert "".join(c.text for c in chunks) == text


def test_a_sentence_beyond_the_budget_is_cut_between_words() -> None:
    chunks = cut(of(" ".join(["wort"] * 300)))
    assert {word for c in chunks for word in c.text.split()} == {"wort"}
    assert sum(len(c.text.split()) for c in chunks) == 300


def test_chunks_of_a_long_section_are_of_like_size() -> None:
    chunks = cut(of("\n\n".join(sentence(13) for _ in range(9))))
    sizes = [words([c.text])[0] for c in chunks]
    assert min(sizes) > max(sizes) / 3


def test_the_page_is_the_one_the_chunk_starts_on() -> None:
    page = sentence(50)
    text = f"{page}\n\n{page}\n\n{page}"
    starts = (0, len(page) + 2, 2 * len(page) + 4)
    assert [c.page for c in cut(of(text, pages=starts))] == [1, 2, 3]
    assert cut(of(text))[0].page is None


def test_a_passage_over_a_page_break_knows_the_page_of_each_word() -> None:
    text = "Ende der ersten Seite, das weitergeht auf der zweiten und der dritten."
    [only] = cut(of(text, pages=(0, text.index("auf"), text.index("dritten"))))
    assert only.page == 1
    assert [only.page_at(text.index(word)) for word in ("Ende", "auf", "zweiten", "dritten")] == [1, 2, 2, 3]


def test_a_paragraph_that_begins_with_a_combining_mark_keeps_its_cluster() -> None:
    text = f"{sentence(50)}\n\n \u0301{sentence(50)}"
    chunks = cut(of(text))
    assert chunks[1].text.startswith(" \u0301")


def test_a_sure_passage_language_wins_over_the_document_s() -> None:
    def detect(text: str) -> Language:
        return Language("fr", 0.9) if text.startswith("Le ") else Language("de", 0.9)

    text = f"{sentence(50)}\n\nLe {sentence(50)}"
    chunks = chunk(of(text), version="v", ingested_at=0, budget=60, count_tokens=words, detect=detect)
    assert [(c.language, c.document_language) for c in chunks] == [("de", "de"), ("fr", "de")]


def test_a_short_passage_takes_the_document_s_language() -> None:
    def detect(text: str) -> Language:
        return Language("nl", 0.9) if text == "Ok." else Language("de", 0.9)

    text = f"{sentence(57)}\n\nOk."
    chunks = chunk(of(text), version="v", ingested_at=0, budget=60, count_tokens=words, detect=detect)
    assert {c.language for c in chunks} == {"de"}


def test_the_model_reads_title_and_headings_once_and_nothing_invisible() -> None:
    text = f"Montage\n\n{sentence(30)}\n\nSchrauben\n\nAn\u00adziehen {sentence(30)}"
    first, second = cut(of(text, (1, "Montage"), (2, "Schrauben")))
    assert embedding_input(first, 60).startswith("Handbuch\n\nMontage")
    assert embedding_input(second, 60).startswith("Handbuch › Montage\n\nSchrauben\n\nAnziehen")
    assert "\u00ad" in second.text


def test_equal_strings_share_a_hash_and_other_titles_do_not() -> None:
    document = of(sentence(20))
    [a], [b] = cut(document), cut(replace(document, uri="file:///b.md"))
    assert a.text_hash == b.text_hash
    assert a.id != b.id
    [c] = cut(replace(document, title="Anderes"))
    assert c.text_hash != a.text_hash


ALPHABET = "ab .!?\n#。हि\u093f।\u0301👩\u200d👧\ufe0f中"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=ALPHABET, max_size=400), st.integers(min_value=32, max_value=80))
@example("a" * 500, 32)
@example("👩‍👧" * 90, 32)
def test_any_text_is_cut_whole_in_order_and_between_clusters(text: str, budget: int) -> None:
    chunks = cut(of(text), budget)
    clusters = {*cluster_starts(text), len(text)}
    covered: set[int] = set()
    for one in chunks:
        assert one.text == text[one.start : one.end]
        assert one.start in clusters
        assert one.end in clusters
        assert covered.isdisjoint(range(one.start, one.end))
        covered |= set(range(one.start, one.end))
    assert all(text[at].isspace() for at in set(range(len(text))) - covered)


def test_no_chunk_is_beyond_the_budget_of_the_model_s_own_tokens(pocket: Embedder) -> None:
    texts = [
        "Die Förderbänder werden wöchentlich geprüft, gereinigt und bei Bedarf neu gespannt. " * 60,
        "設備の電源を切り、五分待ってから、カバーを開けてください。" * 80,
        "إذا توقف الجهاز فجأة فافصل التيار الكهربائي وانتظر خمس دقائق قبل فتح الغطاء. " * 60,
        "x" * 4000,
        "https://example.org/" + "a/b-c" * 800,
    ]
    for text in texts:
        chunks = chunk(
            of(text), version="v", ingested_at=0, budget=128, count_tokens=pocket.count_tokens, detect=german
        )
        sizes = pocket.count_tokens([embedding_input(c, 128) for c in chunks])
        assert max(sizes) <= 128, text[:20]
        assert len(chunks) < 2.2 * sum(sizes) / 128, "chunks are mostly full"


@pytest.mark.parametrize("text", ["", "   \n\n ", "\n"])
def test_a_text_of_white_space_has_no_chunks(text: str) -> None:
    assert cut(of(text)) == []
