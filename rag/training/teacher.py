"""The teacher's vectors: any sentence-transformers model, asked once for every English text, kept on disk."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from rag.embedders.devices import choose_dtype
from rag.errors import ModelUnavailableError
from rag.training.parallel import ParallelText

Vectors = npt.NDArray[np.float16]

_GROUP = 8192  # texts between two notes of how far it has come
_TOKENS = 8192  # of a forward pass, about
_NEIGHBOURS = 24
_WORD = re.compile(r"[a-z]{3,}")


class Encodes(Protocol):
    """What gives texts their vectors."""

    @property
    def dimension(self) -> int:
        """Length of the vectors."""

    def encode(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Vectors (texts, dimension)."""


class Teacher:
    """A sentence-transformers model and how it is asked.

    Attributes:
        dimension: length of its vectors.
    """

    def __init__(self, name: str, tokens: int) -> None:
        """Loads the model; in bf16 where the processor multiplies in it.

        Args:
            name: a folder, or a hub id that is on this machine or can be fetched.
            tokens: the longest text that is looked at; the rest is cut.

        Raises:
            ModelUnavailableError: it cannot be loaded.
        """
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        if not name.strip():
            raise ModelUnavailableError("--teacher is empty: give a folder or hub id of a sentence-transformers model")
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            dtype = choose_dtype("auto", torch.device("cpu"))
            self._model = SentenceTransformer(name, device="cpu", model_kwargs={"dtype": dtype})
        except Exception as error:
            raise ModelUnavailableError(
                f"the teacher {name!r} cannot be loaded ({' '.join(str(error).split())[:200]}): "
                "give the folder or hub id of a sentence-transformers model"
            ) from error
        self._model.max_seq_length = min(self._model.max_seq_length or tokens, tokens)
        dimension = self._model.get_embedding_dimension()
        if not dimension:
            raise ModelUnavailableError(f"the teacher {name!r} does not say how long its vectors are: use another one")
        self.dimension = dimension

    def words(self) -> list[str]:
        """English words that the teacher's vocabulary holds whole, in its order."""
        tokenizer: Any = self._model.tokenizer
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        words = [token.removeprefix("▁").removeprefix("Ġ") for token, _ in vocabulary]
        return list(dict.fromkeys(word for word in words if _WORD.fullmatch(word)))

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit vectors (texts, dimension)."""
        longest = max(map(len, texts), default=1)
        batch = max(8, _TOKENS // (min(longest // 4, self._model.max_seq_length or longest) + 3))
        vectors = self._model.encode(list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)


def encode_to(path: Path, teacher: Encodes, texts: Sequence[str], on_progress: Callable[[int, int], None]) -> Vectors:
    """Vectors of `texts`, kept in `path` as they come; what an earlier call has left there is not made again.

    Returns:
        (texts, dimension), unit norm.
    """
    shape = (len(texts), teacher.dimension)
    done_path = path.with_suffix(".done")
    done = _number_in(done_path) if path.is_file() else 0
    if not done:
        _reserve(path, shape)
    vectors = np.lib.format.open_memmap(path, mode="r+")
    order = np.argsort([len(text) for text in texts], kind="stable")
    while done < len(texts):
        group = order[done : done + _GROUP]
        vectors[group] = teacher.encode([texts[position] for position in group])
        vectors.flush()
        done += len(group)
        part = done_path.with_suffix(".part")
        part.write_text(str(done))
        part.replace(done_path)
        on_progress(done, len(texts))
    return np.asarray(vectors)


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there, or cut off as it was written: the vectors are made again
        return 0


def _reserve(path: Path, shape: tuple[int, int]) -> None:
    """Makes the file with all its bytes: where a disk fills under a mapped file, the process is killed.

    Raises:
        OSError: there is no room.
    """
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    vectors.flush()
    del vectors
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def vocabulary_texts(
    words: list[str], sentences: list[str], near: npt.NDArray[np.int64], count: int, seed: int
) -> list[tuple[str, str]]:
    """English texts of the teacher's own words, for words that parallel text lacks, each written in two ways.

    Args:
        words: as `Teacher.words` gives them.
        sentences: short everyday sentences, to put a word into.
        near: (words, n) positions of each word's nearest words in the teacher's space.
        count: how many, beside one a word.

    Returns:
        Pairs of texts that mean the same: other order, other capitals.
    """
    draw = random.Random(seed)
    pairs = [(word, word.capitalize()) for word in words]
    if not words:
        return pairs
    for kind in draw.choices(("random", "topic", "sentence"), (50, 60, 70 if sentences else 0), k=count):
        if kind == "random":
            group = draw.choices(words, k=draw.randint(2, 3))
            pairs.append((_cased(group, draw), _cased(group, draw)))
        elif kind == "topic":
            first = draw.randrange(len(words))
            others = near[first][draw.sample(range(near.shape[1]), min(draw.randint(2, 4), near.shape[1]))]
            group = [words[first], *(words[other] for other in others), *draw.choices(words, k=draw.randint(0, 2))]
            told = _cased(group, draw)
            draw.shuffle(group)
            pairs.append((told, _cased(group, draw)))
        else:
            swapped = _swapped(draw.choice(sentences), draw.choice(words), draw)
            pairs.append((swapped, swapped))
    return pairs


def nearest(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """(n, k) positions of the nearest other vectors of each of `vectors` (n, d), k at most 24."""
    table = torch.from_numpy(vectors)
    count = min(_NEIGHBOURS + 1, len(vectors))
    found = [(block @ table.T).topk(count, dim=1).indices[:, 1:] for block in torch.split(table, 2000)]
    return torch.cat(found).numpy() if found else np.zeros((0, 0), np.int64)


def everyday_sentences(text: ParallelText, limit: int) -> list[str]:
    """Short English sentences to put words into: the first of the pairs, each once."""
    short = (sentence for sentence in text.english if 3 <= len(sentence.split()) <= 12 and len(sentence) <= 80)
    return [sentence for sentence, _ in zip(short, range(limit), strict=False)]


def _cased(words: list[str], draw: random.Random) -> str:
    return " ".join(word.capitalize() if draw.random() < 0.6 else word for word in words)


def _swapped(sentence: str, word: str, draw: random.Random) -> str:
    """The sentence with one of its longer words put out for `word`; its punctuation stays."""
    parts = sentence.split()
    longer = [position for position, part in enumerate(parts) if len(part) > 3]
    if not longer:
        return sentence
    position = draw.choice(longer)
    tail = re.search(r"\W*$", parts[position])
    parts[position] = (word.capitalize() if draw.random() < 0.6 else word) + (tail[0] if tail else "")
    return " ".join(parts)
