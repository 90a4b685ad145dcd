"""`rag models`, `rag models pull` and `rag models check`, as a shell runs them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag import checkpoint
from rag.embedding_model import inspect
from tests.command_line import Done, call
from tests.test_catalogue import evaluation, halve, written
from tests.test_checkpoint import COMMIT, Hub, files_of, online
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_sentence_models import write_e5

Shell = Callable[..., Done]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    return lambda *words: call(("rag", "models", *words), monkeypatch, capfd)


@pytest.fixture
def copy(tiny: Path, in_folder: Path) -> Path:
    """`tiny` in the working folder, to damage."""
    return Path(shutil.copytree(tiny, in_folder / "copy"))


@pytest.fixture
def hub(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine that has `owner/tiny`; the cache is empty."""
    online(monkeypatch)
    server = Hub(files_of(tiny))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.close()


def one_line(done: Done) -> str:
    (line,) = done.err.splitlines()
    return line


# The list


def test_the_list_says_what_each_model_can_be_used_for(shell: Shell) -> None:
    done = shell()
    assert (done.code, done.err) == (0, "")
    head, *rows = done.out.split("\n\n")[0].splitlines()
    assert head.split()[:4] == ["use", "here", "dimension", "window"]
    used = {row.split()[-1]: row.split()[0] for row in rows}
    assert used["pocket-m3"] == used["BAAI/bge-m3"] == "embedder"
    assert used["sentence-transformers/LaBSE"] == used["intfloat/multilingual-e5-large"] == "dense"
    assert "\n.805   .790  nDCG@10  Belebele   dense           published  BAAI/bge-m3\n" in done.out


def test_programs_get_one_object_a_model(shell: Shell) -> None:
    found = {line["id"]: line for line in shell("--json").lines}
    pocket, e5 = found["pocket-m3"], found["intfloat/multilingual-e5-small"]
    assert (pocket["use"], pocket["presence"], pocket["dimension"]) == ("embedder", "bundled", 256)
    assert pocket["vectors"] == ["dense", "sparse", "multi"]
    assert (e5["use"], e5["query_prompt"]) == ("dense", "query: ")
    assert e5["presence"] in ("here", "not here")
    assert all(figure["source"] and not figure["own"] for line in found.values() for figure in line["figures"])


def test_own_figures_stand_beside_the_published_ones(shell: Shell, in_folder: Path) -> None:
    written(in_folder / "own.json", evaluation("BAAI/bge-m3", de_de=0.9, de_en=0.5), evaluation("mine", de_en=0.25))
    done = shell("--figures", "own.json", "--json")
    figures = {line["id"]: line["figures"] for line in done.lines}
    assert {figure["own"] for figure in figures["BAAI/bge-m3"]} == {True, False}
    assert figures["mine"] == [
        {
            "own": True,
            "benchmark": "xquad",
            "metric": "nDCG@10",
            "ranking": "dense",
            "within": None,
            "across": 0.25,
            "source": "own.json",
            "questions": 30,
            "other_weights": None,
        }
    ]
    table = shell("--figures", "own.json").out.split("\n\n")[1]
    rows = [row.split() for row in table.splitlines() if row.endswith("BAAI/bge-m3")]
    assert [".900", ".500", "nDCG@10", "xquad", "dense", "you,", "30", "questions", "BAAI/bge-m3"] in rows
    assert len(rows) == 10


def test_a_file_without_figures_is_named_and_the_others_still_count(shell: Shell, in_folder: Path) -> None:
    written(in_folder / "own.json", evaluation("mine", de_en=0.25))
    (in_folder / "notes.md").write_text("# Notes")
    done = shell("--figures", "notes.md", "--figures", "own.json", "--figures", "gone.json", "--json")
    assert done.code == 2
    assert [line.split("'")[1] for line in done.err.splitlines()] == ["notes.md", "gone.json"]
    assert done.lines[-1]["id"] == "mine"


def test_options_of_the_list_are_not_lost_in_silence_before_another_command(shell: Shell) -> None:
    done = shell("--json", "check", "pocket-m3")
    assert (done.code, done.out) == (2, "")
    assert "'check'" in one_line(done)


# Checking


def test_the_bundled_model_is_usable(shell: Shell) -> None:
    done = shell("check", "pocket-m3")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()[:-1]] == ["ok"] * 6
    fingerprint = checkpoint.inspect(checkpoint.BUNDLED["pocket-m3"], "").fingerprint
    assert "usable: dimension 256, window 1024 tokens, dense, sparse and multi-vector heads, " in done.out
    assert fingerprint in done.out


