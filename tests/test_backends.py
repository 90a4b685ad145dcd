"""BGE-M3's other backends give torch's vectors, or say why they cannot."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from rag.checkpoint import Checkpoint, inspect, locate, samples
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.encoder import PackedEncoder
from rag.embedders.encoding import Encoded, Encoder
from rag.embedders.flag_encoder import FlagEncoder
from rag.embedders.openvino_encoder import OpenVinoEncoder, choose_dtype
from rag.embedders.padding import cuts
from rag.errors import CheckpointError, DiskError, InputError, ModelUnavailableError, NotConfiguredError
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_corpus import mixed_lengths

CPU = torch.device("cpu")
SHAPES = [(1,), (2,), (9,), (12, 12), (3, 40, 1, 17), (300, 131, 130, 64, 5), (1500, *[3] * 12), (7, 1000, 7)]
"""Lengths of the texts of a batch; the last two would be mostly padding, so they are cut."""

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed: pip install -c constraints.txt -e '.[openvino]'"
)


@pytest.fixture(scope="module", autouse=True)
def _cache_of_this_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as during:
        during.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cross-lingual-rag" / "openvino"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"), "tiny")


@pytest.fixture
def copy(tiny: Checkpoint, tmp_path: Path) -> Checkpoint:
    """The tiny checkpoint in a folder to damage."""
    return inspect(Path(shutil.copytree(tiny.folder, tmp_path / "copy")), "copy")


@pytest.fixture(scope="module", params=["tiny", "pocket-m3"])
def checkpoint(request: pytest.FixtureRequest, tiny: Checkpoint) -> Checkpoint:
    return tiny if request.param == "tiny" else inspect(locate(request.param), request.param)


@pytest.fixture(scope="module")
def expected(checkpoint: Checkpoint) -> list[Encoded]:
    encode = PackedEncoder(checkpoint, CPU, torch.float32)
    return [encode(batch, colbert=True) for batch in batches(checkpoint)]


def batches(checkpoint: Checkpoint) -> list[list[list[int]]]:
    """Of every token that there is, `<pad>` and its kin among them."""
    random = np.random.default_rng(7)
    return [
        [random.integers(checkpoint.vocabulary_size, size=min(length, checkpoint.window)).tolist() for length in shape]
        for shape in SHAPES
    ]


def check(encode: Encoder, checkpoint: Checkpoint, expected: list[Encoded], *, cosine: float, weight: float) -> None:
    """`weight` is a share of the largest one."""
    for batch, wanted in zip(batches(checkpoint), expected, strict=True):
        given = encode(batch, colbert=True)
        assert wanted.colbert is not None
        assert given.colbert is not None
        for ours, torchs in ((given.dense, wanted.dense), (given.colbert, wanted.colbert)):
            assert ours.dtype == np.float32
            assert ours.shape == torchs.shape
            if len(ours):
                assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-5
                assert (ours * torchs).sum(axis=1).min() >= cosine
        assert given.token_weights.dtype == np.float32
        assert given.token_weights.shape == wanted.token_weights.shape
        assert given.token_weights.min() >= 0
        largest = max(1, wanted.token_weights.max())
        assert np.abs(given.token_weights - wanted.token_weights).max() <= weight * largest
        alone = encode(batch)
        assert alone.colbert is None
        assert (alone.dense == given.dense).all()


# FlagEmbedding


def test_flagembedding_gives_the_same_vectors_at_every_shape(checkpoint, expected):
    encode = FlagEncoder(checkpoint, CPU, torch.float32)
    assert encode.description == "cpu in float32 with FlagEmbedding"
    check(encode, checkpoint, expected, cosine=0.99999, weight=1e-4)


def test_flagembedding_computes_in_sixteen_bits_where_it_is_told_to(checkpoint, expected):
    encode = FlagEncoder(checkpoint, CPU, torch.bfloat16)
    assert encode.description == "cpu in bfloat16 with FlagEmbedding"
    check(encode, checkpoint, expected, cosine=0.99, weight=0.1)
    assert np.abs(encode(batches(checkpoint)[5]).dense - expected[5].dense).max() > 1e-4


def test_weights_that_flagembedding_cannot_load_are_named_with_the_way_out(copy):
    copy.weights.write_bytes(copy.weights.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"copy.*RAG_EMBEDDER__BACKEND=torch"):
        FlagEncoder(copy, CPU, torch.float32)


# OpenVINO


@needs_openvino
def test_openvino_gives_torchs_vectors_at_every_shape(checkpoint, expected):
    encode = OpenVinoEncoder(checkpoint, "float32")
    assert encode.description == "cpu in float32 with OpenVINO"
    check(encode, checkpoint, expected, cosine=0.99999, weight=1e-4)


@needs_openvino
def test_openvino_stays_near_torchs_vectors_in_sixteen_bits(checkpoint, expected):
    if "BF16" not in capabilities():
        pytest.skip("this processor does not compute in bfloat16")
    encode = OpenVinoEncoder(checkpoint, "auto")
    assert encode.description == "cpu in bfloat16 with OpenVINO"
    check(encode, checkpoint, expected, cosine=0.99, weight=0.1)


@needs_openvino
def test_threads_that_encode_at_once_get_their_own_vectors(tiny):
    encode = OpenVinoEncoder(tiny, "float32")
    work = batches(tiny) * 4
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(encode, work))
    for batch, given in zip(work, together, strict=True):
        alone = encode(batch)
        assert np.abs(given.dense - alone.dense).max() < 1e-5
        assert np.abs(given.token_weights - alone.token_weights).max() < 1e-4


@needs_openvino
def test_results_stay_what_they_were_when_the_next_batch_is_encoded(tiny):
    encode = OpenVinoEncoder(tiny, "float32")
    first, second = batches(tiny)[3:5]
    given = encode(first)
    kept = given.dense.copy(), given.token_weights.copy()
    encode(second)
    assert (given.dense == kept[0]).all()
    assert (given.token_weights == kept[1]).all()


@needs_openvino
def test_what_was_exported_is_loaded_without_torch_or_the_checkpoints_weights(copy, cache):
    texts = batches(copy)[4]
    before = OpenVinoEncoder(copy, "float32")(texts)
    copy.weights.unlink()
    after = OpenVinoEncoder(copy, "float32")(texts)
    assert np.abs(after.dense - before.dense).max() < 1e-6
    assert len([entry for entry in cache.iterdir() if entry.is_dir()]) == 1
    encode_in_a_process(copy, "sys.exit('torch' in sys.modules)")


@needs_openvino
def test_openvino_tells_nobody_that_it_is_used(copy, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    OpenVinoEncoder(copy, "float32")
    program = "sys.exit(any(event.startswith(('socket.', 'os.fork', 'subprocess.')) for event in events))"
    encode_in_a_process(copy, program, before="events = []; sys.addaudithook(lambda event, _: events.append(event))")
    assert list((tmp_path / "home").iterdir()) == []


@needs_openvino
@pytest.mark.parametrize("damaged", ["encoder.bin", "encoder.xml", "checked.json"])
def test_what_was_damaged_in_the_cache_is_exported_anew(tiny, cache, damaged):
    expected = OpenVinoEncoder(tiny, "float32")([[0, 5, 2]])
    [folder] = [entry for entry in cache.iterdir() if entry.is_dir()]
    content = (folder / damaged).read_bytes()
    (folder / damaged).write_bytes(content[: len(content) // 2])
    given = OpenVinoEncoder(tiny, "float32")([[0, 5, 2]])
    assert np.abs(given.dense - expected.dense).max() < 1e-6
    assert len((folder / damaged).read_bytes()) > 0.9 * len(content)  # names of nodes are numbered anew


@needs_openvino
def test_an_exported_graph_that_openvino_cannot_load_is_named_with_the_way_out(tiny, cache):
    OpenVinoEncoder(tiny, "float32")
    [folder] = [entry for entry in cache.iterdir() if entry.is_dir()]
    (folder / "encoder.xml").write_text("<net/>", encoding="utf-8")
    mark = json.loads((folder / "checked.json").read_text(encoding="utf-8"))
    mark["encoder.xml"] = hashlib.sha256(b"".join(samples(folder / "encoder.xml"))).hexdigest()
    (folder / "checked.json").write_text(json.dumps(mark), encoding="utf-8")
    with pytest.raises(ModelUnavailableError, match=r"encoder\.xml: delete its folder.*RAG_EMBEDDER__BACKEND=torch"):
        OpenVinoEncoder(tiny, "float32")


@needs_openvino
def test_a_graph_that_gives_other_vectors_is_refused_and_not_kept(tiny, cache, monkeypatch):
    from rag.embedders import openvino_graph

    right = openvino_graph.encoder_graph
    monkeypatch.setattr(openvino_graph, "encoder_graph", lambda checkpoint: right(replace(checkpoint, heads=2)))
    with pytest.raises(ModelUnavailableError, match=r"other vectors of tiny than torch.*RAG_EMBEDDER__BACKEND=torch"):
        OpenVinoEncoder(tiny, "float32")
    assert [entry for entry in cache.iterdir() if entry.is_dir()] == []


@needs_openvino
def test_two_that_export_at_once_end_with_one_export(tiny, cache):
    with ThreadPoolExecutor(2) as threads:
        encoders = list(threads.map(lambda _: OpenVinoEncoder(tiny, "float32"), range(2)))
    first, second = (encode([[0, 5, 2]]) for encode in encoders)
    assert np.abs(first.dense - second.dense).max() < 1e-6
    assert len([entry for entry in cache.iterdir() if entry.is_dir()]) == 1


@needs_openvino
def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DiskError, match=r"file/cross-lingual-rag/openvino .*RAG_EMBEDDER__BACKEND=torch"):
        OpenVinoEncoder(tiny, "float32")


@needs_openvino
def test_a_checkpoint_without_usable_weights_is_refused_before_anything_is_kept(copy, cache):
    copy.weights.write_bytes(copy.weights.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=copy.weights.name):
        OpenVinoEncoder(copy, "float32")
    assert [entry for entry in cache.iterdir() if entry.is_dir()] == []


def test_without_openvino_the_error_says_how_to_install_it(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "rag.embedders.openvino_runtime", raising=False)
    with pytest.raises(NotConfiguredError, match=r"pip install 'cross-lingual-rag\[openvino\]'"):
        OpenVinoEncoder(tiny, "auto")


def test_sixteen_bits_are_computed_in_only_where_the_processor_does():
    assert choose_dtype("auto", ["FP32", "BF16"]) == "bfloat16"
    assert choose_dtype("auto", ["FP32", "INT8"]) == "float32"
    assert choose_dtype("float32", ["FP32", "BF16"]) == "float32"
    assert choose_dtype("float16", ["FP32", "FP16"]) == "float16"
    for dtype in ("bfloat16", "float16"):
        with pytest.raises(InputError, match=f"{dtype} on this processor"):
            choose_dtype(dtype, ["FP32"])
    with pytest.raises(InputError, match="float8"):
        choose_dtype("float8", ["FP32"])


# What both share


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ([7], [1]),
        ([300, 3, 3, 3], [4]),  # few places
        ([1500, 3, 3], [1, 2]),
        ([3, 3, 1500], [2, 1]),
        ([600] * 20, [20]),
        ([512, 400, 300, 200, 100, 50, 20, 10, 5], [4, 5]),
        ([8192], [1]),
        ([8192, 8192, 16, 16], [3, 1]),
    ],
)
def test_a_batch_is_cut_where_it_would_be_mostly_padding(lengths, parts):
    found = list(cuts(lengths))
    assert [each.stop - each.start for each in found] == parts
    assert [place for each in found for place in range(len(lengths))[each]] == list(range(len(lengths)))


# As the embedder uses them


@pytest.mark.parametrize("backend", [pytest.param("openvino", marks=needs_openvino), "flagembedding"])
def test_the_embedder_gives_the_same_with_each_backend(tiny, backend):
    reference = BgeM3Embedder(tiny, device="cpu", dtype="float32")
    embedder = BgeM3Embedder(tiny, device="cpu", dtype="float32", backend=backend)
    texts = mixed_lengths()
    assert embedder.fingerprint == reference.fingerprint
    for ours, torchs in zip(embedder.embed_passages(texts), reference.embed_passages(texts), strict=True):
        assert np.abs(ours.dense - torchs.dense).max() < 1e-5
        assert ours.sparse.ids.tolist() == torchs.sparse.ids.tolist()
        assert ours.sparse.weights == pytest.approx(torchs.sparse.weights, abs=1e-4)
    scores = embedder.late_interaction(texts[0], texts[:8])
    assert scores == pytest.approx(reference.late_interaction(texts[0], texts[:8]), abs=1e-5)


def capabilities() -> list[str]:
    from rag.embedders.openvino_runtime import openvino

    found: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def encode_in_a_process(checkpoint: Checkpoint, after: str, before: str = "") -> None:
    """Encodes with OpenVINO in a process of its own, which `after` must let exit with 0."""
    program = [
        "import pickle, sys",
        before,
        "from rag.embedders.openvino_encoder import OpenVinoEncoder",
        "OpenVinoEncoder(pickle.load(sys.stdin.buffer), 'float32')([[0, 5, 2]])",
        after,
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], input=pickle.dumps(checkpoint), check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
