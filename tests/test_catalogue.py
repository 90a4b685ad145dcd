"""Embedding models: the table against its sources, figures of the user's own, and folders with planted faults."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from rag.catalogue import figures, listing, local
from rag.catalogue.examination import WITHOUT, examine
from rag.catalogue.models import benchmarks, find, models
from rag.catalogue.table import listing_text
from rag.checkpoint import BUNDLED, inspect
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.sentence_transformer import SentenceTransformerEmbedder
from rag.errors import CheckpointError, InputError
from rag.evaluation.fields import evaluation_fields
from rag.evaluation.results import MEASURES, Cell, Evaluation, Interval
from rag.hub import DEFAULT_REVISIONS
from rag.language import parse_tag
from rag.sentence_files import wanted
from rag.sentence_model import SentenceModel
from rag.sentence_model import inspect as inspect_sentence_model
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_sentence_models import LAYOUTS, write_distiluse, write_minilm


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


# The table


def test_models_in_bge_m3s_layout_are_told_from_those_with_dense_vectors_alone() -> None:
    assert {model.id for model in models() if model.use == "embedder"} == {*BUNDLED, *DEFAULT_REVISIONS}
    assert {model.vectors for model in models() if model.use == "embedder"} == {("dense", "sparse", "multi")}
    assert {model.vectors for model in models() if model.use == "dense"} == {("dense",)}


@pytest.mark.parametrize("name", ["multilingual-e5-small", "multilingual-e5-base", "multilingual-e5-large"])
def test_prompts_that_are_listed_are_those_the_program_puts_before_texts(tmp_path: Path, name: str) -> None:
    listed = find(f"intfloat/{name}")
    found = inspect_sentence_model(LAYOUTS["multilingual-e5-small"](tmp_path / "e5"), f"intfloat/{name}")
    assert listed is not None
    assert (listed.query_prompt, listed.passage_prompt) == (found.query_prompt, found.passage_prompt)


def test_what_is_said_of_the_bundled_model_is_what_its_files_say() -> None:
    model, found = find("pocket-m3"), inspect(BUNDLED["pocket-m3"], "pocket-m3")
    assert model is not None
    assert (model.dimension, model.window, model.size) == (
        found.hidden_size,
        found.window,
        found.weights.stat().st_size,
    )
    card = yaml.safe_load((found.folder / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert set(model.languages) == set(card["language"])
    assert model.language_count == str(len(model.languages))
    assert model.licence is not None
    assert model.licence.lower() == card["license"]


def test_bge_m3_is_listed_at_the_commit_that_is_fetched() -> None:
    model = find("BAAI/bge-m3")
    assert model is not None
    assert model.revision == DEFAULT_REVISIONS["BAAI/bge-m3"]


def test_every_model_from_elsewhere_has_figures_and_every_figure_a_source() -> None:
    for model in models():
        assert model.figures or model.id in BUNDLED
        for figure in model.figures:
            assert figure.benchmark is benchmarks()[figure.benchmark.name]
            assert " " in figure.benchmark.source, "the source itself, not its key"
            given = [value for value in (figure.within, figure.across) if value is not None]
            assert given
            assert all(0 < value < 1 for value in given)
        for tag in model.languages:
            parse_tag(tag)


def test_published_figures_are_the_means_of_what_was_published(data: Path) -> None:
    published = json.loads((data / "mteb_baselines.json").read_text())
    compared = 0
    for model in models():
        for figure in model.figures:
            if not figure.benchmark.source.startswith("MTEB"):
                continue
            pairs = [
                (languages.split("-"), value)
                for languages, value in published[model.id.replace("/", "__")][figure.benchmark.task]["by"].items()
            ]
            within = [value for (asked, held), value in pairs if asked == held]
            across = [value for (asked, held), value in pairs if asked[:3] != held[:3]]  # not two scripts of one
            assert figure.within == (pytest.approx(fmean(within), abs=0.00051) if within else None)
            assert figure.across == pytest.approx(fmean(across), abs=0.00051)
            compared += 1
    assert compared == 24


# Figures of the user's own


def evaluation(model: str, fingerprint: str = "f" * 64, name: str = "dense", **pairs: float) -> dict[str, Any]:
    """A run as `rag eval retrieval --json` prints it; `pairs` are nDCG@10 by `de_en`."""
    cells = []
    for languages, value in pairs.items():
        asked, held = languages.split("_")
        cells.append(Cell(asked, held, 10, dict.fromkeys(MEASURES, Interval(value, value, value))))
    return evaluation_fields(Evaluation(name, "a/folder/xquad", model, fingerprint, 20, 30, tuple(cells)))


def written(path: Path, *runs: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"runs": runs, "comparisons": [], "remarks": []}))
    return path


def test_means_are_taken_within_and_across_languages(tmp_path: Path) -> None:
    runs = [evaluation("m", de_de=0.8, en_en=0.6, de_en=0.5, en_de=0.3), evaluation("m", name="sparse", de_en=0.25)]
    first, second = figures.read(written(tmp_path / "own.json", *runs))
    assert first.within == pytest.approx(0.7)
    assert first.across == pytest.approx(0.4)
    assert (first.model, first.ranking, first.dataset, first.questions) == ("m", "dense", "a/folder/xquad", 30)
    assert (second.within, second.across, second.ranking) == (None, 0.25, "sparse")


def test_of_a_bitext_the_mean_accuracy_is_taken(tmp_path: Path) -> None:
    run = evaluation("m", de_en=0.9, en_de=0.7) | {"accuracy@1": {"pairs": [], "mean": 0.55}}
    path = written(tmp_path / "own.json", run)
    (found,) = figures.read(path)
    assert (found.metric, found.within, found.across) == ("accuracy@1", None, 0.55)
    (entry,) = listing.entries([found])[-1:]
    (shown,) = listing.entry_fields(entry)["figures"]
    assert (shown["metric"], shown["across"], shown["questions"]) == ("accuracy@1", 0.55, 30)
    written(path, run | {"accuracy@1": {"mean": "much"}})
    with pytest.raises(InputError, match="accuracy@1 of run 1 has the mean 'much'"):
        figures.read(path)


def _without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda run: run.pop(key)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without("model"), "run 2 has no 'model'"),
        (_without("matrix"), "run 2 has no 'matrix'"),
        (lambda run: run.update(questions="30"), "run 2 has no 'questions'"),
        (lambda run: run["matrix"].append([]), "run 2 has a cell without"),
        (lambda run: run["matrix"][0]["values"].pop("nDCG@10"), "run 2 has a cell without languages or nDCG@10"),
        (lambda run: run["matrix"][0]["values"]["nDCG@10"].update(mean=1.5), "nDCG@10 is 1.5"),
        (lambda run: run["matrix"][0]["values"]["nDCG@10"].update(mean=float("nan")), "nDCG@10 is nan"),
    ],
)
def test_a_document_with_a_run_that_is_none_is_refused_with_the_place(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object], words: str
) -> None:
    bad = evaluation("m", de_en=0.5)
    spoil(bad)
    path = written(tmp_path / "own.json", evaluation("m", de_en=0.5), bad)
    with pytest.raises(InputError) as refused:
        figures.read(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"runs": []}', b'{"runs": [1]}', b"\xff\xfe", b"[" * 100_000, b"1" * 5000]
)
def test_a_file_that_is_no_evaluation_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        figures.read(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_a_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(InputError) as refused:
            figures.read(path)
        assert repr(str(path)) in str(refused.value)


def test_own_figures_stand_with_the_model_they_are_of_and_say_if_its_weights_are_others(tmp_path: Path) -> None:
    bundled = inspect(BUNDLED["pocket-m3"], "").fingerprint
    path = written(
        tmp_path / "own.json",
        evaluation("pocket-m3", bundled, de_en=0.5),
        evaluation("pocket-m3", "0" * 64, de_en=0.25),
        evaluation("models/copy", bundled, de_en=0.75),
        evaluation("models/mine", "1" * 64, de_de=0.125),
    )
    found = {entry.id: entry for entry in listing.entries(figures.read(path))}
    own = found["pocket-m3"].scores
    assert [(score.across, score.other_weights) for score in own] == [(0.5, False), (0.25, True), (0.75, False)]
    assert {score.source for score in own} == {str(path)}
    assert list(found) == [*(model.id for model in models()), "models/mine"]
    (mine,) = found["models/mine"].scores
    assert (mine.within, mine.across, mine.other_weights, mine.benchmark) == (0.125, None, None, "xquad")
    assert not any(score.own for score in found["BAAI/bge-m3"].scores)


@pytest.mark.parametrize("width", [60, 80, 130, 200, None])
def test_the_list_fits_its_terminal_and_leaves_no_model_out(tmp_path: Path, width: int | None) -> None:
    path = written(tmp_path / "own.json", evaluation("pocket-m3", de_en=0.512, de_de=0.75))
    text = listing_text(listing.entries(figures.read(path)), width)
    assert width is None or max(map(len, text.splitlines())) <= width
    for model in models():
        assert model.id in text
        assert model.dimension is None or re.search(rf"\b{model.dimension}\b", text)
    of_it = r"\.750\s+(?:other )?\.512\s+nDCG@10\s+xquad\s+dense\s+you, 30 questions, other weights"
    assert re.search(of_it, text)


def test_the_commands_below_the_list_are_each_on_one_line() -> None:
    lines = [line.strip() for line in listing_text(listing.entries([]), 60).splitlines()]
    assert "rag models --figures own.json" in lines
    assert any(line.startswith("rag eval retrieval FOLDER --json > own.json") for line in lines)
    assert max(map(len, lines)) <= 60


def test_where_a_model_is_is_known_without_fetching_it() -> None:
    found = {model.id: local.presence(model) for model in models()}
    assert found["pocket-m3"] == "bundled"
    assert found["BAAI/bge-m3"] in ("here", "not here")
    assert found["sentence-transformers/LaBSE"] in ("here", "not here")


# Folders


def statuses(folder: Path) -> dict[str, str]:
    return {part.file: part.status for part in examine(folder, "name").parts if part.status != "ok"}


def test_a_whole_checkpoint_is_usable_and_embeds(tiny: Path) -> None:
    found = examine(tiny, "tiny")
    assert found.usable
    assert found.checkpoint == inspect(tiny, "tiny")
    assert found.checkpoint is not None
    sizes = {part.file: part.size for part in found.parts}
    assert sizes == {file: (tiny / file).stat().st_size for file in (*WITHOUT, "model.safetensors")}
    (vectors,) = BgeM3Embedder(found.checkpoint, device="cpu", dtype="float32").embed_passages(["a text"])
    assert vectors.dense.shape == (64,)


@pytest.mark.parametrize("file", [*WITHOUT, "model.safetensors"])
def test_a_missing_file_is_named_and_the_others_are_still_looked_at(copy: Path, file: str) -> None:
    (copy / file).unlink()
    found = examine(copy, "copy")
    assert statuses(copy) == {file: "missing"}
    assert not found.usable
    (fault,) = (part.fault for part in found.parts if part.fault)
    assert file in str(fault)
    with pytest.raises(CheckpointError) as refused:
        inspect(copy, "copy")
    assert str(refused.value) == str(fault), "the loader says the same"


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_damaged_file_is_named_at_once(copy: Path) -> None:
    (copy / "colbert_linear.pt").unlink()
    for file in ("model.safetensors", "sparse_linear.pt"):
        halve(copy / file)
    (copy / "tokenizer.json").write_text("{}")
    expected = dict.fromkeys(("model.safetensors", "sparse_linear.pt", "tokenizer.json"), "damaged")
    assert statuses(copy) == {**expected, "colbert_linear.pt": "missing"}


def test_weights_and_heads_of_another_model_are_damaged(copy: Path, tmp_path: Path) -> None:
    other = write_tiny_checkpoint(tmp_path / "other", hidden=32, layers=1)
    for file in ("model.safetensors", "sparse_linear.pt"):
        shutil.copyfile(other / file, copy / file)
    assert statuses(copy) == {"model.safetensors": "damaged", "sparse_linear.pt": "damaged"}


def test_weights_with_fewer_layers_than_the_configuration_says_are_damaged(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert statuses(copy) == {"model.safetensors": "damaged"}


@pytest.mark.parametrize(
    "changed", [{"max_position_embeddings": 9999}, {"vocab_size": 300_000}, {"num_hidden_layers": 10**12}]
)
def test_weights_that_do_not_fit_the_configuration_are_damaged(copy: Path, changed: dict[str, int]) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | changed))
    assert statuses(copy)["model.safetensors"] == "damaged"


@pytest.mark.parametrize("missing", ["embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.bias"])
def test_weights_without_a_tensor_are_damaged(copy: Path, missing: str) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors[missing]
    save_file(tensors, copy / "model.safetensors")
    (part,) = (part for part in examine(copy, "copy").parts if part.fault)
    assert missing in str(part.fault)
    with pytest.raises(CheckpointError, match=re.escape(missing)):  # the loader says the same
        BgeM3Embedder(inspect(copy, "copy"), device="cpu").embed_passages(["a text"])


def test_the_sparse_head_is_no_colbert_head(copy: Path) -> None:
    shutil.copyfile(copy / "sparse_linear.pt", copy / "colbert_linear.pt")
    assert statuses(copy) == {"colbert_linear.pt": "damaged"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_named(copy: Path) -> None:
    copy.chmod(0)
    try:
        with pytest.raises(CheckpointError, match=r"cannot be read .*permissions"):
            examine(copy, "copy")
    finally:
        copy.chmod(0o700)


def test_a_folder_whose_files_have_names_too_long_to_be_asked_for_is_named(
    copy: Path,
) -> None:
    detours = (4094 - len(str(copy))) // len("/../copy")
    folder = Path(str(copy) + "/../copy" * detours)  # the system takes its path, and none of a file in it
    assert folder.is_dir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        examine(folder, "copy")


def test_git_lfs_pointers_and_faulty_side_files_are_damaged(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (copy / "README.md").write_text("---\nretrieval: {sparse_weight: -1}\n---\n")
    (copy / "fingerprint.txt").write_text("BAAI/bge-m3")
    assert statuses(copy) == dict.fromkeys(("model.safetensors", "fingerprint.txt", "README.md"), "damaged")


def test_bge_m3s_layout_with_another_encoder_is_no_embedder_but_may_teach(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    found = examine(copy, "copy")
    assert statuses(copy) == {"config.json": "damaged"}
    assert found.layout == "bge-m3"
    assert found.teacher
    assert found.checkpoint is None


@pytest.mark.parametrize("broken", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_broken_model_does_not_teach(copy: Path, broken: str) -> None:
    assert (copy / "modules.json").is_file()
    (copy / "sparse_linear.pt").unlink()
    assert examine(copy, "copy").teacher, "it needs no heads"
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    halve(copy / broken)
    assert not examine(copy, "copy").teacher


def test_an_empty_folder_lacks_everything(tmp_path: Path) -> None:
    assert statuses(tmp_path) == dict.fromkeys((*WITHOUT, "model.safetensors"), "missing")
    assert not examine(tmp_path, "empty").teacher


# Folders of sentence-transformers


@pytest.fixture(scope="module")
def tiny_sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_distiluse(tmp_path_factory.mktemp("sentence_model") / "distiluse")


@pytest.fixture
def sentence_copy(tiny_sentence_model: Path, tmp_path: Path) -> Path:
    """A copy to damage; its modules are a transformer, a pooling and a dense layer."""
    return Path(shutil.copytree(tiny_sentence_model, tmp_path / "copy"))


def test_a_sentence_transformers_model_is_usable_embeds_and_may_teach(tmp_path: Path) -> None:
    folder = write_minilm(tmp_path / "minilm")
    found = examine(folder, "minilm")
    assert found.usable
    assert found.teacher
    assert found.layout == "sentence-transformers"
    assert isinstance(found.checkpoint, SentenceModel)
    assert found.checkpoint == inspect_sentence_model(folder, "minilm")
    assert {part.file: part.size for part in found.parts} == {
        file: (folder / file).stat().st_size
        for file in wanted([path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()])
    }
    (vectors,) = SentenceTransformerEmbedder(found.checkpoint, device="cpu", dtype="float32").embed_passages(["a text"])
    assert vectors.dense.shape == (found.checkpoint.dimension,)


def test_a_checkpoint_without_both_heads_is_a_sentence_transformers_model(copy: Path) -> None:
    for head in ("sparse_linear.pt", "colbert_linear.pt"):
        (copy / head).unlink()
    found = examine(copy, "copy")
    assert (found.layout, found.usable, found.teacher) == ("sentence-transformers", True, True)


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ],
)
def test_a_missing_file_of_a_module_is_named_as_the_loader_names_its_place(sentence_copy: Path, file: str) -> None:
    (sentence_copy / file).unlink()
    found = examine(sentence_copy, "copy")
    assert statuses(sentence_copy) == {file: "missing"}
    assert (found.usable, found.teacher, found.checkpoint) == (False, False, None)
    (fault,) = (str(part.fault) for part in found.parts if part.fault)
    assert fault.startswith(f"{(sentence_copy / file).parent} has no {Path(file).name}: copy it")
    with pytest.raises(CheckpointError, match=re.escape(str((sentence_copy / file).parent))):
        inspect_sentence_model(sentence_copy, "copy")


def test_all_that_is_wrong_with_a_sentence_transformers_model_is_said_at_once(sentence_copy: Path) -> None:
    (sentence_copy / "tokenizer.json").unlink()
    for file in ("model.safetensors", "2_Dense/model.safetensors", "1_Pooling/config.json"):
        halve(sentence_copy / file)
    (sentence_copy / "README.md").write_text("---\nretrieval: {sparse_weight: -1}\n---\n")
    damaged = ("model.safetensors", "2_Dense/model.safetensors", "1_Pooling/config.json", "README.md")
    assert statuses(sentence_copy) == {**dict.fromkeys(damaged, "damaged"), "tokenizer.json": "missing"}


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("2_Dense/config.json", {"out_features": None}, "how long its vectors are"),
        ("2_Dense/config.json", {"activation_function": "theirs.Activation"}, "none of torch's"),
        ("1_Pooling/config.json", {"word_embedding_dimension": "many"}, "how long its vectors are"),
    ],
)
def test_a_configuration_that_does_not_do_is_named(
    sentence_copy: Path, file: str, change: dict[str, object], words: str
) -> None:
    config = json.loads((sentence_copy / file).read_text())
    (sentence_copy / file).write_text(json.dumps(config | change))
    (part,) = (part for part in examine(sentence_copy, "copy").parts if part.fault)
    assert (part.file, part.status) == (file, "damaged")
    assert words in str(part.fault)


def test_a_tokenizer_that_does_not_load_is_damaged(sentence_copy: Path) -> None:
    (sentence_copy / "tokenizer.json").write_text("{}")
    assert statuses(sentence_copy) == {"tokenizer.json": "damaged"}


def test_a_model_that_comes_with_code_is_neither_embedder_nor_teacher(sentence_copy: Path) -> None:
    listed = json.loads((sentence_copy / "modules.json").read_text())
    (sentence_copy / "modules.json").write_text(json.dumps([{**listed[0], "type": "custom.Module"}, *listed[1:]]))
    found = examine(sentence_copy, "copy")
    assert statuses(sentence_copy) == {"modules.json": "damaged"}
    assert not found.teacher
    assert "code that comes with the model" in str(found.parts[0].fault)


def test_every_shard_is_looked_at(sentence_copy: Path) -> None:
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    shutil.copyfile(sentence_copy / "model.safetensors", sentence_copy / shards[0])
    shutil.copyfile(sentence_copy / "model.safetensors", sentence_copy / shards[1])
    halve(sentence_copy / shards[1])
    (sentence_copy / "model.safetensors").unlink()
    index = {"weight_map": {f"tensor{number}": shard for number, shard in enumerate(shards)}}
    (sentence_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert statuses(sentence_copy) == {shards[1]: "damaged", shards[2]: "missing"}


def test_weights_in_torchs_own_format_are_opened_and_those_of_old_versions_taken_as_they_are(
    sentence_copy: Path,
) -> None:
    path = sentence_copy / "2_Dense" / "pytorch_model.bin"
    state = load_file(path.with_name("model.safetensors"))
    path.with_name("model.safetensors").unlink()
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        assert statuses(sentence_copy) == {}
    torch.save(state, path)
    halve(path)
    assert statuses(sentence_copy) == {"2_Dense/pytorch_model.bin": "damaged"}
