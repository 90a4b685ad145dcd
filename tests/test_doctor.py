"""The self-check on real faults: each is planted, and must be found, named, and sent home with the right cure."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr
from qdrant_client import models
from rag_config.settings import Settings

from ingest.api import ingest
from ingest.cli import command as ingest_command
from rag import build
from rag.checkpoint import BUNDLED, Checkpoint
from rag.commands.doctor import doctor
from rag.commands.shared import load_settings, run
from rag.doctor import Finding, Limits, examine
from rag.doctor.finding import Setup
from rag.doctor.installation import imports, packages, python_version
from rag.doctor.machine import available_memory, parameters
from tests.index_copy import copy_index
from tests.qdrant_server import qdrant_server, two_free_ports

KEY = "sk-planted-1234567890"
EVERY_CHECK = [
    *("python", "packages", "imports", "settings", "model", "weights", "tokenizer", "device", "step", "memory"),
    *("store", "disk", "index", "index model", "endpoint", "model list", "answer"),
]


@dataclass
class Script:
    """What the endpoint of a test does: its models (None: no such page), the status of an answer, what it was sent."""

    models: list[str] | None = field(default_factory=lambda: ["llama3.2:latest", "mistral"])
    status: int = 200
    words: str = "the key sk-planted-1234567890 is wrong"
    received: list[tuple[str, str | None]] = field(default_factory=list)


class _Endpoint(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        script = self._note()
        if script.status == 401:
            self._send(401, {"error": {"message": script.words}})
        elif script.models is None:
            self._send(404, {"error": {"message": "no such page"}})
        else:
            self._send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in script.models]})

    def do_POST(self) -> None:
        script = self._note()
        self.rfile.read(int(self.headers["Content-Length"]))
        if script.status != 200:
            self._send(script.status, {"error": {"message": script.words}})
            return
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        choices: list[dict[str, Any]] = [{"index": 0, "delta": {"content": "yes"}, "finish_reason": None}]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events = [f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n" for choice in choices]
        self._send(200, "".join([*events, "data: [DONE]\n\n"]), "text/event-stream")

    def _note(self) -> Script:
        server = cast(_Server, self.server)
        server.script.received.append((f"{self.command} {self.path}", self.headers["Authorization"]))
        return server.script

    def _send(self, status: int, body: object, media: str = "application/json") -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.script = script


@contextmanager
def endpoint(script: Script) -> Iterator[str]:
    server = _Server(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an index of one document by the bundled model."""
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "wartung.md").write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    settings = Settings(store={"path": folder / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    assert ingest([str(folder / "wartung.md")], settings=settings).added == 1
    return settings.store.path


@pytest.fixture
def library(ingested: Path, settings: Settings, in_folder: Path) -> Settings:
    """The bundled model over a copy of that store, in an empty working folder."""
    copy_index(ingested, settings.store.path)
    return settings


@pytest.fixture
def collection(library: Settings) -> Path:
    """The folder of that index."""
    return library.store.path / library.store.collection


@pytest.fixture
def bundled_copy(tmp_path: Path) -> Path:
    """A folder with the bundled model's files, as links, so that a test can put another in the place of one."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in BUNDLED["pocket-m3"].iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    return folder


def changed(settings: Settings, group: str, **values: object) -> Settings:
    """`settings` with other values in one group."""
    return settings.model_copy(update={group: getattr(settings, group).model_copy(update=values)})


def with_model(settings: Settings, model: object) -> Settings:
    return changed(settings, "embedder", model=str(model))


def with_llm(settings: Settings, base_url: str | None, model: str = "llama3.2", key: str | None = KEY) -> Settings:
    values = {"model": model, "base_url": base_url, "api_key": key, "timeout": 5}
    return settings.model_copy(update={"llm": type(settings.llm).model_validate(values)})


def findings(settings: Settings, *, offline: bool = True, limits: Limits | None = None) -> dict[str, Finding]:
    found = list(examine(settings, offline=offline, limits=limits))
    for finding in found:
        line = f"{finding.detail}{finding.remedy}"
        assert KEY not in line
        assert "\n" not in line
        assert "Traceback" not in line
        assert (finding.status == "pass") == (finding.remedy is None), "whatever is not well has a cure"
    assert len({finding.check for finding in found}) == len(found)
    return {finding.check: finding for finding in found}


def only_fault(found: dict[str, Finding]) -> Finding:
    """The single failed check."""
    [fault] = [finding for finding in found.values() if finding.status == "fail"]
    return fault


# A healthy set-up.


def test_a_healthy_setup_passes_every_check(library: Settings) -> None:
    script = Script()
    with endpoint(script) as url:
        found = findings(with_llm(library, url), offline=False)
    assert {finding.status for finding in found.values()} == {"pass"}, found
    assert list(found) == EVERY_CHECK[4:]
    assert "bundled" in found["model"].detail
    assert "24.4 MB" in found["model"].detail
    assert "window 1024" in found["model"].detail
    assert "documents: 1, chunks: 1, schema version 1" in found["index"].detail
    embedder = build.embedder(library)
    assert embedder.fingerprint[:12] in found["model"].detail
    assert embedder.fingerprint[:12] in found["index model"].detail
    assert [what for what, _ in script.received] == ["GET /v1/models", "POST /v1/chat/completions"]
    assert {key for _, key in script.received} == {f"Bearer {KEY}"}, "both with the settings of the adapter"


def test_the_command_gives_one_json_object_a_line_and_exits_with_zero(
    library: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_STORE__PATH", str(library.store.path))
    monkeypatch.setenv("RAG_LLM__MODEL", "mistral")
    monkeypatch.setenv("RAG_LLM__API_KEY", KEY)
    with endpoint(Script()) as url:
        monkeypatch.setenv("RAG_LLM__BASE_URL", url)
        code, out, err = called(monkeypatch, capfd, "--json", "--model", "pocket-m3")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0, out
    assert err == ""
    assert [line["check"] for line in lines] == EVERY_CHECK
    assert all(list(line) == ["check", "status", "detail", "remedy"] for line in lines)
    assert not [line for line in lines if line["status"] == "fail"]


def called(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: str
) -> tuple[int | str | None, str, str]:
    monkeypatch.setattr(sys, "argv", ["doctor", *words])
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        run(doctor, "doctor")
    captured = capfd.readouterr()
    return left.value.code, captured.out, captured.err


def test_the_command_shows_a_line_a_check_and_exits_with_one_where_any_fails(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "rag.toml").write_text("[embedder]\ncolour = 1\n")
    code, out, _ = called(monkeypatch, capfd)
    lines = out.splitlines()
    assert code == 1
    assert [line.split()[1] for line in lines] == EVERY_CHECK[:4], "the installation is looked at all the same"
    assert lines[-1].startswith("fail  settings")
    assert "embedder.colour" in lines[-1]


def test_without_a_language_model_the_rest_is_well_and_one_line_says_how_to_set_it(library: Settings) -> None:
    found = findings(library)
    assert [finding.check for finding in found.values() if finding.status != "pass"] == ["endpoint"]
    assert found["endpoint"].status == "warn"
    assert "RAG_LLM__MODEL" in str(found["endpoint"].remedy)


def test_offline_asks_the_endpoint_nothing(library: Settings) -> None:
    script = Script()
    with endpoint(script) as url:
        found = findings(with_llm(library, url), offline=True)
    assert script.received == []
    assert found["endpoint"].status == "pass"
    assert "answer" not in found


# The model.


def test_a_missing_head_is_named(library: Settings, bundled_copy: Path) -> None:
    (bundled_copy / "sparse_linear.pt").unlink()
    found = findings(with_model(library, bundled_copy))
    fault = only_fault(found)
    assert fault.check == "model"
    assert "sparse_linear.pt" in fault.detail
    assert str(fault.remedy).startswith("copy it from the model's repository")
    assert found["index"].status == "pass", "one failing does not stop the others"


def test_a_git_lfs_pointer_is_told_from_the_file(library: Settings, bundled_copy: Path) -> None:
    (bundled_copy / "model.safetensors").unlink()
    (bundled_copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    fault = only_fault(findings(with_model(library, bundled_copy)))
    assert fault.check == "model"
    assert "git lfs pull" in str(fault.remedy)


def test_the_configuration_of_another_architecture_is_named(library: Settings, bundled_copy: Path) -> None:
    config = json.loads((bundled_copy / "config.json").read_text())
    (bundled_copy / "config.json").unlink()
    (bundled_copy / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    fault = only_fault(findings(with_model(library, bundled_copy)))
    assert fault.check == "model"
    assert "model_type = 'bert'" in fault.detail
    assert fault.remedy == "use a BGE-M3 checkpoint"


def test_weights_that_were_not_copied_whole_are_named(library: Settings, bundled_copy: Path) -> None:
    whole = (bundled_copy / "model.safetensors").read_bytes()
    (bundled_copy / "model.safetensors").unlink()
    (bundled_copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    fault = findings(with_model(library, bundled_copy))["weights"]
    assert fault.status == "fail"
    assert "model.safetensors" in fault.detail
    assert fault.remedy == "copy it again from the model"


def test_a_tokenizer_that_is_no_tokenizer_is_named(library: Settings, bundled_copy: Path) -> None:
    (bundled_copy / "tokenizer.json").unlink()
    (bundled_copy / "tokenizer.json").write_text("{}")
    fault = findings(with_model(library, bundled_copy))["tokenizer"]
    assert fault.status == "fail"
    assert "tokenizer.json" in fault.detail
    assert "copy it again" in str(fault.remedy)


def test_a_hub_model_that_is_not_in_the_cache_is_not_fetched_but_named(
    library: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = only_fault(findings(with_model(library, "nobody/no-such-model")))
    assert fault.check == "model"
    assert "'nobody/no-such-model'" in fault.detail
    assert "cache" in fault.detail
    remedy = str(fault.remedy)
    fetch = "unset HF_HUB_OFFLINE, then rag models pull nobody/no-such-model;"
    assert remedy.startswith(fetch), "the tests run offline"
    assert "--model pocket-m3" in remedy
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fault = only_fault(findings(with_model(library, "BAAI/bge-m3-not-fetched")))
    assert str(fault.remedy).startswith("rag models pull BAAI/bge-m3-not-fetched;")


def test_a_model_folder_that_is_not_there_is_named(library: Settings, tmp_path: Path) -> None:
    fault = only_fault(findings(with_model(library, tmp_path / "gone")))
    assert fault.check == "model"
    assert str(tmp_path / "gone") in fault.detail
    assert "pocket-m3" in str(fault.remedy)


# The machine.


def test_an_unknown_device_is_named_with_those_there_are(library: Settings) -> None:
    fault = only_fault(findings(changed(library, "embedder", device="tpu")))
    assert fault.check == "device"
    assert "'tpu'" in fault.detail
    assert str(fault.remedy) == "use auto, cpu, cuda, cuda:1 or mps"


def test_a_model_larger_than_memory_is_named_with_what_it_takes(library: Settings) -> None:
    fault = only_fault(findings(library, limits=Limits(working_memory=10**15)))
    assert fault.check == "memory"
    assert "free, the model in float32 takes about" in fault.detail
    assert "RAG_EMBEDDER__DTYPE=bfloat16" in str(fault.remedy)
    assert findings(library, limits=Limits(ample_memory=10**15))["memory"].status == "warn"


def test_the_step_is_told_as_set_as_measured_or_as_still_to_be_measured(
    library: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from rag.embedders.encoder import PackedEncoder
    from rag.embedders.step_budget import step_budget

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exact = library.model_copy(update={"embedder": library.embedder.model_copy(update={"dtype": "float32"})})
    assert findings(exact)["step"].detail.startswith("not measured yet")
    found = build.checkpoint(exact)
    assert isinstance(found, Checkpoint)
    budget = step_budget(PackedEncoder(found, torch.device("cpu"), torch.float32))
    assert findings(exact)["step"].detail.startswith(
        f"{budget.tokens} tokens, measured (tokens through one layer at 512: "
    )
    given = library.model_copy(update={"embedder": library.embedder.model_copy(update={"batch_tokens": 300})})
    assert findings(given)["step"].detail == "300 tokens, as set"


def test_the_model_s_size_is_that_of_its_weights(library: Settings) -> None:
    from safetensors import safe_open

    found = build.checkpoint(library)
    assert isinstance(found, Checkpoint)
    with safe_open(found.weights, framework="np") as file:
        names = [name for name in file.keys() if not re.search("pooler|token_type", name)]  # noqa: SIM118
        stored = sum(file.get_tensor(name).size for name in names)  # the token type is added to the positions
    assert parameters(found) == stored + found.hidden_size + 1, "the sparse head is in a file of its own"


def test_a_container_s_limit_counts_as_memory(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable: 8000 kB\n")
    assert available_memory(meminfo, tmp_path) == 8000 * 1024
    for name, content in {"max": "3000000", "current": "2500000", "stat": "anon 5\ninactive_file 40000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(content)
    assert available_memory(meminfo, tmp_path) == 540_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(meminfo, tmp_path) == 8000 * 1024


# The store.


def test_a_store_path_that_is_a_file_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    found = findings(settings)
    assert found["store"].status == "fail"
    assert f"{tmp_path / 'store'} is a file" in found["store"].detail
    assert "--store FOLDER" in str(found["store"].remedy)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    found = findings(changed(settings, "store", path=folder / "store"))
    assert found["store"].status == "fail"
    assert str(folder) in found["store"].detail
    assert str(found["store"].remedy).startswith("chmod u+rwx")


def test_a_disk_that_is_nearly_full_is_named(library: Settings) -> None:
    fault = only_fault(findings(library, limits=Limits(least_disk=10**18)))
    assert fault.check == "disk"
    assert "free where the store is" in fault.detail
    assert "move the store: --store FOLDER" in str(fault.remedy)
    assert findings(library, limits=Limits(ample_disk=10**18))["disk"].status == "warn"


def test_a_store_that_is_not_there_yet_is_no_fault_but_the_next_step(settings: Settings) -> None:
    found = findings(changed(settings, "store", collection="manuals"))
    assert found["store"].status == "pass"
    assert found["index"].status == "warn"
    assert found["index"].remedy == (
        f"ingest PATH… --store {settings.store.path} --collection manuals --model pocket-m3"
    )
    assert not settings.store.path.exists(), "an examination creates nothing"


def test_the_next_step_is_a_command_that_works_and_says_no_more_than_it_must(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Setup(Settings(), offline=True, limits=Limits()).ingest(None) == "ingest PATH…"
    monkeypatch.setenv("RAG_STORE__TENANT_KEY", "team")
    remedy = findings(load_settings(store="my index", collection="manuals", model="pocket-m3"))["index"].remedy
    assert remedy is not None
    assert remedy == "ingest PATH… --store 'my index' --collection manuals --model pocket-m3 --meta team=NAME"
    (in_folder / "a.md").write_text("The belt is cleaned every Monday.\n")
    monkeypatch.setattr(sys, "argv", shlex.split(remedy.replace("PATH…", "a.md")))
    with pytest.raises(SystemExit) as left:
        run(ingest_command, "ingest")
    assert left.value.code == 0
    assert (in_folder / "my index" / "manuals" / "index.json").exists()


def on_server(settings: Settings, url: str, **values: object) -> Settings:
    return changed(settings, "store", url=url, timeout=1.0, **values)


def test_a_server_s_store_is_examined_without_a_folder_and_held_by_no_one(library: Settings) -> None:
    with qdrant_server() as server:
        settings = on_server(library, server.url)
        found = findings(settings)
        assert found["store"].detail == f"{server.url} is reached: Qdrant 1.19.1 over gRPC"
        assert found["index"].remedy == f"ingest PATH… --store {server.url} --model pocket-m3"
        assert "disk" not in found
        with closing(build.store(settings)) as store:
            store.prepare(build.index_info(build.embedder(settings), changed(settings, "store", tenant_key="team")))
        found = findings(settings)
        assert found["index"].detail.startswith("documents: 0, chunks: 0, schema version 1, tenants by team: http")
        assert found["index"].remedy == f"ingest PATH… --store {server.url} --model pocket-m3 --meta team=NAME"
        assert "held by" not in str(found)
        assert found["index model"].status == "pass"
        fault = only_fault(findings(on_server(library, server.url, tenant_key="site")))
        assert fault.check == "index"
        assert fault.detail == "the index separates its tenants by 'team', but RAG_STORE__TENANT_KEY is 'site'"
        assert fault.remedy == "unset it, or ingest again into another --collection"


def test_a_server_that_is_down_is_one_fault(library: Settings) -> None:
    url = f"http://127.0.0.1:{two_free_ports()}"
    found = findings(on_server(library, url))
    fault = only_fault(found)
    assert fault.check == "store"
    assert f"no server answers at {url}" in fault.detail
    assert "start it (`docker compose up -d`)" in str(fault.remedy)
    assert "index" not in found
    assert "index model" not in found


def test_a_server_that_is_too_old_is_named_with_both_versions(library: Settings) -> None:
    with qdrant_server(version="1.12.4") as server:
        fault = only_fault(findings(on_server(library, server.url)))
    assert fault.check == "store"
    assert "has version 1.12.4, but 1.16 is the oldest" in fault.detail
    assert "upgrade it" in str(fault.remedy)


def test_a_wrong_key_of_a_server_is_named_and_never_shown(library: Settings) -> None:
    with qdrant_server(api_key="k") as server:
        fault = only_fault(findings(on_server(library, server.url, api_key=SecretStr(KEY))))
    assert fault.check == "index"
    assert "refuses the API key" in fault.detail
    assert fault.remedy == "correct RAG_STORE__API_KEY"


def test_a_collection_of_another_application_is_named(library: Settings) -> None:
    with qdrant_server() as server:
        server._engine.create_collection("default", models.VectorParams(size=4, distance=models.Distance.DOT))
        fault = only_fault(findings(on_server(library, server.url)))
    assert fault.check == "index"
    assert "belongs to another application" in fault.detail
    assert fault.remedy == "choose another --collection"


def test_an_older_schema_is_named_with_the_way_out(library: Settings, collection: Path) -> None:
    info = json.loads((collection / "index.json").read_text())
    (collection / "index.json").write_text(json.dumps({**info, "schema_version": 0}))
    fault = only_fault(findings(library))
    assert fault.check == "index"
    assert "schema version 0" in fault.detail
    assert "ingest again into another --collection" in str(fault.remedy)


def test_an_index_file_of_something_else_is_named(library: Settings, collection: Path) -> None:
    (collection / "index.json").write_text('{"half": ')
    fault = only_fault(findings(library))
    assert fault.check == "index"
    assert "index.json" in fault.detail
    assert "restore it, or ingest again" in str(fault.remedy)


def test_a_torn_index_folder_is_named(library: Settings, collection: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for file in (collection / "shard").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:7])
    fault = only_fault(findings(library))
    assert fault.check == "index"
    assert str(collection) in fault.detail
    assert "ingest again into another --collection" in str(fault.remedy)
    assert "Traceback" not in capfd.readouterr().err


def test_an_index_of_another_model_is_named_with_both(library: Settings, collection: Path) -> None:
    info = json.loads((collection / "index.json").read_text())
    (collection / "index.json").write_text(json.dumps({**info, "model": "BAAI/bge-m3", "fingerprint": "ab" * 32}))
    fault = only_fault(findings(library))
    assert fault.check == "index model"
    assert "made with BAAI/bge-m3 (fingerprint abababababab" in fault.detail
    assert "in use is pocket-m3" in fault.detail
    assert "--model BAAI/bge-m3" in str(fault.remedy)
    assert f"ingest PATH… --store {library.store.path} --collection default-2 --model pocket-m3" in str(fault.remedy)


def test_an_index_that_another_process_holds_is_named_with_its_holder(library: Settings, collection: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rag.stores.shard_lock import ShardLock\n"
        "lock = ShardLock(Path(sys.argv[1]), 5); lock.acquire(); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(collection)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        fault = only_fault(findings(library))
        holder.communicate("")
    assert fault.check == "index"
    assert f"held by process {holder.pid} (python)" in fault.detail
    assert str(fault.remedy) == "wait for it to finish or end it, then try again"


# The endpoint.


def test_an_endpoint_that_is_down_is_named(library: Settings) -> None:
    with endpoint(Script()) as url:
        pass
    found = findings(with_llm(library, url), offline=False)
    fault = only_fault(found)
    assert fault.check == "endpoint"
    assert f"no connection to {url}" in fault.detail
    assert "start the server there; or check RAG_LLM__BASE_URL" in str(fault.remedy)
    assert "answer" not in found, "one fault is one line"


def test_a_refused_key_is_named_and_never_shown(library: Settings) -> None:
    with endpoint(Script(status=401)) as url:
        found = findings(with_llm(library, url), offline=False)
    assert found["endpoint"].status == "pass", "it is reached"
    for check in ("model list", "answer"):
        assert found[check].status == "fail"
        assert "refused the key (401)" in found[check].detail
        assert "RAG_LLM__API_KEY" in str(found[check].remedy)


def test_a_model_that_the_endpoint_does_not_have_is_named_with_the_nearest(library: Settings) -> None:
    script = Script(status=404, words="model 'mistrall' not found: pull it first")
    with endpoint(script) as url:
        found = findings(with_llm(library, url, model="mistrall"), offline=False)
    assert found["model list"].status == "warn"
    assert str(found["model list"].remedy).startswith("RAG_LLM__MODEL=mistral")
    fault = only_fault(found)
    assert fault.check == "answer"
    assert "(404)" in fault.detail
    assert str(fault.remedy).startswith("check RAG_LLM__MODEL")


def test_an_endpoint_without_a_list_of_models_is_no_fault(library: Settings) -> None:
    with endpoint(Script(models=None)) as url:
        found = findings(with_llm(library, url), offline=False)
    assert found["model list"].status == "pass"
    assert found["answer"].status == "pass"


def test_a_key_that_openai_asks_for_and_does_not_get_is_named(library: Settings) -> None:
    fault = only_fault(findings(with_llm(library, None, model="gpt-5-mini", key=None)))
    assert fault.check == "endpoint"
    assert "api.openai.com" in fault.detail
    assert "OPENAI_API_KEY" in str(fault.remedy)


def test_a_password_in_the_address_is_never_shown(library: Settings) -> None:
    with endpoint(Script()) as url:
        pass
    address = url.replace("127.0.0.1", "joe:planted-password@127.0.0.1")
    for finding in findings(with_llm(library, address, key=None), offline=False).values():
        assert "planted-password" not in f"{finding.detail}{finding.remedy}"


# The installation.


def test_an_old_python_is_named() -> None:
    verdict = python_version((3, 10, 4))
    assert (verdict.status, verdict.detail) == ("fail", "3.10.4 is older than 3.11")
    assert "Python 3.11" in str(verdict.remedy)


def test_missing_and_unfitting_packages_are_named_with_pip_s_command() -> None:
    verdict = packages(["no-such-package-here>=2", "click>=99", "numpy>=2", "absent; extra == 'dev'"], {})
    assert verdict.status == "fail"
    assert verdict.detail.startswith("no-such-package-here is missing, click is ")
    assert str(verdict.remedy).endswith("-m pip install 'no-such-package-here>=2' 'click>=99'")


def test_versions_that_were_not_tested_are_a_warning() -> None:
    verdict = packages(["click>=8"], {"click": "8.0.0"})
    assert verdict.status == "warn"
    assert "(tested: 8.0.0)" in verdict.detail
    assert str(verdict.remedy).endswith("-m pip install click==8.0.0")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('[1]'); raise ImportError('libplanted.so: no such file')", "libplanted.so"),
        ("import os; os._exit(139)", "ends the process (exit status 139)"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    (tmp_path / "docx.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    verdict = imports(["click", "docx"])
    assert verdict.status == "fail"
    assert said in verdict.detail
    assert verdict.detail.startswith("cannot be imported: docx (")
    assert str(verdict.remedy).endswith("-m pip install --force-reinstall python-docx")


def test_a_check_that_hangs_is_given_up_and_the_next_one_is_made() -> None:
    from rag.doctor.examination import _Check, _run

    release = threading.Event()
    wait: Callable[[], Any] = release.wait
    [finding] = _run(_Check("slow", wait, 0.05), ())
    release.set()
    assert (finding.status, finding.detail) == ("fail", "no result within 0.05 s")


def test_the_index_is_free_again_after_the_examination(library: Settings, collection: Path) -> None:
    assert findings(library)["index"].status == "pass"
    assert not (collection / "holder.json").exists()
    with closing(build.store(library)) as store:
        assert len(list(store.documents())) == 1
