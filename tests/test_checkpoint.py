"""Where a model is, whether its folder is usable, and what its fingerprint depends on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rag import hub
from rag.checkpoint import Checkpoint, inspect, locate
from rag.errors import CheckpointError, ModelUnavailableError
from rag.model_card import Recommended, Representation
from tests.tiny_checkpoint import write_tiny_checkpoint

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_card(folder: Path, front_matter: str) -> Checkpoint:
    (folder / "README.md").write_text(f"---\n{front_matter}\n---\n\n# A model\n")
    return inspect(folder, "copy")


# Where a model is


def test_the_bundled_model_is_found_by_its_name_and_is_usable():
    checkpoint = inspect(locate("pocket-m3"), "pocket-m3")
    assert (checkpoint.hidden_size, checkpoint.layers, checkpoint.heads, checkpoint.window) == (256, 4, 4, 1024)
    assert checkpoint.recommended == Recommended(1.0, 0.5, 0.0, 0.25)
    assert checkpoint.representation == Representation("bm25", 32, 0.3)


def test_a_folder_is_taken_as_it_is_even_where_a_hub_id_could_be_meant(tiny, tmp_path, monkeypatch):
    assert locate(str(tiny)) == tiny
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BAAI" / "bge-m3").mkdir(parents=True)
    assert locate("BAAI/bge-m3") == Path("BAAI/bge-m3")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/BAAI/bge-m3") == tmp_path / "BAAI" / "bge-m3"


@pytest.mark.parametrize("model", ["", "  ", "/nowhere/at/all", "./nowhere", "~/nowhere", "bge-m3", "a/b/c", "../up"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused_with_its_name(model):
    with pytest.raises(ModelUnavailableError) as refused:
        locate(model)
    assert repr(model) in str(refused.value)
    assert "pocket-m3" in str(refused.value)


# Whether a folder is usable


def test_all_that_is_known_without_the_weights_is_read_from_the_folder(tiny):
    checkpoint = inspect(tiny, "a name")
    assert (checkpoint.name, checkpoint.folder, checkpoint.weights.name) == ("a name", tiny, "model.safetensors")
    assert (checkpoint.hidden_size, checkpoint.layers, checkpoint.heads) == (64, 2, 4)
    assert checkpoint.window == 8192
    assert checkpoint.layer_norm_eps == 1e-5
    assert checkpoint.recommended == Recommended()


def test_torch_archives_are_taken_where_there_is_no_safetensors_file(tmp_path):
    assert inspect(write_tiny_checkpoint(tmp_path, weights="bin"), "bin").weights.name == "pytorch_model.bin"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "sparse_linear.pt", "colbert_linear.pt"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(CheckpointError) as refused:
        inspect(copy, "copy")
    assert f"{copy} has no {name}" in str(refused.value)


def test_missing_weights_are_named_in_both_formats(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors nor pytorch_model\.bin"):
        inspect(copy, "copy")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "bert"),
        ("hidden_act", "relu"),
        ("position_embedding_type", "relative_key"),
        ("hidden_size", "64"),
        ("num_hidden_layers", 0),
        ("vocab_size", True),
        ("max_position_embeddings", None),
        ("layer_norm_eps", 1),
        ("pad_token_id", -1),
    ],
)
def test_another_architecture_is_refused_with_the_key_and_its_value(copy, key, value):
    change_config(copy, **{key: value})
    with pytest.raises(CheckpointError) as refused:
        inspect(copy, "copy")
    assert f"{key} = {value!r}" in str(refused.value)
    assert str(copy / "config.json") in str(refused.value)


def test_sizes_that_contradict_each_other_are_refused(copy):
    change_config(copy, num_attention_heads=5)
    with pytest.raises(CheckpointError, match="do not fit"):
        inspect(copy, "copy")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b""])
def test_a_config_that_is_no_json_object_is_refused(copy, content):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        inspect(copy, "copy")


def test_a_clone_without_its_large_files_is_recognised(copy):
    (copy / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        inspect(copy, "copy")


def test_a_configuration_of_brackets_without_end_is_refused(copy):
    (copy / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config.json cannot be read as JSON"):
        inspect(copy, "copy")


def test_fusion_weights_come_from_the_model_card(copy):
    checkpoint = change_card(copy, "license: mit\nretrieval:\n  dense_weight: 1\n  sparse_weight: 0.25")
    assert checkpoint.recommended == Recommended(1.0, 0.25)


@pytest.mark.parametrize(
    "front_matter",
    [
        "retrieval: much",
        "- a list",
        "",
        "a: b: c: [",
        "retrieval: {other: 1}",
        "date: 2024-13-45",
        "a: " + "[" * 2000,
    ],
)
def test_a_card_that_recommends_nothing_leaves_the_weights_open(copy, front_matter):
    checkpoint = change_card(copy, front_matter)
    assert checkpoint.recommended == Recommended()


@pytest.mark.parametrize("value", ["-1", ".nan", ".inf", "true", "[1]", "high"])
def test_a_recommended_weight_that_is_no_weight_is_refused(copy, value):
    with pytest.raises(CheckpointError, match="sparse_weight = "):
        change_card(copy, f"retrieval: {{sparse_weight: {value}}}")


# What a fingerprint depends on


def test_the_fingerprint_is_known_without_importing_torch_or_transformers():
    program = (
        "import sys; from rag.checkpoint import inspect, locate; import rag.embedders.bge_m3; "
        "print(inspect(locate('pocket-m3'), '').fingerprint); "
        "print(sorted({'torch', 'transformers', 'tokenizers', 'huggingface_hub'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split("\n")
    assert out[0] == inspect(locate("pocket-m3"), "pocket-m3").fingerprint
    assert out[1] == "[]"


def test_the_bundled_weights_are_the_ones_this_version_was_released_with():
    # An index made with pocket-m3 is lost to its users when this changes: change it only together with the weights.
    assert inspect(locate("pocket-m3"), "").fingerprint == POCKET_M3_FINGERPRINT


def test_a_copy_elsewhere_under_another_name_has_the_same_fingerprint(tiny, copy):
    change_config(copy, transformers_version="0.0.0", torch_dtype="float16", use_cache=False)
    change_card(copy, "retrieval: {sparse_weight: 2}")
    assert inspect(copy, "another").fingerprint == inspect(tiny, "tiny").fingerprint


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("retrieval: {lexical: bm25}", Representation("bm25")),
        ("retrieval: {beginning_tokens: 48, beginning_weight: 0.25}", Representation("own", 48, 0.25)),
        ("retrieval: {beginning_tokens: 48, beginning_weight: 0.5}", Representation("own", 48, 0.5)),
        ("retrieval: {beginning_tokens: 40, beginning_weight: 0.25}", Representation("own", 40, 0.25)),
    ],
)
def test_what_a_card_adds_to_the_vectors_is_another_fingerprint(tiny, copy, front_matter, expected):
    checkpoint = change_card(copy, front_matter)
    assert checkpoint.representation == expected
    known = {inspect(tiny, "tiny").fingerprint, *(change_card(copy, other).fingerprint for other in OTHER_CARDS)}
    assert (checkpoint.fingerprint in known) == (front_matter in OTHER_CARDS)


OTHER_CARDS = ("retrieval: {lexical: bm25}", "retrieval: {beginning_tokens: 48, beginning_weight: 0.25}")


def test_a_beginning_that_counts_nothing_changes_nothing(tiny, copy):
    for front_matter in ("retrieval: {beginning_tokens: 48}", "retrieval: {lexical: own, beginning_weight: 2}"):
        checkpoint = change_card(copy, front_matter)
        assert checkpoint.representation == Representation()
        assert checkpoint.fingerprint == inspect(tiny, "tiny").fingerprint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("lexical: bm42", "lexical = 'bm42': say own or bm25"),
        ("lexical: [bm25]", "lexical = "),
        ("beginning_tokens: 2", "beginning_tokens = 2: give a whole number from 3 up"),
        ("beginning_tokens: true", "beginning_tokens = True"),
        ("beginning_tokens: 8.5", "beginning_tokens = 8.5"),
        ("beginning_weight: -1", "beginning_weight = -1: give a number from 0 up"),
    ],
)
def test_a_card_that_asks_for_what_there_is_not_is_refused(copy, line, told):
    with pytest.raises(CheckpointError) as refused:
        change_card(copy, f"retrieval:\n  {line}")
    assert told in str(refused.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "sparse_linear.pt", "colbert_linear.pt"])
def test_another_tokenizer_or_head_is_another_fingerprint(tiny, copy, name):
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    assert inspect(copy, "copy").fingerprint != inspect(tiny, "tiny").fingerprint


def test_another_epsilon_is_another_fingerprint(tiny, copy):
    change_config(copy, layer_norm_eps=1e-12)
    assert inspect(copy, "copy").fingerprint != inspect(tiny, "tiny").fingerprint


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_other_weights_are_another_fingerprint_wherever_they_differ(tiny, copy, place):
    path = copy / "model.safetensors"
    weights = bytearray(path.read_bytes())
    # Fine-tuning changes every weight; a run as long as the gap between two samples stands for it here.
    gap = len(weights) // 60
    start = int(place * (len(weights) - gap))
    weights[start : start + gap] = bytes(byte ^ 1 for byte in weights[start : start + gap])
    path.write_bytes(weights)
    assert inspect(copy, "copy").fingerprint != inspect(tiny, "tiny").fingerprint


def test_a_weight_file_of_another_length_is_another_fingerprint(tiny, copy):
    with (copy / "model.safetensors").open("ab") as stream:
        stream.write(b"\0")
    assert inspect(copy, "copy").fingerprint != inspect(tiny, "tiny").fingerprint


def test_a_derived_copy_carries_the_fingerprint_of_its_origin(tiny, copy):
    origin = inspect(tiny, "tiny").fingerprint
    (copy / "model.safetensors").write_bytes(b"converted")
    (copy / "fingerprint.txt").write_text(f"{origin}\n")
    assert inspect(copy, "copy").fingerprint == origin


def test_an_origin_that_is_no_fingerprint_is_refused(copy):
    (copy / "fingerprint.txt").write_text("BAAI/bge-m3")
    with pytest.raises(CheckpointError, match="64 hexadecimal digits"):
        inspect(copy, "copy")


# Fetching from the hub: a server on the loopback that speaks the part of the hub's interface that its client needs


class Hub:
    """A hub with one public repository, `owner/tiny`, and one gated one, `owner/gated`.

    `files` is what the public one holds; `resolved` collects the names of files whose content was asked for, and
    `requests` counts everything.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.resolved: list[str] = []
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.requests += 1
        if "owner/gated" in path:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        if "owner/tiny" not in path:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if "nosuchrevision" in path:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if "/revision/" in path:
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
            return 200, {}, json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}).encode()
        if "/tree/" in path:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.files.items()
            ]
            return 200, {}, json.dumps(entries).encode()
        name = path.split("/resolve/")[1].partition("/")[2]
        if method == "GET":
            self.resolved.append(name)
        content = self.files[name]
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}, content

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                status, headers, body = answer(self.command, urlsplit(self.path).path)
                self.send_response(status)
                for key, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_GET = do_HEAD = respond  # noqa: N815 (http.server's names)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, bytes]], Hub]]:
    """Starts hubs; whatever the machine's settings for the real one, they are reached directly."""
    online(monkeypatch)
    hubs: list[Hub] = []

    def start(files: dict[str, bytes]) -> Hub:
        hubs.append(Hub(files))
        return hubs[-1]

    yield start
    for started in hubs:
        started.close()


