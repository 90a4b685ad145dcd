"""Question to passages; works, and can be evaluated, without a language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePath
from time import perf_counter

import numpy as np

from rag.centring import centred
from rag.diversity import TRANSLATION_SIMILARITY, Collapse
from rag.errors import EmbeddingError, InputError, UnavailableError
from rag.fusion import Ranking, best_of, rank, reranked
from rag.language import asked_in
from rag.locations import path_of
from rag.ports import Embedder, PassageReader, QueryRewriter, Reranker
from rag.quotas import Share
from rag.results import compared, completed, folded
from rag.types import (
    ANYWHERE,
    Embedding,
    MatchedTerm,
    Mode,
    Passage,
    Ranked,
    SparseVector,
    StoredDocument,
    StoredPassage,
    Usage,
    Where,
)

_SEARCHES = 3
"""At most, for one question: what a search finds may have been replaced before it is read."""


def matches(document: StoredDocument, glob: str) -> bool:
    """Whether `glob` names the document: by its source, path, URI, a folder above it or, without a slash, its name.

    `*` also matches slashes. A name that holds wildcards itself is matched as it is written.
    """
    path = path_of(document.uri)
    folder = PurePath(glob).as_posix()  # without a leading ./ and a trailing /
    names = [document.source, document.uri, path] + ([] if "/" in glob else [PurePath(path).name])
    return any(
        name == glob or fnmatchcase(name, pattern) for name in names for pattern in (glob, folder, f"{folder}/*")
    )


@dataclass(frozen=True, slots=True)
class Stages:
    """What happens to a question and to what was found, beside the search; all of it optional.

    Attributes:
        rewriters: give other wordings, which are searched beside the question.
        reranker: puts the best in a better order.
        rerank_depth: how many it reads.
        rerank_weight: how much its order counts against the one before, 1 for as much.
        collapse: what is one result, see `rag.diversity`.
        collapse_similarity: see there.
        quotas: places for languages, see `rag.quotas`.
    """

    rewriters: Sequence[QueryRewriter] = ()
    reranker: Reranker | None = None
    rerank_depth: int = 30
    rerank_weight: float = 0.5
    collapse: Collapse = "off"
    collapse_similarity: float = TRANSLATION_SIMILARITY
    quotas: Mapping[str, Share] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found, and how.

    Attributes:
        passages: best first.
        ranking: how they were ranked.
        remarks: what was done beside the search, what it cost, and what could not be done; one line each.
        usage: of language models.
    """

    passages: list[Passage]
    ranking: Ranking
    remarks: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)