def test_a_checkpoint_without_heads_says_what_does_not_work_and_what_mends_it(shell: Shell, copy: Path) -> None:
    (copy / "sparse_linear.pt").unlink()
    halve(copy / "colbert_linear.pt")
    done = shell("check", "copy")
    assert done.code == 3
    assert one_line(done).startswith("rag: 'copy' is not usable, sparse_linear.pt, colbert_linear.pt are missing or")
    lines = {line.split()[1]: line for line in done.out.splitlines()}
    missing = lines["sparse_linear.pt"]
    assert missing.startswith("missing  ")
    assert "neither hybrid nor sparse search" in missing
    assert missing.endswith("– copy it from the model's repository, or use a complete BGE-M3 checkpoint")
    assert lines["colbert_linear.pt"].startswith("damaged  ")
    assert lines["config.json,"].startswith("ok       ")
    assert "fingerprint" not in done.out


def test_programs_get_the_files_with_remedies_even_of_a_folder_that_is_not_usable(shell: Shell, copy: Path) -> None:
    assert shell("check", "copy", "--json").json["usable"] is True
    (copy / "tokenizer.json").unlink()
    done = shell("check", "copy", "--json")
    assert done.code == 3
    assert (done.json["usable"], done.json["fingerprint"], done.json["dimension"]) == (False, None, 64)
    found = {each["file"]: each for each in done.json["files"]}
    assert found["tokenizer.json"]["status"] == "missing"
    assert found["tokenizer.json"]["remedy"].startswith("copy it from the model's repository")
    assert found["model.safetensors"]["status"] == "ok"