def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_the_files_that_are_needed_are_fetched(serve, tiny, tmp_path):
    files = files_of(tiny)
    others = {"onnx/model.onnx": b"x", "pytorch_model.bin": b"x", "imgs/bm25.jpg": b"x", "README.md": b"# A model"}
    server = serve(files | others)
    folder = hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)
    needed = [
        "README.md",
        "colbert_linear.pt",
        "config.json",
        "model.safetensors",
        "sparse_linear.pt",
        "tokenizer.json",
    ]
    assert sorted(server.resolved) == needed
    assert inspect(folder, "owner/tiny").fingerprint == inspect(tiny, "tiny").fingerprint


def test_a_torch_archive_is_fetched_where_there_is_no_safetensors_file(serve, tmp_path):
    tiny = write_tiny_checkpoint(tmp_path / "bin", weights="bin")
    server = serve(files_of(tiny))
    assert (hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path) / "pytorch_model.bin").is_file()


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_what_is_in_the_cache_needs_no_network(serve, tiny, tmp_path, revision):
    server = serve(files_of(tiny))
    fetched = hub.fetch("owner/tiny", revision, endpoint=server.address, cache=tmp_path)
    requests = server.requests
    assert hub.fetch("owner/tiny", revision, endpoint=server.address, cache=tmp_path) == fetched
    assert server.requests == requests


