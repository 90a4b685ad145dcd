"""From parallel text to numbers: tokenizer, the teacher's vectors, the student's space. Each part is made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.training import teacher as teachers
from rag.training import tokenizer as tokenizers
from rag.training.parallel import ParallelText
from rag.training.recipe import Recipe
from rag.training.stages import Tell
from rag.training.tokens import Floats, Pairs, Texts, chances, save

LONGEST = 400
"""Tokens of a text that are kept."""

Placing = Callable[[list[str]], Floats]
"""Where a student puts texts: (texts, hidden), unit norm."""

_SAMPLE = 60_000  # vectors that the projection is fitted to
_SAMPLE_OF_STUDENT = 20_000  # texts, likewise, where a student exists
_SENTENCES = 70_000  # everyday ones that words are put into
_TEXTS_A_TOPIC = 150
_MOST_TOPICS = 4096


def tokenizer(folder: Path, text: ParallelText, recipe: Recipe, source: Path | None, seed: int, tell: Tell) -> Path:
    """Folder of the student's tokenizer: trained, or taken over from `source`."""
    made = folder / "tokenizer"
    if not made.is_dir():
        part = folder / "tokenizer.part"
        if source is None:
            tokenizers.train(text, recipe.student.vocabulary, part, seed)
        else:
            tokenizers.take_over(source, part)
        part.replace(made)
        tell({"event": "tokenizer", "pieces": tokenizers.load(made).get_vocab_size()})
    return made


def pairs(
    folder: Path,
    text: ParallelText,
    recipe: Recipe,
    teacher: str,
    seed: int,
    tell: Tell,
    place: Placing | None = None,
) -> Pairs:
    """The pairs with the teacher's vectors as targets, as an earlier call left them in `folder` or made anew.

    Args:
        place: where a student that exists puts English texts; the targets are fitted to that.
    """
    path = folder / "pairs.npz"
    if not path.is_file():
        _make(path, text, recipe, teacher, seed, tell, place)
    with np.load(path) as kept:
        return Pairs(
            english=Texts(kept["english_ids"], kept["english_offsets"]),
            other=Texts(kept["other_ids"], kept["other_offsets"]),
            pair_english=kept["pair_english"],
            pair_language=kept["pair_language"],
            targets=kept["targets"],
            chance=kept["chance"],
            topics=kept["topics"],
            held_out=text.held_out,
            languages=text.languages,
        )


def _make(
    path: Path,
    text: ParallelText,
    recipe: Recipe,
    teacher: str,
    seed: int,
    tell: Tell,
    place: Placing | None,
) -> None:
    folder = path.parent
    asked = teachers.Teacher(teacher, recipe.teacher.tokens)

    def vectors(name: str, texts: list[str]) -> Floats:
        def note(done: int, of: int) -> None:
            tell({"event": "teacher", "texts": name, "done": done, "of": of})

        return np.asarray(teachers.encode_to(folder / f"{name}.npy", asked, texts, note), np.float32)

    english_vectors = vectors("english", text.english)
    made: list[tuple[str, str]] = []
    made_vectors = np.zeros((0, asked.dimension), np.float32)
    if recipe.teacher.vocabulary:
        words = asked.words()
        word_vectors = vectors("words", words)
        sentences = teachers.everyday_sentences(text, _SENTENCES)
        near = teachers.nearest(word_vectors)
        made = teachers.vocabulary_texts(words, sentences, near, recipe.teacher.vocabulary_texts, seed)
        made_vectors = np.concatenate([word_vectors, vectors("vocabulary", [told for told, _ in made[len(words) :]])])
    if place is None:
        projection = _projection(english_vectors, recipe.student.hidden, seed)
    else:
        projection = _fitted(english_vectors, text.english, place, seed)
    targets = np.concatenate([english_vectors, made_vectors]) @ projection
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    spoken = tokenizers.load(folder / "tokenizer")
    english_ids, english_offsets = tokenizers.encode(spoken, text.english + [told for told, _ in made], LONGEST)
    other_ids, other_offsets = tokenizers.encode(spoken, text.other + [told for _, told in made], LONGEST)
    weight = text.weight.copy()
    weight[text.held_out] = 0
    pair_language = np.concatenate([text.pair_language, np.full(len(made), len(text.languages), np.int32)])
    chance = chances(
        pair_language,
        np.concatenate([weight, np.ones(len(made))]),
        exponent=recipe.data.language_exponent,
        vocabulary=recipe.teacher.vocabulary,
        languages=len(text.languages),
    )
    numbers = np.arange(len(text.english), len(text.english) + len(made), dtype=np.int32)
    save(
        path,
        english_ids=english_ids,
        english_offsets=english_offsets,
        other_ids=other_ids,
        other_offsets=other_offsets,
        pair_english=np.concatenate([text.pair_english, numbers]),
        pair_language=pair_language,
        targets=targets.astype(np.float16),
        chance=chance,
        topics=_topics(targets, seed),
    )
    tell({"event": "pairs", "pairs": len(text.other), "english": len(text.english), "made": len(made)})


def _projection(vectors: Floats, hidden: int, seed: int) -> Floats:
    """(d, hidden) out of the teacher's space into the student's, keeping as much of its angles as fits.

    The principal axes are turned at random: layer norm is kinder to vectors without a dominant coordinate.
    """
    dimension = vectors.shape[1]
    rotation = np.linalg.qr(np.random.default_rng([seed, 5]).normal(size=(hidden, hidden)))[0]
    if hidden >= dimension:
        return np.asarray(rotation[:dimension], np.float32)
    sample = np.random.default_rng([seed, 6]).permutation(len(vectors))[:_SAMPLE]
    chosen = vectors[sample].astype(np.float64)
    _, axes = np.linalg.eigh(chosen.T @ chosen)
    return np.asarray(axes[:, ::-1][:, :hidden] @ rotation, np.float32)


def _fitted(vectors: Floats, texts: list[str], place: Placing, seed: int) -> Floats:
    """(d, hidden) that takes the teacher's vectors nearest to where the student puts the same texts."""
    sample = np.random.default_rng([seed, 6]).permutation(len(vectors))[:_SAMPLE_OF_STUDENT]
    there = place([texts[position] for position in sample])
    return np.asarray(np.linalg.lstsq(vectors[sample], there, rcond=None)[0], np.float32)


def _topics(targets: Floats, seed: int) -> npt.NDArray[np.int32]:
    """(texts,) number of the cluster that each lies in."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(_MOST_TOPICS, max(1, len(targets) // _TEXTS_A_TOPIC))
    clusters = MiniBatchKMeans(count, init="random", n_init=1, max_iter=2, batch_size=16_384, random_state=seed)
    return np.asarray(clusters.fit(targets).labels_, np.int32)
