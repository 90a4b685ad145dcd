"""Any sentence-transformers model as embedder: what its folder is, its prompts, and the same vectors as its library."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rag import hub, lexical_terms, sentence_model
from rag.bm25 import TermCounts
from rag.checkpoint import Checkpoint
from rag.embedders.sentence_transformer import SentenceTransformerEmbedder
from rag.embedding_model import inspect
from rag.errors import CheckpointError, EmbeddingError, InputError
from rag.lexical_terms import passage_vector
from rag.sentence_model import SentenceModel
from rag.sentence_model import inspect as inspect_sentence_model
from rag.types import Embedding
from tests import tiny_corpus
from tests.test_checkpoint import Hub, files_of, online
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_sentence_models import LAYOUTS, write_minilm, write_mpnet, write_qwen3

TEXTS = [text for language in ("en", "de", "ru", "zh") for text in tiny_corpus.sentences(language)[:5]]
E5_INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
QWEN3_INSTRUCTION = "Instruct: Find what answers the question\nQuery:"
PROMPTS = {
    "multilingual-e5-small": ("query: ", "passage: "),
    "multilingual-e5-large-instruct": (E5_INSTRUCTION, ""),
    "Qwen3-Embedding-0.6B": (QWEN3_INSTRUCTION, ""),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: write(root / name) for name, write in LAYOUTS.items()}


@pytest.fixture
def e5(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to change, whose name says nothing."""
    return Path(shutil.copytree(folders["multilingual-e5-small"], tmp_path / "mine"))


def embedder(folder: Path, **settings: Any) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(inspect_sentence_model(folder, folder.name, **settings), dtype="float32")


def dense(embeddings: list[Embedding]) -> NDArray[np.float32]:
    return np.stack([each.dense for each in embeddings])


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | fields))


def reference(folder: Path, prompt: str, **options: Any) -> NDArray[np.float32]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})
    return np.asarray(model.encode(TEXTS, prompt=prompt, normalize_embeddings=True, show_progress_bar=False, **options))


# Vectors


@pytest.mark.parametrize("name", LAYOUTS)
def test_vectors_are_those_of_sentence_transformers_with_the_models_own_prompts(
    folders: dict[str, Path], name: str
) -> None:
    made = embedder(folders[name])
    query, passage = PROMPTS.get(name, ("", ""))
    passages, queries = dense(made.embed_passages(TEXTS)), dense(made.embed_queries(TEXTS))
    assert passages.dtype == np.float32
    assert passages.shape == (len(TEXTS), made.dimension)
    np.testing.assert_allclose(passages, reference(folders[name], passage), atol=1e-5)
    np.testing.assert_allclose(queries, reference(folders[name], query), atol=1e-5)
    assert (passages @ passages.T).min() < 0.95  # else all texts are alike, and nothing was compared


@pytest.mark.parametrize("name", LAYOUTS)
def test_tokens_are_counted_as_the_model_reads_them_with_the_prompt(folders: dict[str, Path], name: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folders[name]))
    prompt = PROMPTS.get(name, ("", ""))[1]
    expected = [len(tokenizer(prompt + text)["input_ids"]) for text in TEXTS]
    assert embedder(folders[name]).count_tokens(TEXTS) == expected


def test_a_texts_vector_does_not_depend_on_its_company(folders: dict[str, Path]) -> None:
    made = SentenceTransformerEmbedder(
        inspect_sentence_model(folders["Qwen3-Embedding-0.6B"], "qwen"), dtype="float32", batch_tokens=40
    )
    alone = np.stack([made.embed_passages([text])[0].dense for text in TEXTS])
    np.testing.assert_allclose(dense(made.embed_passages(TEXTS)), alone, atol=1e-5)


def test_vectors_are_cut_and_brought_to_unit_length_again(folders: dict[str, Path]) -> None:
    folder = folders["Qwen3-Embedding-0.6B"]
    made = embedder(folder, truncate_dim=16)
    vectors = dense(made.embed_passages(TEXTS))
    assert made.dimension == 16
    assert vectors.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, reference(folder, "", truncate_dim=16), atol=1e-5)


def test_more_components_than_there_are_cannot_be_kept(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="32 components: keep at most that many, not 33"):
        inspect_sentence_model(folders["distiluse-base-multilingual-cased-v2"], "model", truncate_dim=33)