def test_a_cache_that_lacks_a_file_is_completed(serve, tiny, tmp_path):
    server = serve(files_of(tiny))
    folder = hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)
    blob = (folder / "sparse_linear.pt").resolve()
    (folder / "sparse_linear.pt").unlink()
    blob.unlink()
    server.resolved.clear()
    assert hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path) == folder
    assert server.resolved == ["sparse_linear.pt"]


def test_the_size_is_announced_before_the_files_are_fetched(serve, tiny, tmp_path, caplog):
    server = serve(files_of(tiny))
    with caplog.at_level(logging.INFO, logger="rag.hub"):
        hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)
    size = sum(len(server.files[name]) for name in server.resolved)
    assert f"fetching owner/tiny: {size / 1e6:.1f} MB in {len(server.resolved)} files" in caplog.messages


def test_bge_m3_is_taken_at_the_commit_this_version_was_written_for():
    assert hub.DEFAULT_REVISIONS["BAAI/bge-m3"] == "5617a9f61b028005a4858fdac845db406aefb181"


@pytest.mark.parametrize("name", ["sparse_linear.pt", "colbert_linear.pt", "tokenizer.json", "model.safetensors"])
def test_a_repository_that_is_no_bge_m3_checkpoint_is_refused_before_anything_is_fetched(serve, tiny, tmp_path, name):
    server = serve({key: content for key, content in files_of(tiny).items() if key != name})
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        hub.fetch("owner/tiny", None, endpoint=server.address, cache=tmp_path)
    assert server.resolved == []