class Retriever:
    """Embeds a question, fetches candidates of both vectors in one round trip, and ranks them."""

    def __init__(
        self,
        embedder: Embedder,
        reader: PassageReader,
        ranking: Ranking,
        *,
        depth: int = 100,
        language_depth: int = 12,
        stages: Stages | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            depth: candidates taken from each vector; at least the number of passages asked for is taken.
            language_depth: candidates taken from each language beside them, where the levels of languages count.
        """
        self._embedder = embedder
        self._reader = reader
        self._ranking = ranking
        self._depth = depth
        self._language_depth = language_depth
        self._stages = stages or Stages()

    def retrieve(self, question: str, *, k: int, where: Where = ANYWHERE, mode: Mode | None = None) -> list[Passage]:
        """The `k` best passages, best first; see `search`."""
        return self.search(question, k=k, where=where, mode=mode).passages

    def search(self, question: str, *, k: int, where: Where = ANYWHERE, mode: Mode | None = None) -> Retrieved:
        """The `k` best passages, best first, and how they were found.

        A stage that cannot do its work is left out, and a remark says so.

        Args:
            mode: which scores rank; by default as the retriever was made.

        Raises:
            InputError: the question is empty or longer than the model's window, or `k` is not positive.
        """
        _refuse_empty(question)
        if k < 1:
            raise InputError(f"k is {k}: ask for at least 1 passage")
        where = self._expanded(where)
        ranking = self._ranking if mode is None else replace(self._ranking, mode=mode)
        notes = _Notes()
        wordings = [(None, self._embedded(question)), *self._rewordings(question, where, notes)]
        for left in reversed(range(_SEARCHES)):
            ranked = self._ranked_by_all(question, wordings, k, where, ranking)
            ranked, best, whole = self._read(ranked, k)
            if whole or not left:
                break
        ranked = self._reranked(question, ranked, best, ranking, notes)
        return Retrieved(self._chosen(ranked, best, k), ranking, tuple(notes.lines), notes.usage)

    def matched_terms(
        self, question: str, passages: Sequence[Embedding | None], where: Where = ANYWHERE
    ) -> list[tuple[MatchedTerm, ...]]:
        """The words of `question` that each passage shares, the one with the highest weight first.

        Args:
            passages: embeddings of passages; of None nothing is known, and no term is given.
            where: whose they are, where the index separates tenants.

        Raises:
            InputError: the question is empty or longer than the model's window.
        """
        _refuse_empty(question)
        embedded = self._embedded(question)
        if not passages:
            return []
        query = self._reader.weighted(embedded, where).sparse
        words = self._embedder.terms(question)
        return [() if passage is None else _shared(query, passage.sparse, words) for passage in passages]

    def warm_up(self) -> None:
        """Loads the model."""
        self._embedder.embed_query("warm up")

    def _embedded(self, question: str) -> Embedding:
        try:
            return self._embedder.embed_query(question)
        except EmbeddingError as error:
            raise InputError(f"the question cannot be searched for: {error}") from error

    def _ranked_by_all(
        self, question: str, wordings: Sequence[tuple[str | None, Embedding]], k: int, where: Where, ranking: Ranking
    ) -> list[Ranked]:
        """All candidates of all wordings, best first; the first is the question's own, and None."""
        rankings: list[list[Ranked]] = []
        for wording, embedding in wordings:
            found = self._ranked(question, embedding, k, where, ranking)
            rankings.append([replace(each, wording=wording) for each in found] if wording is not None else found)
        return best_of(rankings) if len(rankings) > 1 else rankings[0]

    def _ranked(self, question: str, query: Embedding, k: int, where: Where, ranking: Ranking) -> list[Ranked]:
        """All candidates, best first.

        Args:
            question: as it was asked.
            query: embedding of it, or of another wording.
        """
        # A language that is to have places needs candidates for them, however it is ranked.
        of_each = max((share.least for share in self._stages.quotas.values()), default=0)
        if ranking.normalizes:
            # One more than the level is made of: the best of a language is no part of it.
            of_each = max(of_each, self._language_depth, ranking.level_k + 1)
            ranking = replace(ranking, level_enough=min(ranking.level_enough, of_each - 1))
        # What is folded into another is to be replaced.
        wanted = k if self._stages.collapse == "off" else 3 * k
        query = self._reader.weighted(query, where)
        centre = self._reader.centre(where) if ranking.centres else None
        if centre is not None and centre.shape == query.dense.shape:  # else the store says what does not fit
            query = replace(query, dense=centred(query.dense, centre, ranking.centring))
        candidates = self._reader.candidates(query, max(self._depth, wanted), where, language_depth=of_each)
        several = ranking.normalizes and len({candidate.language for candidate in candidates}) > 1
        own = asked_in(question) if several else None
        return rank(candidates, ranking, len(candidates), own_sparse=query.sparse.own_score, asked_in=own)

    def _rewordings(self, question: str, where: Where, notes: _Notes) -> Iterator[tuple[str, Embedding]]:
        """Other wordings that the model can take, each once."""
        if not self._stages.rewriters:
            return
        held = [language for language in self._reader.languages() if language not in where.not_languages]
        languages = [language for language in held if not where.languages or language in where.languages]
        seen = {question.strip()}
        for rewriter in self._stages.rewriters:
            began = perf_counter()
            try:
                rewritten = rewriter.rewrite(question, languages)
            except UnavailableError as error:
                notes.add(f"{rewriter.name} was left out: {error}")
                continue
            notes.spent(rewritten.usage)
            found: dict[str, Embedding] = {}
            for text in dict.fromkeys(map(str.strip, rewritten.texts)):
                # What the model cannot take, too long perhaps, is nobody's question.
                if text and text not in seen:
                    with suppress(EmbeddingError):
                        found[text] = self._embedder.embed_query(text)
            seen.update(found)
            if found:
                notes.add(f"{rewriter.name}: searched also for {', '.join(map(repr, found))}", began, rewritten.usage)
            yield from found.items()

    def _read(self, ranked: list[Ranked], k: int) -> tuple[list[Ranked], Mapping[str, StoredPassage], bool]:
        """Of the best, what is stored, by id; `ranked` without what is gone by now; and whether nothing is."""
        folds = self._stages.collapse != "off" and len(ranked) > 1
        depth = max(compared(k) if folds else k, self._stages.rerank_depth if self._stages.reranker else 0)
        ids = [each.candidate.id for each in ranked[:depth]]
        stored = self._reader.passages(ids, with_vectors=folds) if ids else {}
        gone = set(ids) - stored.keys()
        return [each for each in ranked if each.candidate.id not in gone] if gone else ranked, stored, not gone

    def _reranked(
        self, question: str, ranked: list[Ranked], stored: Mapping[str, StoredPassage], ranking: Ranking, notes: _Notes
    ) -> list[Ranked]:
        """The best in the reranker's order, the others behind them."""
        reranker, depth = self._stages.reranker, self._stages.rerank_depth
        if reranker is None or len(ranked) < 2:
            return ranked
        best = [each for each in ranked[:depth] if each.candidate.id in stored]
        began = perf_counter()
        try:
            given = reranker.scores(question, [stored[each.candidate.id].chunk for each in best])
        except UnavailableError as error:
            notes.add(f"the reranker {reranker.name} was left out: {error}")
            return ranked
        notes.spent(given.usage)
        notes.add(f"reranked {len(best)} passages with {reranker.name}", began, given.usage)
        return reranked(best, given.scores, self._stages.rerank_weight, ranking) + ranked[len(best) :]

    def _chosen(self, ranked: list[Ranked], stored: Mapping[str, StoredPassage], k: int) -> list[Passage]:
        """`k` different ones, places of languages kept."""
        groups = [[position] for position in range(len(ranked))]
        if self._stages.collapse != "off" and len(ranked) > 1:
            near = [stored[each.candidate.id] for each in ranked[: compared(k)] if each.candidate.id in stored]
            groups = folded(ranked, near, self._stages.collapse, self._stages.collapse_similarity)
        return completed(ranked, groups, k, self._stages.quotas, stored, self._reader)

    def _expanded(self, where: Where) -> Where:
        """`where` with its source globs turned into the URIs of the documents they match."""
        if not where.sources:
            return where
        uris = tuple(
            document.uri
            for document in self._reader.documents()
            if any(matches(document, glob) for glob in where.sources)
        )
        if where.uris is not None:
            allowed = set(where.uris)
            uris = tuple(uri for uri in uris if uri in allowed)
        return replace(where, sources=(), uris=uris)


class _Notes:
    """What is said of a search while it goes on."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.usage = Usage()

    def add(self, line: str, began: float | None = None, usage: Usage | None = None) -> None:
        """A line, with the seconds since `began` and the tokens that it cost."""
        cost = [f"{perf_counter() - began:.2f} s"] if began is not None else []
        if usage is not None and usage.requests:
            cost.append(f"{usage.prompt_tokens + usage.completion_tokens} tokens")
        self.lines.append(f"{line} ({', '.join(cost)})" if cost else line)

    def spent(self, usage: Usage) -> None:
        self.usage = self.usage.plus(usage)


def _refuse_empty(question: str) -> None:
    if not question.strip():
        raise InputError("the question is empty: ask something")


def _shared(query: SparseVector, passage: SparseVector, words: Mapping[int, str]) -> tuple[MatchedTerm, ...]:
    """Words whose tokens lie in both vectors, each with the sum of the products of its tokens' weights."""
    ids, of_query, of_passage = np.intersect1d(query.ids, passage.ids, assume_unique=True, return_indices=True)
    products = query.weights[of_query] * passage.weights[of_passage]
    weights: dict[str, float] = {}
    for token_id, product in zip(ids.tolist(), products.tolist(), strict=True):
        weights[words[token_id]] = weights.get(words[token_id], 0.0) + product
    return tuple(MatchedTerm(*term) for term in sorted(weights.items(), key=lambda term: (-term[1], term[0])))
