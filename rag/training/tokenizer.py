"""The student's tokenizer: SentencePiece unigram trained on the pairs, in XLM-R's layout, or taken over."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from rag.errors import CheckpointError, InputError
from rag.training.parallel import ParallelText

FILES = ("tokenizer.json", "sentencepiece.bpe.model", "tokenizer_config.json", "special_tokens_map.json")
"""What a tokenizer is on disk; the first is what this program reads, the others are for other libraries."""

BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3
"""XLM-R's special tokens, by id."""

SPECIALS = 4
"""Ids below this are no text."""

_UNSPACED = frozenset({"zh", "ja", "ko", "th", "lo", "km", "my"})
_CHARACTERS = 26_000_000  # of the sample that SentencePiece is trained on
_LONGEST = 500
_EXPONENT = 0.4


def train(text: ParallelText, vocabulary: int, folder: Path, seed: int) -> None:
    """Trains a tokenizer of about `vocabulary` pieces and writes it to `folder`.

    Languages are sampled in proportion to their characters ** 0.4, so that small ones get pieces of their own.

    Raises:
        InputError: there is too little text for so many pieces.
    """
    import sentencepiece

    trained = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_sample(text, seed)),
            model_writer=trained,
            vocab_size=vocabulary,
            model_type="unigram",
            character_coverage=0.9996,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            normalization_rule_name="nmt_nfkc",
            # One thread: with more, the pieces' scores depend on how the work was shared out.
            num_threads=1,
            minloglevel=2,
            input_sentence_size=300_000,
            shuffle_input_sentence=False,
            max_sentence_length=4_000,
            seed_sentencepiece_size=400_000,
            num_sub_iterations=1,
        )
    except RuntimeError as error:
        most = re.search(r"value <= (\d+)", str(error))
        told = f"they make {most[1]} at most" if most else " ".join(str(error).split())[-160:]
        raise InputError(
            f"no tokenizer of {vocabulary} pieces can be trained on {len(text.other)} pairs ({told}): "
            "lower the recipe's student.vocabulary"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILES[1]).write_bytes(trained.getvalue())
    _as_xlm_r(trained.getvalue()).save(str(folder / FILES[0]))


def take_over(source: Path, folder: Path) -> None:
    """Copies the tokenizer of a checkpoint.

    Raises:
        CheckpointError: it has none, or one whose special tokens are not XLM-R's.
    """
    path = source / FILES[0]
    if not path.is_file():
        raise CheckpointError(f"{source} has no {FILES[0]}: give the folder of a checkpoint in BGE-M3's layout")
    tokenizer = load(source)
    for token, number in (("<s>", BEGIN), ("<pad>", PAD), ("</s>", END)):
        if tokenizer.token_to_id(token) != number:
            raise CheckpointError(f"{path} has {token} as {tokenizer.token_to_id(token)} where XLM-R has {number}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def digest(folder: Path) -> str:
    """SHA-256 of a folder's tokenizer.

    Raises:
        CheckpointError: it has none.
    """
    path = folder / FILES[0]
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}): give a checkpoint in BGE-M3's layout"
        ) from error


def load(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, neither padding nor truncating.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = folder / FILES[0]
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise CheckpointError(f"{path} cannot be read ({error}): copy it again from the model") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode(
    tokenizer: Tokenizer, texts: list[str], longest: int
) -> tuple[npt.NDArray[np.uint16 | np.int32], npt.NDArray[np.int64]]:
    """Token ids of all texts in one array, special tokens left out, and (texts + 1,) where each begins."""
    kind = np.uint16 if tokenizer.get_vocab_size() < 65_536 else np.int32
    parts = [np.zeros(0, kind)]
    lengths = [0]
    for start in range(0, len(texts), 50_000):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + 50_000], add_special_tokens=False):
            ids = (encoding.ids or [UNKNOWN])[:longest]
            parts.append(np.array(ids, kind))
            lengths.append(len(ids))
    return np.concatenate(parts), np.cumsum(lengths)


def _sample(text: ParallelText, seed: int) -> list[str]:
    draw = np.random.default_rng([seed, 2])
    kept = np.ones(len(text.other), bool)
    kept[text.held_out] = False
    by_language = {"en": list(text.english)}
    for position, language in enumerate(text.languages):
        pairs = np.flatnonzero((text.pair_language == position) & kept)
        by_language[language] = [text.other[pair] for pair in pairs]
    shares = {language: sum(map(len, texts)) ** _EXPONENT for language, texts in by_language.items()}
    sample: list[str] = []
    for language, texts in by_language.items():
        # A character of the unspaced scripts says more; as many would give them pieces of whole phrases.
        fewer = 0.55 if language.partition("-")[0] in _UNSPACED else 1.0
        wanted = _CHARACTERS * shares[language] / sum(shares.values()) * fewer
        for position in draw.permutation(len(texts)):
            if len(texts[position]) > _LONGEST:
                continue
            sample.append(texts[position])
            wanted -= len(texts[position])
            if wanted <= 0:
                break
    return [sample[position] for position in draw.permutation(len(sample))]


def _as_xlm_r(model: bytes) -> Tokenizer:
    """The trained pieces with XLM-R's special tokens and ids, as the tokenizers library runs them."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made when it is imported
    proto.ParseFromString(model)
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece.piece, piece.score) for piece in proto.pieces[3:]]
    pieces += [("<mask>", 0.0)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=UNKNOWN, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"],
        pair=["<s>", "$A", "</s>", "</s>", "$B", "</s>"],
        special_tokens=[("<s>", BEGIN), ("</s>", END)],
    )
    special = [AddedToken(token, special=True, normalized=False) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer.add_special_tokens([*special, AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    return tokenizer