@pytest.mark.parametrize(
    ("model", "revision", "words"),
    [
        ("owner/unknown", None, "no model 'owner/unknown'"),
        ("owner/gated", None, "accepted its terms"),
        ("owner/tiny", "nosuchrevision", "no revision 'nosuchrevision'"),
        ("owner/two--dashes", None, "not a name"),
    ],
)
def test_what_the_hub_does_not_provide_is_said_with_the_way_out(serve, tiny, tmp_path, model, revision, words):
    with pytest.raises(ModelUnavailableError) as refused:
        hub.fetch(model, revision, endpoint=serve(files_of(tiny)).address, cache=tmp_path)
    assert_helpful(refused.value, words)


def test_a_hub_that_cannot_be_reached_is_said_with_the_way_out(tmp_path, monkeypatch):
    online(monkeypatch)
    with socket.socket() as closed:  # bound and not listening: nobody else can take the port meanwhile
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ModelUnavailableError) as refused:
            hub.fetch("owner/tiny", None, endpoint=endpoint, cache=tmp_path)
    assert_helpful(refused.value, "cannot fetch 'owner/tiny'")


def test_offline_mode_is_said_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailableError) as refused:
        hub.fetch("owner/tiny", None, cache=tmp_path)
    assert_helpful(refused.value, "HF_HUB_OFFLINE")


def assert_helpful(error: ModelUnavailableError, words: str) -> None:
    assert words in str(error)
    assert "\n" not in str(error)
    assert "pocket-m3" in str(error)
    assert "RAG_EMBEDDER__MODEL" in str(error)


POCKET_M3_FINGERPRINT = "6273f085c241e088fdca4f76df69c6f624cae6cfbf7eeda343abe2c86e5a83a8"
