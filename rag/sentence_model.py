"""What a usable sentence-transformers model is: what its folder holds, its prompts, and which vectors it makes.

Reads files only; neither torch nor sentence-transformers is needed to know a model's fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

from rag import lexical_terms
from rag.checkpoint import samples
from rag.errors import CheckpointError, InputError
from rag.model_card import Recommended, recommended
from rag.sentence_files import Module, files_of, modules_of, read_json

SPARSE_WEIGHT = 0.5
"""What BM25's scores count beside cosines where nothing else is recommended. On XQuAD with pocket-m3's dense vectors 1
is better (nDCG@10 within a language .950 for .924, across .576 for .565); larger models have better dense vectors, so
less is taken. `rag tune` finds what suits an index."""

SCHEME = f"unit norm; no truncation; {lexical_terms.SCHEME}"
"""How the last module's output becomes a vector, and what the lexical weights are; part of every fingerprint."""

_POOLING_MODES = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
_VOLATILE = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "__version__")
"""Keys that say where a file came from, not what it makes."""
_ABSOLUTE_AFTER_PADDING = ("xlm-roberta", "roberta", "camembert", "mpnet", "xlm-roberta-xl")
"""Architectures whose positions count from the padding id on, so that they have fewer than their configuration says."""


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A folder that has been found usable.

    Attributes:
        folder: where the files are.
        name: what the model was asked for.
        dimension: length of the vectors, after `truncate_dim`.
        window: longest text in tokens, special tokens and the prompt included.
        query_prompt: put before a question.
        passage_prompt: put before a passage.
        truncate_dim: components that are kept; None for all.
        fingerprint: 64 hex digits that change with whatever changes the vectors; not with path or name, nor with the
            precision of the forward pass.
        recommended: how to rank with it.
        tokenizer: its tokenizer.json.
    """

    folder: Path
    name: str
    dimension: int
    window: int
    query_prompt: str
    passage_prompt: str
    truncate_dim: int | None
    fingerprint: str
    recommended: Recommended
    tokenizer: Path


def inspect(
    folder: Path,
    name: str,
    *,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
    truncate_dim: int | None = None,
) -> SentenceModel:
    """Checks that `folder` holds a usable model and reads all that is known without its weights.

    Args:
        folder: as `rag.checkpoint.locate` gives it.
        name: what the model was asked for.
        query_prompt, passage_prompt: instead of the model's own; empty for none.
        truncate_dim: components to keep, for models that were trained for that (Kusupati et al. 2022, Matryoshka
            Representation Learning, arXiv 2205.13147).

    Raises:
        CheckpointError: a file is missing or cannot be used.
        InputError: the vectors have fewer components than are to be kept.
    """
    try:
        modules = modules_of(folder)
        transformer = modules[0].folder
        files = list(files_of(folder, modules))
        config = read_json(transformer / "config.json")
        own = _dimension(modules)
        if truncate_dim is not None and truncate_dim > own:
            raise InputError(f"{name!r} makes vectors of {own} components: keep at most that many, not {truncate_dim}")
        entry = _known(name, config)
        query, passage = _prompts(folder, entry)
        query = query if query_prompt is None else query_prompt
        passage = passage if passage_prompt is None else passage_prompt
        return SentenceModel(
            folder=folder,
            name=name,
            dimension=truncate_dim or own,
            window=_window(transformer, config),
            query_prompt=query,
            passage_prompt=passage,
            truncate_dim=truncate_dim,
            fingerprint=_fingerprint(folder, files, [SCHEME, query, passage, str(truncate_dim or own)]),
            recommended=_recommended(folder, entry),
            tokenizer=transformer / "tokenizer.json",
        )
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror or error}): check the files' permissions"
        ) from error


def _dimension(modules: Sequence[Module]) -> int:
    """Length of the vectors that the last module makes."""
    found: object = None
    for module in modules[1:]:
        config = read_json(module.folder / "config.json") if module.kind in ("Pooling", "Dense") else {}
        if module.kind == "Pooling":
            found = _pooled(config)
        elif module.kind == "Dense":
            found = config.get("out_features")
            activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
            # Of any other, sentence-transformers would take Tanh with a warning.
            if not isinstance(activation, str) or not activation.startswith("torch."):
                raise CheckpointError(f"{module.folder} has the activation {activation!r}, which is none of torch's")
        if type(found) is not int or found < 1:
            raise CheckpointError(
                f"{module.folder / 'config.json'} does not say how long its vectors are: copy it again from the model"
            )
    assert isinstance(found, int)
    return found


def _pooled(config: Mapping[str, Any]) -> object:
    """What a pooling makes: as many vectors in a row as it has modes."""
    one = config.get("word_embedding_dimension", config.get("embedding_dimension"))
    mode = config.get("pooling_mode")
    modes = sum(config.get(f"pooling_mode_{name}") is True for name in _POOLING_MODES)
    if mode is not None:
        modes = len(mode) if isinstance(mode, list) else 1
    return one * max(1, modes) if type(one) is int else None


def _window(folder: Path, config: Mapping[str, Any]) -> int:
    """As sentence-transformers has it, and never more than the model has positions."""
    limits = []
    given = read_json(folder / "sentence_bert_config.json", missing={}).get("max_seq_length")
    if given is None:
        given = read_json(folder / "tokenizer_config.json", missing={}).get("model_max_length")
    if isinstance(given, (int, float)) and 1 <= given < inf:  # a tokenizer without a limit says 1e30
        limits.append(int(given))
    positions = config.get("max_position_embeddings")
    if type(positions) is int and positions > 0:  # XLNet, which has no limit, says -1
        padding = config.get("pad_token_id")
        padding = padding if type(padding) is int else 1
        limits.append(positions - padding - 1 if config.get("model_type") in _ABSOLUTE_AFTER_PADDING else positions)
    if not limits or min(limits) < 1:
        raise CheckpointError(f"{folder} does not say how long a text may be: set max_seq_length in its configuration")
    return min(limits)


def _prompts(folder: Path, entry: Mapping[str, Any]) -> tuple[str, str]:
    """What the model wants before a question and before a passage: as its files say, else as the table does."""
    given = read_json(folder / "config_sentence_transformers.json", missing={}).get("prompts")
    own = {key: value for key, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}
    if any(own.values()):  # recent versions write empty ones for models that have none
        passages = (own[key] for key in ("document", "passage", "corpus") if key in own)
        return own.get("query", ""), next(passages, "")
    return entry.get("query", ""), entry.get("passage", "")


def _known(name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the table says of a model, by its own name or by that of the model it was made from; empty for nothing."""
    import tomllib

    table = tomllib.loads(Path(__file__).with_name("sentence_prompts.toml").read_text(encoding="utf-8"))
    for called in (name, _in_the_hubs_cache(name), config.get("_name_or_path")):
        last = PurePosixPath(str(called or "").rstrip("/")).name.lower()
        for entry in table["entries"]:
            if any(fnmatchcase(last, pattern) for pattern in entry["models"]):
                return dict(entry)
    return {}


