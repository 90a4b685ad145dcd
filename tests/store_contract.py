"""What every store must do, whatever engine is behind it.

A test module subclasses `StoreContract` under a name that begins with Test and overrides two fixtures:

    empty    a store that was never prepared
    reopen   a function that closes a store and returns a second one over the same data

`make_chunk`, `make_embedding` and `make_document` build what goes in; the same arguments make the same vectors.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.bm25 import TermCounts, frequencies, saturated, weighted
from rag.errors import IndexMismatchError, InputError, StoreError
from rag.identity import point_id, text_hash
from rag.ports import PassageStore
from rag.stores.schema import SCHEMA_VERSION
from rag.types import ANYWHERE, Candidate, Chunk, Embedding, IndexInfo, SparseVector, Where

DIMENSION = 8
INFO = IndexInfo(SCHEMA_VERSION, "0123456789abcdef", "tiny-model", DIMENSION)
WITH_TENANTS = dataclasses.replace(INFO, tenant_key="team")
VOCABULARY = 300
SHARED_TERM = 2**32 - 5

Reopen = Callable[[PassageStore], PassageStore]
Stored = tuple[list[Chunk], list[Embedding]]


def make_chunk(
    uri: str = "file:///library/a.md",
    version: str = "v1",
    ordinal: int = 0,
    chunk_count: int = 1,
    *,
    text: str = "The tide table hangs by the door.",
    language: str = "en",
    ingested_at: float = 1_700_000_000.25,
    metadata: dict[str, str] | None = None,
) -> Chunk:
    return Chunk(
        id=point_id(uri, version, ordinal),
        uri=uri,
        version=version,
        ordinal=ordinal,
        chunk_count=chunk_count,
        text=text,
        start=100 * ordinal,
        end=100 * ordinal + len(text),
        title="Tides",
        headings=("Harbour", "Tables"),
        page=ordinal + 1,
        language=language,
        document_language="en",
        format="md",
        text_hash=text_hash(text),
        ingested_at=ingested_at,
        metadata=metadata or {},
    )


def make_embedding(seed: int, tokens: int = 20, dimension: int = DIMENSION) -> Embedding:
    random = np.random.default_rng(seed)
    dense = random.standard_normal(dimension)
    ids = np.unique(random.integers(0, VOCABULARY, tokens)).astype(np.uint32)
    return Embedding(
        dense=(dense / np.linalg.norm(dense)).astype(np.float32),
        sparse=SparseVector(ids=ids, weights=(random.random(ids.size) + 0.01).astype(np.float32)),
    )


def make_document(uri: str, version: str, size: int, seed: int = 0, **fields: object) -> Stored:
    chunks = [
        make_chunk(uri, version, ordinal, size, text=f"{uri} {version} passage {ordinal}", **fields)  # type: ignore[arg-type]  # passed on
        for ordinal in range(size)
    ]
    return chunks, [make_embedding(1000 * seed + ordinal) for ordinal in range(size)]


def make_terms(uri: str, size: int, seed: int, **fields: object) -> Stored:
    """A document whose passages share one term, and have others of 32 bits more or less often."""
    chunks, embeddings = make_document(uri, "v1", size, seed, **fields)
    random = np.random.default_rng(seed)
    sparse = []
    for _ in chunks:
        ids = np.unique(np.append(random.geometric(0.2, 12).clip(1, 40) * 104_729_001, SHARED_TERM)).astype(np.uint32)
        sparse.append(SparseVector(ids, saturated(random.integers(1, 4, ids.size).astype(np.float64))))
    return chunks, [Embedding(each.dense, terms) for each, terms in zip(embeddings, sparse, strict=True)]


def make_question(seed: int) -> Embedding:
    """With counts of terms that passages of `make_terms` have."""
    ids = np.unique(np.append(np.random.default_rng(seed).geometric(0.2, 6).clip(1, 40) * 104_729_001, SHARED_TERM))
    return Embedding(make_embedding(seed).dense, TermCounts(ids.astype(np.uint32), np.ones(ids.size, np.float32)))


def put(store: PassageStore, stored: Stored) -> None:
    """Stages one document and commits it."""
    chunks, embeddings = stored
    store.stage(chunks, embeddings)
    store.commit(chunks[0].uri, chunks[0].version)


def sparse_score(query: Embedding, passage: Embedding) -> float:
    weights = dict(zip(passage.sparse.ids.tolist(), passage.sparse.weights.tolist(), strict=True))
    pairs = zip(query.sparse.ids.tolist(), query.sparse.weights.tolist(), strict=True)
    return float(sum(weight * weights.get(token, 0.0) for token, weight in pairs))


def identifiers(candidates: Sequence[Candidate | Found]) -> list[str]:
    return [candidate.id for candidate in candidates]


@dataclasses.dataclass(frozen=True)
class Found:
    """A candidate with all that is stored of it."""

    chunk: Chunk
    dense_score: float
    sparse_score: float

    @property
    def id(self) -> str:
        return self.chunk.id


def everything(store: PassageStore, where: Where = ANYWHERE) -> list[Found]:
    """All that a search finds; it searches again where something has been replaced before it was read."""
    while True:
        candidates = store.candidates(make_embedding(7), 1000, where)
        stored = store.passages(identifiers(candidates))
        if len(stored) == len(candidates):
            return [Found(stored[each.id].chunk, each.dense_score, each.sparse_score) for each in candidates]


class StoreContract:
    """The port's promises."""

    @pytest.fixture
    def empty(self) -> PassageStore:
        raise NotImplementedError("override this fixture with a store that was never prepared")

    @pytest.fixture
    def store(self, empty: PassageStore) -> PassageStore:
        empty.prepare(INFO)
        return empty

    @pytest.fixture
    def shared(self, empty: PassageStore) -> PassageStore:
        """An index that separates its tenants by `team`."""
        empty.prepare(WITH_TENANTS)
        return empty

    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("override this fixture with a function that opens the same data again")

    # Searching

    def test_candidates_are_the_union_of_both_lists_with_exact_scores(self, store: PassageStore) -> None:
        embeddings: dict[str, Embedding] = {}
        for number in range(5):
            document = make_document(f"file:///d/{number}.txt", "v1", 100, seed=number + 1)
            put(store, document)
            embeddings |= {chunk.id: embedding for chunk, embedding in zip(*document, strict=True)}
        for seed in range(20):
            query = make_embedding(seed + 90_000, tokens=6)
            dense = {key: float(np.dot(each.dense, query.dense)) for key, each in embeddings.items()}
            sparse = {key: sparse_score(query, each) for key, each in embeddings.items()}
            best_dense = sorted(dense, key=lambda key: -dense[key])[:30]
            best_sparse = [key for key in sorted(sparse, key=lambda key: -sparse[key])[:30] if sparse[key] > 0]

            found = {candidate.id: candidate for candidate in store.candidates(query, 30)}

            assert set(found) == {*best_dense, *best_sparse}
            assert len(found) > 30  # the lists differ, else this says nothing about a union
            for key, candidate in found.items():
                assert candidate.dense_score == pytest.approx(dense[key], abs=1e-5)
                assert candidate.sparse_score == pytest.approx(sparse[key], abs=1e-5)

    def test_candidates_are_sorted_by_chunk_id_and_the_same_each_time_even_where_all_scores_tie(
        self, store: PassageStore
    ) -> None:
        chunks, _ = make_document("file:///copies", "v1", 30)
        put(store, (chunks, [make_embedding(1)] * 30))
        query = make_embedding(2)
        first = identifiers(store.candidates(query, 100))
        assert len(first) == 30
        assert first == sorted(first)
        for _ in range(10):
            assert identifiers(store.candidates(query, 100)) == first
        few = identifiers(store.candidates(query, 5))
        assert few == sorted(few)
        for _ in range(10):
            assert identifiers(store.candidates(query, 5)) == few

    def test_a_passage_that_shares_no_token_with_the_question_has_sparse_score_zero(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 3))
        query = dataclasses.replace(
            make_embedding(4),
            sparse=SparseVector(np.array([VOCABULARY + 5], np.uint32), np.array([0.5], np.float32)),
        )
        assert [candidate.sparse_score for candidate in store.candidates(query, 10)] == [0.0, 0.0, 0.0]

    def test_a_question_without_lexical_weights_is_answered_by_the_dense_vectors(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 5)
        put(store, (chunks, embeddings))
        nothing = SparseVector(np.array([], np.uint32), np.array([], np.float32))
        found = store.candidates(Embedding(embeddings[2].dense, nothing), 1)
        assert identifiers(found) == [chunks[2].id]
        assert found[0].dense_score == pytest.approx(1.0, abs=1e-5)
        assert found[0].sparse_score == 0.0

    def test_a_passage_without_lexical_weights_is_stored_and_found(self, store: PassageStore) -> None:
        nothing = SparseVector(np.array([], np.uint32), np.array([], np.float32))
        chunk, embedding = make_chunk(), Embedding(make_embedding(1).dense, nothing)
        put(store, ([chunk], [embedding]))
        found = everything(store)
        assert [(each.chunk, each.sparse_score) for each in found] == [(chunk, 0.0)]
        assert store.embeddings([chunk.text_hash])[chunk.text_hash].sparse.ids.size == 0

    def test_an_empty_index_answers_with_nothing(self, store: PassageStore) -> None:
        assert everything(store) == []
        assert list(store.documents()) == []
        assert list(store.chunks("file:///a")) == []
        assert store.document("file:///a") is None
        assert store.embeddings(["00"]) == {}

    def test_a_candidate_says_what_its_passage_does_and_leads_to_all_that_is_stored_of_it(
        self, store: PassageStore
    ) -> None:
        german = make_document("file:///de", "v1", 3, language="de")
        english = make_document("file:///en", "v1", 4, seed=2, language="en")
        held: dict[str, tuple[Chunk, Embedding]] = {}
        for document in (german, english):
            put(store, document)
            held |= {chunk.id: (chunk, embedding) for chunk, embedding in zip(*document, strict=True)}
        found = store.candidates(make_embedding(3), 100)
        assert set(identifiers(found)) == set(held)
        for each in found:
            assert each == Candidate.of(held[each.id][0], each.dense_score, each.sparse_score)
        stored = store.passages(identifiers(found), with_vectors=True)
        assert {identifier: each.chunk for identifier, each in stored.items()} == {
            identifier: chunk for identifier, (chunk, _) in held.items()
        }
        for identifier, passage in stored.items():
            assert passage.vector is not None
            assert passage.vector.dense.dtype == np.float32
            np.testing.assert_allclose(passage.vector.dense, held[identifier][1].dense, atol=1e-6)
            assert passage.vector.terms == held[identifier][1].sparse.ids.size
        (first,) = store.passages([found[0].id]).values()
        assert first.vector is None
        assert store.passages([]) == {}

    def test_candidates_that_have_been_replaced_or_are_only_staged_are_left_out_when_they_are_read(
        self, store: PassageStore
    ) -> None:
        put(store, make_document("file:///a", "v1", 3))
        put(store, make_document("file:///b", "v1", 2, seed=5))
        found = identifiers(store.candidates(make_embedding(3), 100))
        put(store, make_document("file:///a", "v2", 3, ingested_at=2.0))
        staged, embeddings = make_document("file:///c", "v1", 2, seed=6)
        store.stage(staged, embeddings)
        left = store.passages([*found, *(chunk.id for chunk in staged)])
        assert sorted(each.chunk.uri for each in left.values()) == ["file:///b", "file:///b"]

    # Terms of a question that are to be weighed by the passages

    def test_a_question_s_terms_are_weighed_by_how_rare_they_are_among_the_live_passages(
        self, store: PassageStore
    ) -> None:
        held: dict[str, tuple[str, Embedding]] = {}
        for number, language in enumerate(("en", "de", "ja")):
            document = make_terms(f"file:///{language}", 40, seed=number, language=language)
            put(store, document)
            held |= {chunk.id: (language, each) for chunk, each in zip(*document, strict=True)}
        staged = make_terms("file:///staged", 60, seed=9)
        store.stage(*staged)  # of these nobody sees anything, nor are they counted
        for seed in range(5):
            query = make_question(seed)
            assert isinstance(query.sparse, TermCounts)
            known = frequencies((language, each.sparse.ids) for language, each in held.values())
            scored = dataclasses.replace(query, sparse=weighted(query.sparse, known))
            expected = {key: sparse_score(scored, each) for key, (_, each) in held.items()}
            best = sorted(expected, key=lambda key: -expected[key])[:5]
            found = {each.id: each.sparse_score for each in store.candidates(query, 20)}
            assert set(best) <= set(found)
            assert len(set(expected.values())) > 20  # else nothing was told apart
            for key, score in found.items():
                assert score == pytest.approx(expected[key], abs=1e-6)

    def test_what_is_rare_follows_the_passages_that_come_and_go(self, store: PassageStore) -> None:
        first = make_terms("file:///first", 4, seed=1)
        question = TermCounts(np.array([SHARED_TERM, 2**32 - 1], np.uint32), np.ones(2, np.float32))
        query = Embedding(make_embedding(5).dense, question)

        def weight_of_the_term() -> float:
            scores = {each.id: each.sparse_score for each in store.candidates(query, 50)}
            of_passage = dict(zip(first[1][0].sparse.ids.tolist(), first[1][0].sparse.weights.tolist(), strict=True))
            return float(scores[first[0][0].id] / of_passage[SHARED_TERM])

        put(store, first)
        alone = weight_of_the_term()
        put(store, make_document("file:///others", "v1", 30, seed=3))
        among_others = weight_of_the_term()
        store.remove("file:///others")
        assert alone < among_others < 0.5
        assert weight_of_the_term() == pytest.approx(alone, abs=1e-6)

    def test_words_are_weighed_by_the_passages_of_the_tenant_alone(self, shared: PassageStore) -> None:
        ops = make_terms("file:///ops", 5, seed=1, metadata={"team": "ops"})
        put(shared, ops)
        query = make_question(1)
        where = Where(metadata={"team": "ops"})
        before = {each.id: each.sparse_score for each in shared.candidates(query, 50, where)}
        put(shared, make_terms("file:///law", 50, seed=2, metadata={"team": "law"}))
        assert before == {each.id: each.sparse_score for each in shared.candidates(query, 50, where)}
        assert max(before.values()) > 0

    def test_an_empty_index_and_a_question_without_terms_are_no_error(self, store: PassageStore) -> None:
        assert store.candidates(make_question(1), 10) == []
        put(store, make_terms("file:///a", 3, seed=1))
        nothing = TermCounts(np.array([], np.uint32), np.array([], np.float32))
        found = store.candidates(Embedding(make_embedding(5).dense, nothing), 10)
        assert [each.sparse_score for each in found] == [0.0, 0.0, 0.0]

    # Filtering

    def test_languages_are_alternatives(self, store: PassageStore) -> None:
        for language in ("en", "de", "ja"):
            put(store, make_document(f"file:///{language}", "v1", 4, language=language))
        found = everything(store, Where(languages=("de", "ja")))
        assert sorted({each.chunk.language for each in found}) == ["de", "ja"]
        assert len(found) == 8
        assert everything(store, Where(languages=("fr",))) == []

    def test_a_filter_narrows_before_the_best_are_taken(self, store: PassageStore) -> None:
        query = make_embedding(5)
        near, _ = make_document("file:///near", "v1", 20, language="en")
        put(store, (near, [query] * 20))
        far = make_chunk("file:///far", language="de")
        opposite = Embedding(-query.dense, SparseVector(np.array([VOCABULARY + 1], np.uint32), np.ones(1, np.float32)))
        put(store, ([far], [opposite]))
        found = store.candidates(query, 3, Where(languages=("de",)))
        assert identifiers(found) == [far.id]
        assert found[0].dense_score == pytest.approx(-1.0, abs=1e-5)

    def test_languages_can_be_left_out(self, store: PassageStore) -> None:
        for language in ("en", "de", "ja"):
            put(store, make_document(f"file:///{language}", "v1", 4, language=language))
        found = everything(store, Where(not_languages=("de", "ja")))
        assert {each.chunk.language for each in found} == {"en"}
        both = Where(languages=("de", "en"), not_languages=("en",))
        assert {each.chunk.language for each in everything(store, both)} == {"de"}
        assert everything(store, Where(not_languages=("en", "de", "ja"))) == []

    def test_every_language_has_candidates_where_the_nearest_are_all_of_one(self, store: PassageStore) -> None:
        query = make_embedding(5)
        near, _ = make_document("file:///near", "v1", 20, language="en")
        put(store, (near, [query] * 20))
        opposite = Embedding(-query.dense, SparseVector(np.array([VOCABULARY + 1], np.uint32), np.ones(1, np.float32)))
        for language, count in (("de", 9), ("ja", 8), ("bn", 1), ("ko", 2)):
            far, _ = make_document(f"file:///{language}", "v1", count, language=language)
            put(store, (far, [opposite] * count))
        staged, _ = make_document("file:///staged", "v1", 8, language="ru")
        store.stage(staged, [query] * 8)
        assert {each.language for each in store.candidates(query, 3)} == {"en"}

        def counted(**given: Any) -> Counter[str]:
            return Counter(each.language for each in store.candidates(query, 3, language_depth=4, **given))

        found = counted()
        assert found["de"] == found["ja"] == 4
        assert found == {"en": 4, "de": 4, "ja": 4, "bn": 1, "ko": 2}
        assert set(counted(where=Where(languages=("de", "bn")))) == {"de", "bn"}
        assert set(counted(where=Where(not_languages=("en", "de")))) == {"ja", "bn", "ko"}
        of_all = {each.id: each for each in store.candidates(query, 1000)}
        for each in store.candidates(query, 3, language_depth=4):
            assert (each.dense_score, each.sparse_score) == pytest.approx(
                (of_all[each.id].dense_score, of_all[each.id].sparse_score), abs=1e-5
            )

    def test_beyond_the_most_frequent_languages_the_others_share(self, store: PassageStore) -> None:
        query = make_embedding(5)
        names = [f"{first}{second}" for first in "abcd" for second in "abcdefghij"]
        for at, language in enumerate(names):
            chunks, embeddings = make_document(f"file:///{language}", "v1", 3 if at < 36 else 2, language=language)
            put(store, (chunks, embeddings))
        found = Counter(each.language for each in store.candidates(query, 1, language_depth=2))
        assert [found[language] >= 2 for language in names[:32]] == [True] * 32
        assert sum(found[language] for language in names[32:]) >= 16
        assert list(store.languages()) == names
        assert store.languages()["aa"] == 3

    def test_documents_are_alternatives_and_no_document_means_none(self, store: PassageStore) -> None:
        for name in ("a", "b", "c"):
            put(store, make_document(f"file:///{name}", "v1", 2))
        found = everything(store, Where(uris=("file:///a", "file:///c", "file:///unknown")))
        assert sorted({each.chunk.uri for each in found}) == ["file:///a", "file:///c"]
        assert everything(store, Where(uris=())) == []
        assert len(everything(store, Where(uris=None))) == 6

    def test_all_metadata_must_hold_exactly(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 1, metadata={"team": "ops", "release-note_2": "Ж 1"}))
        put(store, make_document("file:///b", "v1", 1, metadata={"team": "ops"}))
        put(store, make_document("file:///c", "v1", 1, metadata={"team": "op"}))

        def uris(**metadata: str) -> list[str]:
            return sorted(each.chunk.uri for each in everything(store, Where(metadata=metadata)))

        assert uris(team="ops") == ["file:///a", "file:///b"]
        assert uris(**{"team": "ops", "release-note_2": "Ж 1"}) == ["file:///a"]
        assert uris(team="OPS") == []
        assert uris(unknown="ops") == []
        assert uris(**{'team"].x': "ops"}) == []

    def test_filters_are_joined_by_and(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 1, language="de", metadata={"team": "ops"}))
        put(store, make_document("file:///b", "v1", 1, language="de"))
        put(store, make_document("file:///c", "v1", 1, language="en", metadata={"team": "ops"}))
        where = Where(languages=("de",), uris=("file:///a", "file:///b", "file:///c"), metadata={"team": "ops"})
        assert [each.chunk.uri for each in everything(store, where)] == ["file:///a"]

    def test_globs_over_sources_must_have_been_expanded(self, store: PassageStore) -> None:
        with pytest.raises(ValueError, match=r"where\.sources"):
            everything(store, Where(sources=("*.md",)))

    # Staging and committing

    def test_staged_points_are_seen_by_nobody(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 3)
        store.stage(chunks, embeddings)
        assert everything(store) == []
        assert everything(store, Where(uris=("file:///a",), languages=("en",))) == []
        assert list(store.documents()) == []
        assert store.document("file:///a") is None
        assert list(store.chunks("file:///a")) == []
        assert store.embeddings([chunks[0].text_hash]) == {}

    def test_the_old_version_answers_until_the_commit_and_the_new_one_from_then_on(self, store: PassageStore) -> None:
        old = make_document("file:///a", "v1", 3, seed=1)
        new = make_document("file:///a", "v2", 2, seed=2, ingested_at=1_800_000_000.0)
        other = make_document("file:///b", "v1", 1, seed=3)
        put(store, old)
        put(store, other)
        store.stage(*new)
        assert sorted(identifiers(everything(store))) == sorted(chunk.id for chunk in old[0] + other[0])
        store.commit("file:///a", "v2")
        assert sorted(identifiers(everything(store))) == sorted(chunk.id for chunk in new[0] + other[0])
        assert [each.version for each in store.documents()] == ["v2", "v1"]
        assert store.embeddings([old[0][0].text_hash]) == {}

    def test_a_document_may_be_staged_in_several_calls(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 700)
        store.stage(chunks[:300], embeddings[:300])
        store.stage(chunks[300:], embeddings[300:])
        store.commit("file:///a", "v1")
        assert list(store.chunks("file:///a")) == chunks

    def test_several_documents_may_be_staged_before_the_first_commit(self, store: PassageStore) -> None:
        first, second = make_document("file:///a", "v1", 2), make_document("file:///b", "v1", 2)
        store.stage(first[0] + second[0], first[1] + second[1])
        store.commit("file:///a", "v1")
        assert [each.uri for each in store.documents()] == ["file:///a"]
        store.commit("file:///b", "v1")
        assert [each.uri for each in store.documents()] == ["file:///a", "file:///b"]

    def test_staging_and_committing_what_is_live_already_changes_nothing(self, store: PassageStore) -> None:
        document = make_document("file:///a", "v1", 3)
        put(store, document)
        store.stage(*document)
        assert len(everything(store)) == 3
        store.commit("file:///a", "v1")
        assert list(store.chunks("file:///a")) == document[0]

    def test_a_version_that_was_not_staged_cannot_be_committed(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 3))
        with pytest.raises(StoreError, match="nothing is staged"):
            store.commit("file:///a", "v2")
        assert len(everything(store)) == 3

    def test_a_version_that_was_staged_in_part_cannot_be_committed(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 3)
        store.stage(chunks[:2], embeddings[:2])
        with pytest.raises(StoreError, match="2 of 3"):
            store.commit("file:///a", "v1")
        assert everything(store) == []

    def test_removing_a_document_takes_all_of_it_and_no_other(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 3, seed=1))
        put(store, make_document("file:///b", "v1", 2, seed=2))
        store.stage(*make_document("file:///a", "v2", 3, seed=3))
        store.remove("file:///a")
        assert [each.uri for each in store.documents()] == ["file:///b"]
        assert len(everything(store)) == 2
        with pytest.raises(StoreError, match="nothing is staged"):
            store.commit("file:///a", "v2")

    def test_removing_an_unknown_document_changes_nothing(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 3))
        store.remove("file:///b")
        assert len(everything(store)) == 3

    # What comes back

    def test_a_chunk_comes_back_equal_in_every_field(self, store: PassageStore) -> None:
        uri = "file:///%D0%B4%D0%BE%D0%BA/%E6%96%87.pdf"
        texts = ("Füße, naïve, 漢字かな, עברית, 👩‍👩‍👧 and\na line\x00", "ไทยไม่มีช่องว่าง")
        chunks = [
            Chunk(
                id=point_id(uri, "ab12", ordinal),
                uri=uri,
                version="ab12",
                ordinal=ordinal,
                chunk_count=2,
                text=text,
                start=12 * ordinal,
                end=12 * ordinal + len(text),
                title="Đề mục “1”",
                headings=("第一章", "§ 2\t") if ordinal else (),
                page=None if ordinal else 3,
                language="th" if ordinal else "de",
                document_language="mul",
                format="pdf",
                text_hash=text_hash(text),
                ingested_at=1_754_380_800.123456,
                metadata={"Author_1": "Þóra", "empty": ""} if ordinal else {},
            )
            for ordinal, text in enumerate(texts)
        ]
        put(store, (chunks, [make_embedding(1), make_embedding(2)]))
        assert list(store.chunks(uri)) == chunks
        assert sorted(everything(store)[at].chunk.ordinal for at in (0, 1)) == [0, 1]
        assert {each.chunk.id: each.chunk for each in everything(store)} == {chunk.id: chunk for chunk in chunks}

    def test_documents_are_listed_by_uri_with_what_their_chunks_say(self, store: PassageStore) -> None:
        for number in (3, 1, 2):
            put(store, make_document(f"file:///{number}", f"v{number}", number, language="fr", metadata={"n": "x"}))
        documents = list(store.documents())
        assert [each.uri for each in documents] == ["file:///1", "file:///2", "file:///3"]
        assert [each.chunk_count for each in documents] == [1, 2, 3]
        one = documents[1]
        assert (one.version, one.title, one.language, one.format) == ("v2", "Tides", "en", "md")
        assert (one.ingested_at, dict(one.metadata)) == (1_700_000_000.25, {"n": "x"})
        assert store.document("file:///2") == one
        assert store.document("file:///4") is None

    def test_chunks_come_by_ordinal(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 40)
        put(store, (chunks[::-1], embeddings[::-1]))
        assert [chunk.ordinal for chunk in store.chunks("file:///a")] == list(range(40))

    def test_embeddings_come_back_by_hash_as_they_were_stored(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 600)
        put(store, (chunks, embeddings))
        hashes = [chunk.text_hash for chunk in chunks]
        found = store.embeddings([*hashes, "unknown", hashes[0]])
        assert set(found) == set(hashes)
        for chunk, embedding in zip(chunks, embeddings, strict=True):
            stored = found[chunk.text_hash]
            types = [each.dtype.name for each in (stored.dense, stored.sparse.ids, stored.sparse.weights)]
            assert types == ["float32", "uint32", "float32"]
            np.testing.assert_allclose(stored.dense, embedding.dense, atol=1e-6)
            np.testing.assert_array_equal(stored.sparse.ids, embedding.sparse.ids)
            np.testing.assert_array_equal(stored.sparse.weights, embedding.sparse.weights)

    def test_embeddings_that_came_back_can_be_stored_again(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 5)
        put(store, (chunks, embeddings))
        found = store.embeddings([chunk.text_hash for chunk in chunks])
        moved = [dataclasses.replace(c, uri="file:///b", id=point_id("file:///b", "v1", c.ordinal)) for c in chunks]
        put(store, (moved, [found[chunk.text_hash] for chunk in moved]))
        assert len(everything(store)) == 10

    # What an index was made with

    def test_an_index_says_what_it_was_made_with(self, store: PassageStore, reopen: Reopen) -> None:
        assert store.info() == INFO
        store.prepare(INFO)
        assert reopen(store).info() == INFO

    def test_another_model_is_refused_with_both_names_and_the_way_out(self, store: PassageStore) -> None:
        other = dataclasses.replace(INFO, model="other-model", fingerprint="fedcba")
        with pytest.raises(IndexMismatchError) as refusal:
            store.prepare(other)
        for part in ("tiny-model", INFO.fingerprint, "other-model", "fedcba", "--collection"):
            assert part in str(refusal.value)
        assert store.info() == INFO

    def test_another_schema_is_refused_with_both_versions(self, store: PassageStore) -> None:
        for version in (SCHEMA_VERSION - 1, SCHEMA_VERSION + 1):
            with pytest.raises(IndexMismatchError, match=f"version {SCHEMA_VERSION}.* version {version}"):
                store.prepare(dataclasses.replace(INFO, schema_version=version))

    def test_the_same_model_under_another_name_is_accepted(self, store: PassageStore) -> None:
        store.prepare(dataclasses.replace(INFO, model="/models/copy-of-tiny"))
        assert store.info() == INFO

    # Tenants

    def test_a_search_sees_the_tenant_it_names_alone_and_naming_none_is_refused(self, shared: PassageStore) -> None:
        for team in ("ops", "law"):
            put(shared, make_document(f"file:///{team}", "v1", 3, metadata={"team": team}))
        found = everything(shared, Where(metadata={"team": "ops"}))
        assert [each.chunk.uri for each in found] == ["file:///ops"] * 3
        assert everything(shared, Where(metadata={"team": "sales"})) == []
        for where in (Where(), Where(languages=("en",)), Where(uris=("file:///law",)), Where(metadata={"team": ""})):
            with pytest.raises(InputError, match=r"several tenants.*--where team=NAME") as refusal:
                everything(shared, where)
            assert "\n" not in str(refusal.value)

    def test_a_document_of_no_tenant_is_refused_and_nothing_is_written(self, shared: PassageStore) -> None:
        for metadata in ({}, {"team": ""}, {"department": "ops"}):
            with pytest.raises(InputError, match="--meta team=NAME"):
                shared.stage(*make_document("file:///a", "v1", 2, metadata=metadata))
        with pytest.raises(StoreError, match="nothing is staged"):
            shared.commit("file:///a", "v1")
        assert list(shared.documents()) == []

    def test_a_tenant_replaces_its_own_documents_and_nobody_else_s(self, shared: PassageStore) -> None:
        put(shared, make_document("file:///a", "v1", 3, metadata={"team": "ops"}))
        with pytest.raises(InputError, match=r"another 'team' than 'law'.*`ingest remove`"):
            shared.stage(*make_document("file:///a", "v2", 2, metadata={"team": "law"}))
        assert [each.version for each in shared.documents()] == ["v1"]
        put(shared, make_document("file:///a", "v3", 2, metadata={"team": "ops"}, ingested_at=1_800_000_000.0))
        assert [each.version for each in shared.documents()] == ["v3"]
        shared.remove("file:///a")
        put(shared, make_document("file:///a", "v2", 2, metadata={"team": "law"}))
        assert len(everything(shared, Where(metadata={"team": "law"}))) == 2

    def test_the_tenant_key_is_the_index_s_own_whatever_a_client_knows_of_it(
        self, shared: PassageStore, reopen: Reopen
    ) -> None:
        put(shared, make_document("file:///a", "v1", 2, metadata={"team": "ops"}))
        unaware = reopen(shared)
        unaware.prepare(INFO)
        assert unaware.info() == WITH_TENANTS
        with pytest.raises(InputError, match="'team'"):
            everything(unaware)
        with pytest.raises(InputError, match="'team'"):
            unaware.stage(*make_document("file:///b", "v1", 1))

    def test_another_tenant_key_is_refused_with_both_names(self, shared: PassageStore) -> None:
        with pytest.raises(IndexMismatchError, match=r"by 'team', but RAG_STORE__TENANT_KEY is 'site'.*--collection"):
            shared.prepare(dataclasses.replace(INFO, tenant_key="site"))
        assert shared.info() == WITH_TENANTS

    def test_an_index_without_tenants_is_not_given_any_later(self, store: PassageStore) -> None:
        with pytest.raises(IndexMismatchError, match=r"separates no tenants, but RAG_STORE__TENANT_KEY is 'team'"):
            store.prepare(WITH_TENANTS)
        put(store, make_document("file:///a", "v1", 1))
        assert len(everything(store)) == 1

    # What passages have in common

    def test_the_centre_is_the_mean_of_what_is_live_and_follows_it(self, store: PassageStore) -> None:
        assert store.centre() is None
        first, second = (make_document(f"file:///{name}", "v1", 3, seed=seed) for name, seed in (("a", 1), ("b", 50)))
        put(store, first)
        assert store.centre() == pytest.approx(np.mean([each.dense for each in first[1]], axis=0), abs=1e-6)
        store.stage(*second)
        store.commit("file:///b", "v1")
        both = [each.dense for each in (*first[1], *second[1])]
        assert store.centre() == pytest.approx(np.mean(both, axis=0), abs=1e-6)
        store.remove("file:///a")
        found = store.centre()
        assert found == pytest.approx(np.mean([each.dense for each in second[1]], axis=0), abs=1e-6)
        assert found is not None
        assert (found.dtype, found.shape) == (np.dtype(np.float32), (DIMENSION,))

    def test_the_centre_of_a_tenant_is_made_of_its_own_passages(self, shared: PassageStore) -> None:
        documents = {
            team: make_document(f"file:///{team}", "v1", 2, seed=seed, metadata={"team": team})
            for team, seed in (("red", 1), ("blue", 50))
        }
        for document in documents.values():
            put(shared, document)
        for team, (_, embeddings) in documents.items():
            found = shared.centre(Where(metadata={"team": team}))
            assert found == pytest.approx(np.mean([each.dense for each in embeddings], axis=0), abs=1e-6)
        assert shared.centre(Where(metadata={"team": "green"})) is None
        with pytest.raises(InputError, match="several tenants"):
            shared.centre()

    # What is refused

    def test_a_vector_that_cannot_be_stored_is_refused_and_nothing_is_written(
        self, store: PassageStore, reopen: Reopen
    ) -> None:
        put(store, make_document("file:///a", "v1", 2))
        chunks, embeddings = make_document("file:///b", "v1", 3)
        good = embeddings[2]

        def with_dense(dense: NDArray[Any]) -> Embedding:
            return dataclasses.replace(good, dense=dense)

        def with_sparse(ids: list[int], weights: list[float]) -> Embedding:
            sparse = SparseVector(np.array(ids, np.uint32), np.array(weights, np.float32))
            return dataclasses.replace(good, sparse=sparse)

        faults = [
            ("shape", make_embedding(1, dimension=DIMENSION + 1)),
            ("norm", with_dense(good.dense * np.float32(2))),
            ("norm", with_dense(np.full(DIMENSION, np.nan, np.float32))),
            ("norm", with_dense(np.full(DIMENSION, np.inf, np.float32))),
            ("float64", with_dense(good.dense.astype(np.float64))),
            ("ascending", with_sparse([4, 4], [1, 1])),
            ("ascending", with_sparse([5, 4], [1, 1])),
            ("weights", with_sparse([4], [0])),
            ("weights", with_sparse([4], [-1])),
            ("weights", with_sparse([4], [np.nan])),
            ("weights of shape", with_sparse([4, 5], [1])),
        ]
        for fault, embedding in faults:
            with pytest.raises(StoreError, match=fault) as refusal:
                store.stage(chunks, [*embeddings[:2], embedding])
            assert "\n" not in str(refusal.value)
        again = reopen(store)
        assert [each.uri for each in again.documents()] == ["file:///a"]
        put(again, (chunks, embeddings))
        assert list(again.chunks("file:///b")) == chunks

    def test_chunks_and_embeddings_must_be_as_many(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 3)
        with pytest.raises(StoreError, match="3 chunks came with 2 embeddings"):
            store.stage(chunks, embeddings[:2])

    def test_a_question_of_another_model_is_refused(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 2))
        with pytest.raises(StoreError, match="shape"):
            store.candidates(make_embedding(1, dimension=DIMENSION * 2), 10)
        assert len(everything(store)) == 2

    # Looking at every point

    def test_every_point_is_inspected_once_in_the_order_of_ids_staged_ones_too(self, store: PassageStore) -> None:
        live, staged = make_document("file:///a", "v1", 300, seed=1), make_document("file:///b", "v1", 3, seed=2)
        put(store, live)
        store.stage(*staged)
        found = list(store.inspect())
        assert [each.id for each in found] == sorted(chunk.id for chunk in live[0] + staged[0])
        assert {each.id: each.chunk for each in found} == {chunk.id: chunk for chunk in live[0] + staged[0]}
        assert {(each.uri, each.version, each.state) for each in found} == {
            ("file:///a", "v1", "live"),
            ("file:///b", "v1", "staged"),
        }
        assert not any(each.fault or each.abandoned for each in found), "whole, and of a writer that lives"
        assert {each.id for each in store.inspect("file:///b")} == {chunk.id for chunk in staged[0]}
        assert list(store.inspect("file:///c")) == []
        store.commit("file:///b", "v1")

    def test_single_points_are_discarded_unless_their_state_is_another_by_now(self, store: PassageStore) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 5)
        store.stage(chunks, embeddings)
        seen = list(store.inspect())
        store.commit("file:///a", "v1")
        store.discard(seen)
        assert list(store.chunks("file:///a")) == chunks
        store.discard([each for each in store.inspect() if each.id in (chunks[1].id, chunks[4].id)])
        assert [chunk.ordinal for chunk in store.chunks("file:///a")] == [0, 2, 3]
        store.discard([])
        assert len(everything(store)) == 3

    def test_what_a_live_version_lacks_is_staged_again_and_the_rest_answers_meanwhile(
        self, store: PassageStore
    ) -> None:
        chunks, embeddings = make_document("file:///a", "v1", 4)
        put(store, (chunks, embeddings))
        store.discard([each for each in store.inspect() if each.id in (chunks[0].id, chunks[2].id)])
        store.stage(chunks, embeddings)
        assert sorted(identifiers(everything(store))) == sorted(chunks[at].id for at in (1, 3))
        store.commit("file:///a", "v1")
        assert list(store.chunks("file:///a")) == chunks
        assert len(everything(store)) == 4

    # Closing

    def test_reopening_keeps_everything(self, store: PassageStore, reopen: Reopen) -> None:
        first, second = make_document("file:///a", "v1", 30, seed=1), make_document("file:///b", "v1", 3, seed=2)
        put(store, first)
        put(store, make_document("file:///b", "v0", 5, seed=3))
        put(store, second)
        before = everything(store)
        again = reopen(store)
        assert everything(again) == before
        assert list(again.chunks("file:///a")) == first[0]
        assert list(again.chunks("file:///b")) == second[0]

    def test_what_was_staged_and_not_committed_is_gone_after_closing(self, store: PassageStore, reopen: Reopen) -> None:
        put(store, make_document("file:///a", "v1", 2))
        document = make_document("file:///a", "v2", 2)
        store.stage(*document)
        again = reopen(store)
        assert [each.version for each in again.documents()] == ["v1"]
        with pytest.raises(StoreError, match="nothing is staged"):
            again.commit("file:///a", "v2")
        put(again, document)
        assert [each.version for each in again.documents()] == ["v2"]

    def test_closing_twice_is_harmless(self, store: PassageStore) -> None:
        put(store, make_document("file:///a", "v1", 2))
        store.close()
        store.close()
