"""The copy of large weights in the precision they are computed in: where it lies, and that nothing depends on it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from rag import hub
from rag.catalogue.examination import examine
from rag.checkpoint import inspect
from rag.embedders.arrangement import parameters
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.layers import EncoderWeights, load
from rag.embedders.weight_copy import LEAST_BYTES
from rag.embedders.weights import open_weights
from rag.errors import CheckpointError
from tests.tiny_checkpoint import write_tiny_checkpoint

CPU = torch.device("cpu")
COMMIT = "1234567890abcdef1234567890abcdef12345678"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def large(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same model in a file as large as those of which copies are kept; the user's cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(tiny, tmp_path / "large"))
    widen(folder / "model.safetensors")
    return folder


def widen(weights: Path) -> None:
    """Adds a tensor that no encoder has, until the file is large; what it holds is a hole that takes no disk."""
    content = weights.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    fields = json.loads(content[8:start])
    end = len(content) - start
    fields["head.weight"] = {"dtype": "U8", "shape": [LEAST_BYTES], "data_offsets": [end, end + LEAST_BYTES]}
    header = json.dumps(fields).encode()
    with weights.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header + content[start:])
        stream.truncate(stream.tell() + LEAST_BYTES)


def tensors(weights: EncoderWeights) -> Iterator[Tensor]:
    yield from (weights.words, weights.positions, weights.norm.weight, weights.norm.bias)
    for layer in weights.layers:
        for part in (layer.query_key_value, layer.attention_output, layer.intermediate, layer.output):
            yield from (part.weight, part.bias)
        for norm in (layer.attention_norm, layer.output_norm):
            yield from (norm.weight, norm.bias)


def assert_same(found: EncoderWeights, expected: EncoderWeights) -> None:
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def load_in_bfloat16(folder: Path) -> EncoderWeights:
    return load(inspect(folder, "large"), CPU, torch.bfloat16)


def without_copy(folder: Path) -> EncoderWeights:
    return load(inspect(folder, "large"), CPU, torch.bfloat16, keep_copy=False)


def copies(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("encoder-*"))


def copy_of(folder: Path) -> Path:
    return folder / ".cross-lingual-rag" / "encoder-bfloat16.safetensors"


# What it is


def test_the_first_load_leaves_a_copy_which_the_next_maps_into_memory(large):
    first = load_in_bfloat16(large)
    copy = copy_of(large)
    written = copy.stat()
    second = load_in_bfloat16(large)
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert copies(large.parent) == [f"large/{copy.relative_to(large)}"]
    if sys.platform == "linux":
        assert str(copy) in Path("/proc/self/maps").read_text()
    assert_same(first, without_copy(large))
    assert_same(second, without_copy(large))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is mapped")
def test_what_is_kept_of_the_weights_alone_stays_mapped(large):
    load_in_bfloat16(large)
    kept = load_in_bfloat16(large).layers[0].output.weight
    assert str(copy_of(large)) in Path("/proc/self/maps").read_text()
    kept = load_in_bfloat16(large).layers[0].output_norm.bias  # a vector, beside matrices that are let go of
    assert str(copy_of(large)) not in Path("/proc/self/maps").read_text()
    assert len(kept) == 64


def test_the_copy_has_two_bytes_a_parameter_and_its_tensors_lie_aligned(large):
    load_in_bfloat16(large)
    size, start = copy_of(large).stat().st_size, 8 + int.from_bytes(copy_of(large).read_bytes()[:8], "little")
    assert size == start + 2 * parameters(inspect(large, "large"))
    assert start % 64 == 0


def test_vectors_are_the_same_to_the_bit_with_and_without_the_copy(large, tiny):
    texts = ["Wie oft wird das Förderband gereinigt?", "The belt is cleaned twice.", "ベルト"]
    load_in_bfloat16(large)
    with_copy = BgeM3Embedder(inspect(large, "large"), dtype="bfloat16").embed_passages(texts)
    without = BgeM3Embedder(inspect(tiny, "tiny"), dtype="bfloat16").embed_passages(texts)
    assert copy_of(large).exists()
    assert copies(tiny) == []
    for one, other in zip(with_copy, without, strict=True):
        assert np.array_equal(one.dense, other.dense)
        assert np.array_equal(one.sparse.ids, other.sparse.ids)
        assert np.array_equal(one.sparse.weights, other.sparse.weights)


def test_the_copy_changes_neither_the_fingerprint_nor_what_is_said_of_the_folder(large):
    fingerprint, parts = inspect(large, "large").fingerprint, examine(large, "large").parts
    load_in_bfloat16(large)
    assert inspect(large, "large").fingerprint == fingerprint
    assert examine(large, "large").parts == parts


def test_each_precision_has_a_copy_of_its_own_and_full_precision_none(large):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert load(inspect(large, "large"), CPU, dtype).words.dtype == dtype
    assert copies(large) == [f".cross-lingual-rag/encoder-{name}.safetensors" for name in ("bfloat16", "float16")]


def test_small_weights_and_those_that_are_no_wider_have_no_copy(tiny, large):
    load_in_bfloat16(tiny)
    assert copies(tiny) == []
    narrow(large / "model.safetensors")
    load_in_bfloat16(large)
    assert copies(large) == []


def narrow(weights: Path) -> None:
    """Saves float32 weights as float16, in a large file."""
    from safetensors.torch import save_file

    with safe_open(weights, framework="pt") as file:
        state = {name: file.get_tensor(name).half() for name in file.keys() if name != "head.weight"}  # noqa: SIM118
    save_file(state, weights)
    widen(weights)


def test_none_is_kept_where_that_is_forbidden(large):
    without_copy(large)
    assert copies(large.parent) == []


# Whether it may be used


@pytest.mark.parametrize("told_by", ["time", "fingerprint"])
def test_weights_that_were_changed_are_not_taken_for_those_of_the_copy(large, told_by):
    weights = large / "model.safetensors"
    before, old = weights.stat(), load_in_bfloat16(large)
    with weights.open("r+b") as stream:  # of the same length, and where the fingerprint does not look
        stream.seek(8 + int.from_bytes(stream.read(8), "little") + 10_000)
        stream.write(np.ones(64, dtype=np.float32).tobytes())
    if told_by == "fingerprint":
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
        (large / "fingerprint.txt").write_text("0" * 64)
    expected = without_copy(large)
    assert not torch.equal(old.positions, expected.positions)
    assert_same(load_in_bfloat16(large), expected)
    assert_same(load_in_bfloat16(large), expected)


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "zeros", "another tensor", "not ours"])
def test_a_damaged_copy_is_ignored_and_written_anew(large, tiny, damage):
    load_in_bfloat16(large)
    copy = copy_of(large)
    whole = copy.read_bytes()
    copy.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-1],
            "garbage": os.urandom(len(whole)),
            "zeros": whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
            "another tensor": whole.replace(b'"norm.bias"', b'"form.bias"'),
            "not ours": (tiny / "model.safetensors").read_bytes(),
        }[damage]
    )
    assert_same(load_in_bfloat16(large), without_copy(large))
    assert copy.read_bytes() == whole


# Where it lies


def beside_is_blocked(folder: Path) -> None:
    """A file where the folder would be: even root cannot write into it."""
    (folder / ".cross-lingual-rag").write_text("")


def test_it_lies_in_the_users_cache_where_nothing_can_be_written_beside_the_weights(large, tmp_path):
    beside_is_blocked(large)
    load_in_bfloat16(large)
    fingerprint = inspect(large, "large").fingerprint
    assert copies(tmp_path) == [f"cache/cross-lingual-rag/weights/{fingerprint}/encoder-bfloat16.safetensors"]
    [copy] = (tmp_path / "cache").rglob("encoder-*")
    written = copy.stat().st_ino
    assert_same(load_in_bfloat16(large), without_copy(large))
    assert copy.stat().st_ino == written


def test_where_it_can_lie_nowhere_there_is_a_warning_and_the_model_all_the_same(large, tmp_path, caplog):
    beside_is_blocked(large)
    (tmp_path / "cache").write_text("")
    assert_same(load_in_bfloat16(large), without_copy(large))
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "no copy of large in bfloat16 is kept" in warning
    assert str(tmp_path / "cache") in warning
    assert copies(tmp_path) == []


def test_a_disk_that_is_full_costs_nothing_but_the_copy(large, tmp_path, caplog):
    expected = without_copy(large)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # writing fails in the middle, as on a full disk
    try:
        found = load_in_bfloat16(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_same(found, expected)
    assert "File too large" in caplog.text
    assert copies(tmp_path) == []


def test_it_goes_with_the_download_when_that_is_removed_from_the_hubs_cache(large, tmp_path):
    from huggingface_hub import scan_cache_dir

    cache, repository = tmp_path / "hub", tmp_path / "hub" / "models--owner--large"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for name in (*hub.REQUIRED, "model.safetensors"):
        (large / name).rename(blobs / name)
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert hub.fetch("owner/large", None, cache=cache) == snapshot
    load_in_bfloat16(snapshot)
    assert copy_of(snapshot).is_file()
    assert hub.fetch("owner/large", None, cache=cache) == snapshot
    found = scan_cache_dir(cache)
    assert found.warnings == []
    found.delete_revisions(COMMIT).execute()
    assert list(cache.rglob("encoder-*")) == []


# Several processes


def test_a_process_does_without_the_copy_that_another_writes(large):
    copy_of(large).parent.mkdir()
    with filelock.FileLock(copy_of(large).with_name("lock")):
        assert_same(load_in_bfloat16(large), without_copy(large))
        assert copies(large.parent) == []
    load_in_bfloat16(large)
    assert copy_of(large).exists()


def test_what_a_killed_process_left_is_written_over(large):
    unfinished = copy_of(large).with_suffix(".unfinished")
    unfinished.parent.mkdir()
    unfinished.write_bytes(bytes(10_000_000))
    load_in_bfloat16(large)
    assert_same(load_in_bfloat16(large), without_copy(large))
    assert copies(large) == [".cross-lingual-rag/encoder-bfloat16.safetensors"]


def test_two_processes_may_load_at_once(large):
    program = (
        "import sys, hashlib, torch; from pathlib import Path; from rag.checkpoint import inspect; "
        "from rag.embedders.layers import load; print('ready', flush=True); sys.stdin.readline(); "
        "found = load(inspect(Path(sys.argv[1]), ''), torch.device('cpu'), torch.bfloat16); "
        "print(hashlib.sha256(found.layers[-1].query_key_value.weight.float().numpy().tobytes()).hexdigest())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(large)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    one, other = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert one == other != ""
    assert copies(large) == [".cross-lingual-rag/encoder-bfloat16.safetensors"]
    assert_same(load_in_bfloat16(large), without_copy(large))


# What goes into it


def test_archives_and_safetensors_are_converted_to_the_same(tiny, tmp_path):
    archive = write_tiny_checkpoint(tmp_path / "bin", weights="bin")
    assert_same(load_in_bfloat16(archive), load_in_bfloat16(tiny))


def test_query_key_and_value_stand_in_one_matrix_and_the_token_type_in_every_position(tiny):
    read, found = open_weights(tiny / "model.safetensors"), load(inspect(tiny, "tiny"), CPU, torch.float32)
    parts = [read(f"encoder.layer.1.attention.self.{part}.weight", (64, 64)) for part in ("query", "key", "value")]
    assert torch.equal(found.layers[1].query_key_value.weight, torch.cat(parts))
    positions, kind = (read(f"embeddings.{name}_embeddings.weight", (None, 64)) for name in ("position", "token_type"))
    assert torch.equal(found.positions, positions + kind)
    assert sum(tensor.numel() for tensor in tensors(found)) == parameters(inspect(tiny, "tiny"))


def test_a_configuration_that_claims_too_many_layers_is_refused_and_not_listed(large):
    config = large / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 10**12}))
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.2\."):
        load_in_bfloat16(large)
    assert copies(large) == []