def _in_the_hubs_cache(name: str) -> str | None:
    """The model that a folder of the hub's cache holds, `…/models--OWNER--NAME/snapshots/REVISION`."""
    parts = PurePosixPath(name).parts
    if len(parts) < 3 or parts[-2] != "snapshots" or not parts[-3].startswith("models--"):
        return None
    return parts[-3].rpartition("--")[2]


def _recommended(folder: Path, entry: Mapping[str, Any]) -> Recommended:
    said = recommended(folder)
    if said != Recommended():
        return said
    return Recommended(sparse_weight=entry.get("sparse_weight", SPARSE_WEIGHT))


def _fingerprint(folder: Path, files: Sequence[Path], scheme: Sequence[str]) -> str:
    """SHA-256 of the scheme, of settings without what is volatile, the tokenizer, and samples of the weights."""
    digest = hashlib.sha256()
    parts = [part.encode() for part in scheme]
    for file in files:
        parts.append(file.relative_to(folder).as_posix().encode())
        if file.suffix in (".safetensors", ".bin"):
            parts += samples(file)
        elif file.name == "tokenizer.json":
            parts.append(file.read_bytes())
        else:
            content = read_json(file, object)
            if isinstance(content, dict):
                content = {key: value for key, value in content.items() if key not in _VOLATILE}
            parts.append(json.dumps(content, sort_keys=True).encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