@pytest.mark.parametrize("name", ["distiluse-base-multilingual-cased-v2", "Qwen3-Embedding-0.6B"])
def test_half_precision_is_near_to_full_and_gives_float32_of_unit_norm(folders: dict[str, Path], name: str) -> None:
    found = inspect_sentence_model(folders[name], name)
    made = dense(SentenceTransformerEmbedder(found, dtype="bfloat16").embed_passages(TEXTS))
    full = dense(SentenceTransformerEmbedder(found, dtype="float32").embed_passages(TEXTS))
    assert made.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    assert (made * full).sum(axis=1).min() > 0.99
    assert not np.array_equal(made, full)


def test_several_threads_get_what_one_gets(folders: dict[str, Path]) -> None:
    made = embedder(folders["paraphrase-multilingual-MiniLM-L12-v2"])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(made.embed_query, TEXTS))
        counted = list(pool.map(lambda text: made.count_tokens([text])[0], TEXTS))
    np.testing.assert_allclose(dense(found), dense(made.embed_queries(TEXTS)), atol=1e-5)
    assert counted == made.count_tokens(TEXTS)


def test_no_texts_are_no_embeddings(folders: dict[str, Path]) -> None:
    assert embedder(folders["multilingual-e5-small"]).embed_passages([]) == []


def test_lexical_weights_are_those_of_bm25_without_the_prompt(folders: dict[str, Path]) -> None:
    made = embedder(folders["multilingual-e5-small"])
    [passage], query = made.embed_passages(["The old library sells three letters."]), made.embed_query("old letters")
    plain = passage_vector("The old library sells three letters.")
    np.testing.assert_array_equal(passage.sparse.ids, plain.ids)
    np.testing.assert_array_equal(passage.sparse.weights, plain.weights)
    assert isinstance(query.sparse, TermCounts)
    assert set(query.sparse.ids.tolist()) == set(made.terms("old letters"))
    assert set(query.sparse.ids.tolist()) < set(passage.sparse.ids.tolist())


# What is refused


def test_a_text_beyond_the_window_is_refused_and_the_prompt_counts(folders: dict[str, Path]) -> None:
    made = embedder(folders["multilingual-e5-small"], query_prompt="")
    text = "lamp "
    while made.count_tokens([text])[0] < made.window:
        text += "lamp "
    assert made.count_tokens([text])[0] == made.window == 512
    made.embed_passages([text])
    with pytest.raises(EmbeddingError, match=r"text 2 of 2 has 513 tokens and the window of .* is 512"):
        made.embed_passages(["short", text + "lamp"])
    made.embed_query(text + "lamp")  # without a prompt there is room for it


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_refused(folders: dict[str, Path], name: str, text: str) -> None:
    with pytest.raises(EmbeddingError, match="text 2 of 2 is empty"):
        embedder(folders[name]).embed_passages(["lamp", text])


def test_a_text_of_punctuation_is_embedded(folders: dict[str, Path]) -> None:
    [found] = embedder(folders["multilingual-e5-small"]).embed_passages(["?!"])
    assert np.linalg.norm(found.dense) == pytest.approx(1, abs=1e-6)
    assert found.sparse.ids.size == 0


def test_a_lone_surrogate_is_refused(folders: dict[str, Path]) -> None:
    made = embedder(folders["multilingual-e5-small"])
    for refused in (made.embed_query, made.terms, lambda text: made.count_tokens([text])):
        with pytest.raises(EmbeddingError, match="lone surrogate at code point 1"):
            refused("a\ud800")


