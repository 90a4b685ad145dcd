"""XLM-R's tokenizer as BGE-M3 uses it: texts to token ids, what cannot be embedded refused, and ids back to words.

Importing this module loads no tokenizer: the first text that is counted does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING
from unicodedata import category

from rag.checkpoint import Checkpoint
from rag.errors import CheckpointError, EmbeddingError
from rag.segmentation import word_starts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WITHOUT_WEIGHT = ("<s>", "<pad>", "</s>", "<unk>")
"""Tokens that never count lexically, as in FlagEmbedding."""
_WITHOUT_CONTENT = ("<s>", "<pad>", "</s>")
"""A text of these alone says nothing; an unknown character does."""
_WORD_BEGINNING = "▁"
"""How SentencePiece writes the white space before a word; a token of its own where none begins with it."""
_REMOVED = "".join(map(chr, (*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F)))
"""Control characters that XLM-R's normalization removes; nothing is left of them."""
_SECTION_CHARACTERS = 1 << 17
"""Some tens of thousands of tokens: enough steps for texts of equal length to meet, and little to wait for."""


class Tokenization:
    """The tokenizer of a checkpoint, loaded by the first call. Safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Reads no file."""
        self._checkpoint = checkpoint
        self._tokenizer: Tokenizer | None = None
        self._lock = Lock()

    @property
    def without_weight(self) -> list[int]:
        """Ids of the tokens that never count lexically."""
        return _ids(self._loaded(), _WITHOUT_WEIGHT)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included.

        Raises:
            EmbeddingError: a text holds a lone surrogate, which is no character.
            CheckpointError: tokenizer.json cannot be used.
        """
        refuse_surrogates(texts)
        return [encoding.ids for encoding in self._loaded().encode_batch_fast(list(texts))]

    def embeddable(self, texts: Sequence[str]) -> Iterator[list[list[int]]]:
        """Token ids as a call gives them, in sections of about 2**17 characters, of texts that can be embedded.

        While a section is used, a thread takes the next one through the tokenizer: one text after the other, so that
        a single core is taken from what is computed meanwhile.

        Raises:
            EmbeddingError: a text is empty, longer than the window or holds a lone surrogate; it is named by its place.
            CheckpointError: tokenizer.json cannot be used.
        """
        sections = list(_sections(texts))
        if len(sections) == 1:
            yield self._checked(self(texts), 0, len(texts))
            return
        refuse_surrogates(texts)
        with ThreadPoolExecutor(1, "tokenizer") as ahead:
            waiting = [ahead.submit(self._one_by_one, texts[section]) for section in sections[:1]]
            for number, section in enumerate(sections):
                token_ids = waiting.pop().result()
                if number + 1 < len(sections):
                    waiting.append(ahead.submit(self._one_by_one, texts[sections[number + 1]]))
                yield self._checked(token_ids, section.start, len(texts))

    def _one_by_one(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer = self._loaded()
        return [tokenizer.encode_batch_fast([text])[0].ids for text in texts]

    def _checked(self, token_ids: list[list[int]], start: int, count: int) -> list[list[int]]:
        """The same, of which the first is number `start` of `count` texts."""
        without_content = set(_ids(self._loaded(), _WITHOUT_CONTENT))
        for index, ids in enumerate(token_ids, start):
            if len(ids) > self._checkpoint.window:
                raise EmbeddingError(
                    f"{which(index, count)} has {len(ids)} tokens and the window of {self._checkpoint.name} is "
                    f"{self._checkpoint.window}: split it; nothing is cut off in silence"
                )
            if without_content.issuperset(ids):
                raise EmbeddingError(f"{which(index, count)} is empty or has no visible character: leave it out")
        return token_ids

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each token that may have a lexical weight → the word of `text` in which it occurs first.

        Raises:
            EmbeddingError: the text holds a lone surrogate, which is no character.
            CheckpointError: tokenizer.json cannot be used.
        """
        refuse_surrogates([text])
        text = text.lstrip(_REMOVED)  # tokenizers 0.23 shifts all offsets of a text that begins with what it removes
        without_weight = self.without_weight
        encoding = self._loaded().encode(text)  # the fast one tells no offsets
        bounds = [*word_starts(text), len(text)]
        words: dict[int, str] = {}
        for place, token_id in enumerate(encoding.ids):
            if token_id in words or token_id in without_weight:
                continue
            # A bare word beginning lies on the first character of the token after it: there it belongs.
            start, end = encoding.offsets[place + (encoding.tokens[place] == _WORD_BEGINNING)]
            # The full stop of "z.B." also ends sentences: what it matches is no abbreviation.
            if not all(category(character).startswith("P") for character in text[start:end]):
                # Outwards to whole words: compounds are joined, and marks that the offsets leave out kept.
                start, end = bounds[bisect_right(bounds, start) - 1], bounds[bisect_left(bounds, end)]
            # The end of a ligature before a removed character may be laid upon that: then the token speaks for itself.
            word = text[start:end].strip(_REMOVED).strip()
            words[token_id] = word or encoding.tokens[place].strip(_WORD_BEGINNING)
        return words

    def _loaded(self) -> Tokenizer:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = _load(self._checkpoint)
            return self._tokenizer


def _sections(texts: Sequence[str]) -> Iterator[slice]:
    """Runs of texts that have just so many characters together."""
    start = characters = 0
    for index, text in enumerate(texts):
        characters += len(text)
        if characters >= _SECTION_CHARACTERS:
            yield slice(start, index + 1)
            start, characters = index + 1, 0
    if start < len(texts):
        yield slice(start, len(texts))


def refuse_surrogates(texts: Sequence[str]) -> None:
    """Refuses what is no text, before a tokenizer does so in its own way.

    Raises:
        EmbeddingError: a text holds a lone surrogate, which is no character.
    """
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise EmbeddingError(
                f"{which(index, len(texts))} holds a lone surrogate at code point {error.start}: "
                "decode its source again, or replace the character"
            ) from error


def _load(checkpoint: Checkpoint) -> Tokenizer:
    from tokenizers import Tokenizer

    path = checkpoint.tokenizer
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every fault of the file
        raise CheckpointError(f"{path} cannot be read ({error}): copy it again from the model") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if tokenizer.get_vocab_size() > checkpoint.vocabulary_size:
        raise CheckpointError(
            f"{path} has {tokenizer.get_vocab_size()} tokens and config.json says {checkpoint.vocabulary_size}: "
            "take both files from one model"
        )
    missing = [token for token in _WITHOUT_WEIGHT if tokenizer.token_to_id(token) is None]
    if missing or tokenizer.encode("").tokens != ["<s>", "</s>"]:
        raise CheckpointError(f"{path} is not XLM-R's tokenizer: take it from the same model as the weights")
    return tokenizer


def _ids(tokenizer: Tokenizer, tokens: Sequence[str]) -> list[int]:
    ids = (tokenizer.token_to_id(token) for token in tokens)
    return [token_id for token_id in ids if token_id is not None]


def which(index: int, count: int) -> str:
    """The text at `index` of `count`, for messages."""
    return "the text" if count == 1 else f"text {index + 1} of {count}"