def test_bge_m3s_layout_with_another_encoder_is_not_usable_and_said_to_teach(shell: Shell, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    done = shell("check", "copy")
    assert done.code == 3
    assert "model_type = 'bert'" in done.out
    assert "`rag train distill --teacher` may learn from it" in one_line(done)


def test_a_sentence_transformers_model_is_usable_with_its_prompts(shell: Shell, in_folder: Path) -> None:
    folder = write_e5(in_folder / "multilingual-e5-small")
    done = shell("check", folder.name)
    assert (done.code, done.err) == (0, "")
    *files, last = done.out.splitlines()
    assert [line.split()[0] for line in files] == ["ok"] * 7
    fingerprint = inspect(Path(folder.name), folder.name).fingerprint
    assert last == (
        "usable: dimension 48, window 512 tokens, dense vectors of sentence-transformers, sparse ones of BM25, prompts "
        f"'query: ' and 'passage: ', fingerprint {fingerprint}; `rag train distill --teacher` may learn from it"
    )
    found = shell("check", folder.name, "--json").json
    assert (found["usable"], found["teacher"], found["layout"]) == (True, True, "sentence-transformers")
    assert (found["query_prompt"], found["passage_prompt"]) == ("query: ", "passage: ")
    assert (found["dimension"], found["window"], found["fingerprint"]) == (48, 512, fingerprint)


def test_a_sentence_transformers_model_that_lacks_a_file_says_which_and_what_mends_it(
    shell: Shell, in_folder: Path
) -> None:
    folder = write_e5(in_folder / "e5")
    (folder / "1_Pooling" / "config.json").unlink()
    done = shell("check", "e5")
    assert done.code == 3
    assert one_line(done).startswith("rag: 'e5' is not usable, 1_Pooling/config.json is missing or damaged: ")
    (missing,) = (line for line in done.out.splitlines() if not line.startswith("ok"))
    assert missing.startswith("missing  1_Pooling/config.json – ")
    assert missing.endswith("– copy it from the model's repository")
    found = shell("check", "e5", "--json").json
    assert (found["usable"], found["teacher"], found["fingerprint"], found["dimension"]) == (False, False, None, None)


@pytest.mark.parametrize("word", ["check", "pull"])
@pytest.mark.parametrize(
    "model",
    ["", "gone/folder/deep", "a" * 5000, "~nobody-of-that-name/x", "owner/a--b", "owner/a..b", f"{'a' * 300}/b"],
)
def test_what_is_neither_folder_nor_model_is_said_in_one_line(shell: Shell, word: str, model: str) -> None:
    done = shell(word, model)
    assert (done.code, done.out) == (3, "")
    line = one_line(done)
    assert line.startswith("rag: ")
    assert "rag models pull" not in line
    assert "cannot write" not in line


def test_a_file_is_no_folder_of_a_model(shell: Shell, copy: Path) -> None:
    done = shell("check", "copy/model.safetensors")
    assert done.code == 3
    assert one_line(done) == "rag: 'copy/model.safetensors' is a file: give its folder"


def test_a_listed_model_that_is_not_here_is_named_with_the_command_that_fetches_it(shell: Shell, hub: Hub) -> None:
    done = shell("check", "sentence-transformers/LaBSE")
    assert done.code == 3
    assert "`rag models pull sentence-transformers/LaBSE`" in one_line(done)
    assert hub.requests == 0


# Fetching


def test_the_bundled_model_need_not_be_fetched(shell: Shell, hub: Hub) -> None:
    done = shell("pull", "pocket-m3")
    assert (done.code, done.err) == (0, "")
    folder = checkpoint.BUNDLED["pocket-m3"]
    assert re.fullmatch(rf"pocket-m3 comes with the program: [\d.]+ MB in {re.escape(str(folder))}\n", done.out)
    assert hub.requests == 0


def test_a_model_is_fetched_once_and_then_usable_without_a_network(shell: Shell, hub: Hub, tiny: Path) -> None:
    before = shell("check", "owner/tiny")
    assert before.code == 3
    assert "`rag models pull owner/tiny`" in one_line(before)
    done = shell("pull", "owner/tiny", "--json")
    assert done.code == 0
    assert "fetching owner/tiny: " in done.err
    assert done.json["fetched"] is True
    assert done.json["size"] == sum((tiny / name).stat().st_size for name in hub.resolved)
    assert Path(done.json["folder"], "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
    asked = hub.requests
    again = shell("pull", "owner/tiny")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("owner/tiny is here already: ")
    after = shell("check", "owner/tiny")
    assert after.code == 0
    assert checkpoint.inspect(tiny, "").fingerprint in after.out
    assert hub.requests == asked


def test_a_sentence_transformers_model_is_fetched_and_then_usable(shell: Shell, hub: Hub, in_folder: Path) -> None:
    folder = write_e5(in_folder / "e5")
    hub.files = {**files_of(folder), "onnx/model.onnx": b"x", "pytorch_model.bin": b"x"}
    done = shell("pull", "owner/tiny", "--json")
    assert done.code == 0
    assert sorted(hub.resolved) == sorted(files_of(folder))
    assert done.json["size"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    asked = hub.requests
    assert shell("pull", "owner/tiny").out.startswith("owner/tiny is here already: ")
    after = shell("check", "owner/tiny")
    assert after.code == 0
    assert inspect(folder, "owner/tiny").fingerprint in after.out
    assert hub.requests == asked


def test_a_revision_is_fetched_where_one_is_given_or_set(
    shell: Shell, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no revision 'nosuchrevision'" in one_line(shell("pull", "owner/tiny", "--revision", "nosuchrevision"))
    monkeypatch.setenv("RAG_EMBEDDER__REVISION", "nosuchrevision")
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "owner/tiny")
    assert "no revision 'nosuchrevision'" in one_line(shell("pull", "owner/tiny"))
    assert shell("pull", "owner/tiny", "--revision", COMMIT).code == 0


@pytest.mark.parametrize(
    ("model", "words"), [("owner/unknown", "no model 'owner/unknown'"), ("owner/gated", "accepted its terms")]
)
def test_what_the_hub_does_not_hand_out_is_said_in_one_line(shell: Shell, hub: Hub, model: str, words: str) -> None:
    done = shell("pull", model)
    assert (done.code, done.out) == (3, "")
    assert words in one_line(done)


def test_a_fetched_model_that_cannot_be_used_is_no_success(shell: Shell, hub: Hub) -> None:
    hub.files = {**hub.files, "tokenizer.json": b"{}"}
    done = shell("pull", "owner/tiny")
    assert (done.code, done.out) == (3, "")
    assert "'owner/tiny' is fetched and not usable: " in done.err
    assert "tokenizer.json" in done.err


def test_a_model_that_is_damaged_in_the_cache_can_be_fetched_again_as_the_message_says(
    shell: Shell, hub: Hub, tiny: Path
) -> None:
    folder = Path(shell("pull", "owner/tiny", "--json").json["folder"])
    halve((folder / "model.safetensors").resolve())
    damaged = shell("pull", "owner/tiny")
    assert damaged.code == 3
    found = re.search(r"; or delete (\S+) and pull again", one_line(damaged))
    assert found is not None
    shutil.rmtree(found[1])
    assert shell("pull", "owner/tiny").code == 0


class _Endless(bytes):
    """Weights that are said to be larger than any disk."""

    def __len__(self) -> int:
        return 10**18


def test_what_the_disk_cannot_take_is_refused_before_it_is_fetched(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    hub.files = {**hub.files, "model.safetensors": _Endless()}
    done = shell("pull", "owner/tiny")
    assert (done.code, done.out) == (3, "")
    line = one_line(done)
    assert "'owner/tiny' takes 1000000000.0 GB more" in line
    assert f"{tmp_path / 'cache'} has " in line
    assert hub.resolved == []


def test_a_folder_is_not_fetched(shell: Shell, hub: Hub, copy: Path) -> None:
    done = shell("pull", "copy")
    assert done.code == 2
    assert "`rag models check`" in one_line(done)
    assert hub.requests == 0