def test_vectors_that_are_not_finite_are_refused(e5: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(e5 / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][0] = float("nan")
    save_file(weights, e5 / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EmbeddingError, match=r"not finite, or zero: set RAG_EMBEDDER__DTYPE=float32"):
        embedder(e5).embed_query("lamp")


class SmallMemory:
    """A model that takes so many texts at once, and says of more what torch says for want of memory."""

    def __init__(self, model: Any, most: int) -> None:
        self._model, self._most = model, most

    def encode(self, texts: list[str], **options: Any) -> Any:
        import torch

        if len(texts) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._model.encode(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def test_a_batch_that_does_not_fit_into_memory_is_halved_and_no_text_is_lost(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    made = embedder(folders["multilingual-e5-small"])
    expected = dense(made.embed_passages(TEXTS))
    made._model = SmallMemory(made._model, 3)  # type: ignore[assignment]
    np.testing.assert_allclose(dense(made.embed_passages(TEXTS)), expected, atol=1e-5)
    assert "do not fit into the memory of cpu in float32: halved" in caplog.text
    made._model = SmallMemory(made._model, 0)  # type: ignore[assignment]
    with pytest.raises(EmbeddingError, match="ingest with smaller chunks"):
        made.embed_passages(TEXTS)


# Prompts


@pytest.mark.parametrize(
    ("name", "prompts"),
    [
        ("intfloat/multilingual-e5-large", ("query: ", "passage: ")),
        ("./models/Multilingual-E5-base/", ("query: ", "passage: ")),
        ("intfloat/e5-small-v2", ("query: ", "passage: ")),
        ("intfloat/multilingual-e5-large-instruct", (E5_INSTRUCTION, "")),
        ("somebody/other", ("", "")),
    ],
)
def test_prompts_that_a_models_files_do_not_tell_go_by_its_name(e5: Path, name: str, prompts: tuple[str, str]) -> None:
    # As recent versions of sentence-transformers save a model without prompts.
    change(e5 / "config_sentence_transformers.json", prompts={"query": "", "document": ""}, default_prompt_name=None)
    found = inspect_sentence_model(e5, name)
    assert (found.query_prompt, found.passage_prompt) == prompts


def test_a_model_made_from_another_has_the_prompts_of_that(e5: Path) -> None:
    change(e5 / "config.json", _name_or_path="intfloat/multilingual-e5-base")
    found = inspect_sentence_model(e5, "my/model")
    assert (found.query_prompt, found.passage_prompt) == ("query: ", "passage: ")


@pytest.mark.parametrize("key", ["document", "passage", "corpus"])
def test_a_models_own_prompts_come_before_the_table(e5: Path, key: str) -> None:
    change(e5 / "config_sentence_transformers.json", prompts={"query": "Q: ", key: "P: "})
    found = inspect_sentence_model(e5, "intfloat/multilingual-e5-base")
    assert (found.query_prompt, found.passage_prompt) == ("Q: ", "P: ")


def test_prompts_that_are_set_come_before_all_and_empty_ones_are_none(folders: dict[str, Path]) -> None:
    folder = folders["Qwen3-Embedding-0.6B"]
    found = inspect_sentence_model(folder, "m", query_prompt="Instruct: Be kind\nQuery: ", passage_prompt="Text: ")
    assert (found.query_prompt, found.passage_prompt) == ("Instruct: Be kind\nQuery: ", "Text: ")
    assert inspect_sentence_model(folder, "m", query_prompt="").query_prompt == ""
    made = dense(embedder(folder, query_prompt="Text: ").embed_queries(TEXTS))
    np.testing.assert_allclose(made, reference(folder, "Text: "), atol=1e-5)


# Fingerprints


def test_a_copy_elsewhere_under_another_name_has_the_same_fingerprint(folders: dict[str, Path], e5: Path) -> None:
    change(e5 / "config.json", transformers_version="0.0.0", dtype="float16", torch_dtype="float16")
    (e5 / "README.md").write_text("---\nretrieval: {sparse_weight: 2}\n---\n")
    found = inspect_sentence_model(e5, "intfloat/multilingual-e5-base")
    assert (
        found.fingerprint
        == inspect_sentence_model(folders["multilingual-e5-small"], "multilingual-e5-small").fingerprint
    )
    assert found.recommended.sparse_weight == 2


def _other_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(byte ^ 1 for byte in content[len(content) // 2 :])
    path.write_bytes(content)


DIFFERENT: dict[str, Callable[[Path], object]] = {
    "pooling": lambda folder: change(
        folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True
    ),
    "window": lambda folder: change(folder / "sentence_bert_config.json", max_seq_length=100),
    "epsilon": lambda folder: change(folder / "config.json", layer_norm_eps=1e-3),
    "normalization": lambda folder: (folder / "modules.json").write_text(
        json.dumps(json.loads((folder / "modules.json").read_text())[:2])
    ),
    "tokenizer": lambda folder: (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " "),
    "weights": _other_weights,
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_whatever_changes_the_vectors_changes_the_fingerprint(e5: Path, what: str) -> None:
    before = inspect_sentence_model(e5, "model").fingerprint
    DIFFERENT[what](e5)
    assert inspect_sentence_model(e5, "model").fingerprint != before


@pytest.mark.parametrize("setting", [{"query_prompt": "q"}, {"passage_prompt": "p"}, {"truncate_dim": 16}])
def test_prompts_and_dimension_are_part_of_the_fingerprint(e5: Path, setting: dict[str, Any]) -> None:
    before = inspect_sentence_model(e5, "model").fingerprint
    assert inspect_sentence_model(e5, "model", **setting).fingerprint != before


def test_another_way_to_make_terms_is_another_fingerprint(e5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inspect_sentence_model(e5, "model").fingerprint
    assert lexical_terms.SCHEME in sentence_model.SCHEME
    monkeypatch.setattr(sentence_model, "SCHEME", "another")
    assert inspect_sentence_model(e5, "model").fingerprint != before


def test_the_fingerprint_is_known_without_torch(e5: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rag.embedding_model import inspect; "
        "from rag.embedders.sentence_transformer import SentenceTransformerEmbedder; "
        f"made = SentenceTransformerEmbedder(inspect(Path({str(e5)!r}), 'model')); print(made.fingerprint); "
        "sys.exit(bool({'torch', 'transformers', 'tokenizers', 'sentence_transformers'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, inspect_sentence_model(e5, "model").fingerprint)


# Which kind of model a folder is


def test_a_folder_with_both_heads_is_bge_m3_though_sentence_transformers_could_load_it(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "tiny")
    assert isinstance(inspect(folder, "tiny"), Checkpoint)
    (folder / "sparse_linear.pt").unlink()
    with pytest.raises(CheckpointError, match=r"has no sparse_linear\.pt"):
        inspect(folder, "tiny")
    (folder / "colbert_linear.pt").unlink()
    assert isinstance(inspect(folder, "tiny"), SentenceModel)
    (folder / "modules.json").unlink()
    with pytest.raises(CheckpointError, match=r"neither BGE-M3's heads .* nor a modules\.json"):
        inspect(folder, "tiny")


@pytest.mark.parametrize("setting", [{"query_prompt": "q"}, {"passage_prompt": "p"}, {"truncate_dim": 16}])
def test_bge_m3_has_no_choice_of_prompts_and_dimension(tmp_path: Path, setting: dict[str, Any]) -> None:
    folder = write_tiny_checkpoint(tmp_path / "tiny")
    with pytest.raises(InputError, match="is in BGE-M3's layout, which has no such choice: unset it"):
        inspect(folder, "tiny", **setting)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "neither model.safetensors nor"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "no pooling": (lambda folder: shutil.rmtree(folder / "1_Pooling"), "1_Pooling has no config.json"),
    "modules are no JSON": (lambda folder: (folder / "modules.json").write_text("["), "cannot be read as JSON"),
    "modules are no list": (lambda folder: (folder / "modules.json").write_text("{}"), "is not what it should be"),
    "modules without type": (lambda folder: (folder / "modules.json").write_text("[3]"), "by type and path"),
    "no modules": (lambda folder: (folder / "modules.json").write_text("[]"), "lists nothing"),
    "code of its own": (
        lambda folder: (folder / "modules.json").write_text('[{"type": "custom.Model", "path": ""}]'),
        "'custom.Model', which is code that comes with the model",
    ),
    "static vectors": (
        lambda folder: (folder / "modules.json").write_text(
            '[{"type": "sentence_transformers.models.StaticEmbedding", "path": ""}]'
        ),
        "lists StaticEmbedding: use a model of a Transformer",
    ),
    "a module outside": (
        lambda folder: (folder / "modules.json").write_text(
            '[{"type": "sentence_transformers.models.Transformer", "path": "../other"}]'
        ),
        "'../other', which lies outside of it",
    ),
    "a pointer": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
        "Git LFS pointer",
    ),
    "pooling without dimension": (
        lambda folder: (folder / "1_Pooling" / "config.json").write_text("{}"),
        "does not say how long its vectors are",
    ),
    "shards that are missing": (
        lambda folder: (
            (folder / "model.safetensors")
            .rename(folder / "model.safetensors.index.json")
            .write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
        ),
        "has no model-00001-of-00002.safetensors",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(e5: Path, what: str) -> None:
    damage, message = DAMAGED[what]
    damage(e5)
    with pytest.raises(CheckpointError) as refused:
        inspect(e5, "model")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
def test_a_file_that_cannot_be_loaded_is_a_checkpoint_error(e5: Path, file: str) -> None:
    (e5 / file).write_text("{}")
    with pytest.raises(CheckpointError, match="copy it again from the"):
        embedder(e5).embed_query("lamp")


def test_a_dense_layer_with_a_foreign_activation_is_refused(tmp_path: Path) -> None:
    folder = LAYOUTS["distiluse-base-multilingual-cased-v2"](tmp_path / "model")
    change(folder / "2_Dense" / "config.json", activation_function="mine.Swish")
    with pytest.raises(CheckpointError, match=r"activation 'mine\.Swish', which is none of torch's"):
        inspect(folder, "model")


def test_a_model_has_no_more_window_than_positions(tmp_path: Path) -> None:
    for write, positions in ((write_mpnet, 512), (write_minilm, 512), (write_qwen3, 1024)):
        folder = write(tmp_path / write.__name__)
        change(folder / "tokenizer_config.json", model_max_length=10**30)
        (folder / "sentence_bert_config.json").unlink(missing_ok=True)
        assert inspect_sentence_model(folder, "model").window == positions


def test_odd_numbers_in_a_configuration_leave_the_others(tmp_path: Path) -> None:
    folder = write_mpnet(tmp_path / "model")
    change(folder / "config.json", pad_token_id=None)
    change(folder / "sentence_bert_config.json", max_seq_length=float("inf"))
    assert inspect_sentence_model(folder, "model").window == 512


def test_a_folder_of_the_hubs_cache_is_known_by_its_model(folders: dict[str, Path]) -> None:
    named = inspect_sentence_model(folders["multilingual-e5-small"], "intfloat/multilingual-e5-small")
    cached = "/cache/models--intfloat--multilingual-e5-small/snapshots/614241f622f53c4eeff9890bdc4f31cfecc418b3"
    found = inspect_sentence_model(folders["multilingual-e5-small"], cached)
    assert (found.query_prompt, found.passage_prompt) == ("query: ", "passage: ")
    assert found.fingerprint == named.fingerprint


# Fetching from the hub


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, bytes]], Hub]]:
    online(monkeypatch)
    hubs: list[Hub] = []

    def start(files: dict[str, bytes]) -> Hub:
        hubs.append(Hub(files))
        return hubs[-1]

    yield start
    for started in hubs:
        started.close()


def test_only_the_files_that_are_needed_are_fetched_and_once(
    serve: Callable[[dict[str, bytes]], Hub], folders: dict[str, Path], tmp_path: Path
) -> None:
    files = files_of(folders["distiluse-base-multilingual-cased-v2"])
    others = (
        "onnx/model.onnx",
        "openvino/openvino_model.xml",
        "pytorch_model.bin",
        "tf_model.h5",
        "2_Dense/pytorch_model.bin",
    )
    server = serve(files | dict.fromkeys(others, b"x") | {"README.md": b"# A model"})
    folder = hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)
    assert sorted(server.resolved) == sorted([*files, "README.md"])
    [found, original] = [inspect(each, "model") for each in (folder, folders["distiluse-base-multilingual-cased-v2"])]
    assert found.fingerprint == original.fingerprint
    requests = server.requests
    assert hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path) == folder
    assert server.requests == requests


def test_a_cache_that_lacks_a_modules_weights_is_completed(
    serve: Callable[[dict[str, bytes]], Hub], folders: dict[str, Path], tmp_path: Path
) -> None:
    server = serve(files_of(folders["distiluse-base-multilingual-cased-v2"]))
    folder = hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)
    blob = (folder / "2_Dense" / "model.safetensors").resolve()
    (folder / "2_Dense" / "model.safetensors").unlink()
    blob.unlink()
    server.resolved.clear()
    assert hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path) == folder
    assert server.resolved == ["2_Dense/model.safetensors"]


def test_a_checkpoint_that_lacks_one_head_on_the_hub_is_no_sentence_transformers_model(
    serve: Callable[[dict[str, bytes]], Hub], tmp_path: Path
) -> None:
    files = files_of(write_tiny_checkpoint(tmp_path / "tiny"))
    server = serve({name: content for name, content in files.items() if name != "sparse_linear.pt"})
    with pytest.raises(CheckpointError, match=r"has no sparse_linear\.pt"):
        hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)


def test_a_folder_that_cannot_be_looked_into_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        inspect(tmp_path / ("a" * 300), "long")
