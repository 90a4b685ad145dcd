"""`rag init`: what it asks, finds, points out and writes, and that nothing is written when one leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from rag.checkpoint import BUNDLED
from rag.commands import init_choices, init_files
from rag.commands.init_choices import Choices, for_file
from rag.errors import InputError
from tests.command_line import Done, Shell, call
from tests.qdrant_server import qdrant_server
from tests.terminal import Terminal
from tests.test_checkpoint import Hub, files_of
from tests.test_doctor import Script, endpoint

KEY = "sk-planted-42"


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """`rag init` with these words and variables in the working folder, where nobody can be asked."""

    def run(*words: str, **variables: str) -> Done:
        with monkeypatch.context() as during:
            for name, value in variables.items():
                during.setenv(name, value)
            return call(("rag", "init", *words), during, capfd, stdin=b"")

    return run


def asked(folder: Path, *words: str, **environment: str) -> Terminal:
    """`rag init` on a terminal."""
    given = {"HF_HUB_OFFLINE": "1", **environment}
    return Terminal([sys.executable, "-m", "rag", "init", *words], environment=given, folder=folder, rows=60)


def written(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "rag.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an index by the bundled model."""
    folder = tmp_path_factory.mktemp("indexed")
    (folder / "a.md").write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    settings = Settings(store={"path": folder / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    assert ingest([str(folder / "a.md")], settings=settings).added == 1
    return settings.store.path


# Without questions


def test_without_a_terminal_it_asks_for_yes(in_folder: Path, init: Shell) -> None:
    done = init()
    assert done.code == 2
    assert "--yes" in done.err
    assert len(done.err.splitlines()) == 1
    assert list(in_folder.iterdir()) == []


def test_flags_become_a_file_that_the_settings_read(in_folder: Path, init: Shell) -> None:
    done = init("--yes", "--model", "pocket-m3", "--store", "./index", "--collection", "team")
    assert done.code == 0, done.err
    assert done.out == ""
    settings = Settings()
    assert settings.embedder.model == "pocket-m3"
    assert (settings.store.path, settings.store.collection) == (Path("index"), "team")
    assert "pass  model: pocket-m3 (bundled)" in done.err
    assert "ingest PATH…" in done.err
    assert "rag chat" in done.err
    before = (in_folder / "rag.toml").stat().st_mtime_ns
    again = init("--yes")
    assert again.code == 0
    assert "nothing changed" in again.err
    assert (in_folder / "rag.toml").stat().st_mtime_ns == before


def test_a_model_that_is_not_here_is_left_for_later_with_its_size(in_folder: Path, init: Shell) -> None:
    done = init("--yes", "--store", "index")
    assert done.code == 0, done.err
    assert "warn  model: BAAI/bge-m3 is not on this machine: 2.3 GB" in done.err
    assert "pocket-m3" in done.err
    assert written(in_folder)["embedder"] == {"model": "BAAI/bge-m3"}


def test_a_failed_check_is_written_nevertheless_and_exits_with_one(in_folder: Path, init: Shell) -> None:
    done = init(
        *("--yes", "--model", "pocket-m3", "--store", "index"),
        *("--llm-model", "m", "--llm-base-url", "http://127.0.0.1:9/v1"),
    )
    assert done.code == 1
    assert "fail  endpoint: no connection to http://127.0.0.1:9/v1" in done.err
    assert done.err.rstrip().splitlines()[-1].startswith("1 check failed")
    assert written(in_folder)["llm"] == {"model": "m", "base_url": "http://127.0.0.1:9/v1"}
    assert init("--yes", "--llm-model", "none").code == 0
    assert "llm" not in written(in_folder)


def test_an_index_of_another_model_is_a_failed_check_even_before_the_model_is_here(
    in_folder: Path, indexed: Path, init: Shell
) -> None:
    done = init("--yes", "--store", str(indexed))
    assert done.code == 1
    assert "fail  index model: the collection 'default' was made with pocket-m3" in done.err


def test_what_goes_before_the_file_is_pointed_out(in_folder: Path, init: Shell) -> None:
    (in_folder / ".env").write_text("RAG_STORE__COLLECTION=other\n")
    done = init(
        *("--yes", "--model", "pocket-m3", "--store", "index", "--collection", "team"),
        RAG_EMBEDDER__MODEL="BAAI/bge-m3",
        RAG_STORE__URL="http://127.0.0.1:9",
    )
    assert done.code == 0, done.err
    notes = [line.split()[1] for line in done.err.splitlines() if line.startswith("  note  ")]
    assert notes == ["RAG_EMBEDDER__MODEL", "RAG_STORE__URL", "RAG_STORE__COLLECTION"]
    assert "note" not in init("--yes", RAG_EMBEDDER__MODEL="pocket-m3", RAG_STORE__COLLECTION="team").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--llm-base-url", "http://joe:secretpw@host/v1", "--llm-model", "m"), "RAG_LLM__BASE_URL"),
        (("--llm-base-url", "http://host/v1"), "--llm-model"),
        (("--collection", "../x"), "store.collection"),
        (("--store", ""), "store.path"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_tried(
    in_folder: Path, init: Shell, words: tuple[str, ...], said: str
) -> None:
    done = init("--yes", "--model", "pocket-m3", *words)
    assert done.code == 2
    assert said in done.err
    assert "secretpw" not in done.err
    assert list(in_folder.iterdir()) == []


def init_by_itself(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rag", "init", *words]
    return subprocess.run(
        command, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_a_model_is_fetched_only_when_that_is_asked_for(in_folder: Path, tmp_path: Path) -> None:
    """In processes of its own: the hub's client reads its variables when it is imported."""
    files = files_of(BUNDLED["pocket-m3"])
    del files["sentencepiece.bpe.model"]  # none of those that are fetched
    hub = Hub(files)
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1"}
    environment["HF_HUB_OFFLINE"] = "0"
    words = ("--yes", "--model", "owner/tiny", "--store", "index")
    try:
        later = init_by_itself(*words, **environment)
        assert hub.resolved == []
        size = sum(map(len, hub.files.values()))
        assert f"{size / 1e6:.1f} MB to fetch" in later.stderr or f"{size / 1e3:.1f} kB to fetch" in later.stderr
        now = init_by_itself(*words, "--download", **environment)
        assert "pass  model: owner/tiny" in now.stderr
        assert "model.safetensors" in hub.resolved
    finally:
        hub.close()


# With questions


@pytest.fixture
def llm() -> Iterator[str]:
    with endpoint(Script()) as url:
        yield url


def test_a_whole_conversation(in_folder: Path, llm: str) -> None:
    (in_folder / "rag.toml").write_text('# ours\n[retrieval]\ndepth = 50 # deep\n\n[embedder]\nmodel = "x/y" # old\n')
    (in_folder / ".env").write_bytes(b"OTHER=1\nexport RAG_LLM__API_KEY=old # x\nLAST=2")
    with qdrant_server(api_key="sesame-1") as server, asked(in_folder) as terminal:
        terminal.wait_for("Choose 1 to 3, a hub id or a folder [3]:")
        terminal.type("no such model\r")
        terminal.wait_for("there is no folder 'no such model'")
        terminal.type("pocket-m3\r")
        terminal.wait_for("Store [")
        terminal.type("localhost:6333\r")
        terminal.wait_for("begins with http:// or https://")
        terminal.type(f"{server.url}\r")
        terminal.wait_for("Key of the server")
        terminal.type("sesame-1\r")
        terminal.wait_for("Collection [default]:")
        terminal.type("../x\r")
        terminal.wait_for("Error: setting store.collection")
        terminal.type("team\r")
        terminal.wait_for("Choose 1 to 4 [1]:")
        terminal.type("9\r")
        terminal.wait_for("'9' is none of them")
        terminal.type("other\r")
        terminal.wait_for("Address:")
        terminal.type(f"{llm}\r")
        terminal.wait_for("Enter keeps that in .env")
        terminal.type(f"{KEY}\r")
        terminal.wait_for("Listed there: llama3.2:latest, mistral")
        terminal.type("mistral\r")
        terminal.wait_for("embedder.model = 'pocket-m3' (was 'x/y')")
        terminal.wait_for("Write it? [Y/n]:")
        terminal.type("\r")
        shown = terminal.wait_for("rag chat")
        assert terminal.exit_code() == 0
    assert "pass  answer: mistral begins to answer" in shown
    assert "pass  store: " in shown
    assert KEY not in shown
    assert "sesame-1" not in shown
    text = (in_folder / "rag.toml").read_text()
    assert text.startswith('# ours\n[retrieval]\ndepth = 50 # deep\n\n[embedder]\nmodel = "pocket-m3" # old\n')
    settings = Settings()
    assert (settings.store.url, settings.store.collection) == (server.url, "team")
    assert (settings.llm.model, settings.llm.base_url) == ("mistral", llm)
    assert KEY not in text
    assert "sesame-1" not in text
    secrets = in_folder / ".env"
    assert secrets.read_text() == f"OTHER=1\nRAG_LLM__API_KEY={KEY}\nLAST=2\nRAG_STORE__API_KEY=sesame-1\n"
    assert secrets.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("key", ["ctrl-c", "ctrl-d"])
@pytest.mark.parametrize("answers", [0, 2])
def test_whoever_leaves_finds_nothing_written(in_folder: Path, key: str, answers: int) -> None:
    questions = ["a hub id or a folder", "Store [", "Collection ["]
    with asked(in_folder) as terminal:
        for question, answer in zip(questions[:answers], ["pocket-m3", "index"], strict=False):
            terminal.wait_for(question)
            terminal.type(f"{answer}\r")
        terminal.wait_for(questions[answers])
        terminal.settle()  # a person needs that long too: between its words and its reading Python hears no key
        terminal.press(key)
        assert "Nothing was written." in terminal.wait_for("rag: interrupted")
        assert terminal.exit_code() == 130
    assert list(in_folder.iterdir()) == []


def test_the_size_is_said_and_the_small_model_offered_before_anything_is_fetched(in_folder: Path) -> None:
    with asked(in_folder, "--store", "index", "--collection", "c", "--llm-model", "none") as terminal:
        terminal.wait_for("a hub id or a folder [1]:")
        terminal.type("\r")
        terminal.wait_for("BAAI/bge-m3 is not on this machine: 2.3 GB to fetch")
        terminal.wait_for("Choose 1 to 3 [1]:")
        terminal.type("pocket-m3\r")
        terminal.wait_for("Wrote rag.toml.")
        assert terminal.exit_code() == 0
    assert written(in_folder)["embedder"] == {"model": "pocket-m3"}


def test_an_index_of_another_model_is_pointed_out_at_once(in_folder: Path, indexed: Path) -> None:
    with asked(in_folder, "--model", "BAAI/bge-m3", "--llm-model", "none") as terminal:
        terminal.wait_for("Store [")
        terminal.type(f"{indexed}\r")
        terminal.wait_for("Collection [default]:")
        terminal.type("\r")
        terminal.wait_for("was made with pocket-m3")
        terminal.type("collection\r")
        terminal.wait_for("Collection [default]: ")
        terminal.type("default\r")
        terminal.type("model\r")
        terminal.wait_for("pass index model: made with pocket-m3")
        terminal.wait_for("Wrote rag.toml.")
        assert terminal.exit_code() == 0
    assert written(in_folder)["embedder"] == {"model": "pocket-m3"}


def test_after_a_failed_check_it_asks_and_no_is_the_default(in_folder: Path) -> None:
    flags = ("--model", "BAAI/bge-m3", "--store", "http://127.0.0.1:9", "--collection", "c", "--llm-model", "none")
    with asked(in_folder, *flags) as terminal:
        terminal.wait_for("Choose 1 to 3 [1]:")
        terminal.type("later\r")
        terminal.wait_for("fail store: no server answers at http://127.0.0.1:9")
        terminal.wait_for("1 check failed. Write it nevertheless? [y/N]:")
        terminal.type("\r")
        terminal.wait_for("Nothing was written.")
        assert terminal.exit_code() == 1
    assert list(in_folder.iterdir()) == []


# What is written


@pytest.mark.parametrize(
    "text",
    [
        'store = {path = "a"} # here\n',
        'store.path = "a" # here\n',
        '[store] # here\npath = "a"\n',
        '\n# here\n[llm]\n\n[store]\npath="a"\n[retrieval]\nmode="dense"\n',
    ],
)
def test_any_spelling_of_a_file_keeps_its_comments_and_other_keys(text: str) -> None:
    new, changes = init_files.changed(text, {"store.path": "b", "embedder.model": "m", "store.url": None})
    assert [(change.name, change.before, change.after) for change in changes] == [
        ("store.path", "a", "b"),
        ("embedder.model", None, "m"),
    ]
    assert "# here" in new
    read, before = tomllib.loads(new), tomllib.loads(text)
    assert read == {**before, "store": {"path": "b"}, "embedder": {"model": "m"}}
    assert init_files.changed(new, {"store.path": "b", "embedder.model": "m", "store.url": None}) == (new, [])


def test_a_key_taken_out_leaves_the_rest_and_no_empty_table() -> None:
    new, _ = init_files.changed('[llm]\nmodel = "m"\n\n[store]\nurl = "u" # why\npath = "p"\n', {"llm.model": None})
    assert tomllib.loads(new) == {"store": {"url": "u", "path": "p"}}
    kept, _ = init_files.changed('[llm]\n# a remark\nmodel = "m"\n', {"llm.model": None})
    assert "# a remark" in kept


def test_only_what_is_no_default_is_written_and_a_stale_revision_goes() -> None:
    default = Choices("BAAI/bge-m3", str(Settings().store.path), "default")
    assert for_file(default, {}) == {
        "embedder.model": "BAAI/bge-m3",
        "store.url": None,
        "llm.model": None,
        "llm.base_url": None,
    }
    held = {"embedder.model": "BAAI/bge-m3", "embedder.revision": "abc", "store.path": "./index"}
    wanted = for_file(Choices("pocket-m3", "index", "default"), held)
    assert wanted["embedder.revision"] is None
    assert wanted["store.path"] == "./index", "the same folder, as it was spelled"


def test_an_address_with_a_login_goes_where_keys_go(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://joe:secretpw@host.example/v1?token=t"
    choices = Choices("pocket-m3", "index", "default", "m", address, {init_choices.LLM_KEY: KEY})
    assert "secretpw" not in str(choices.values())
    assert choices.secrets() == {init_choices.LLM_KEY: KEY, init_choices.LLM_ADDRESS: address}
    monkeypatch.setenv(init_choices.LLM_ADDRESS, address)
    assert choices.secrets() == {init_choices.LLM_KEY: KEY}, "what the environment has needs no copy on the disk"
    assert KEY not in repr(choices)


@pytest.mark.parametrize("value", [KEY, "https://joe:p%40w@host/v1?a=b&c=d", "AbC-_./+=~!*()[]{}|;,:^"])
def test_what_is_put_into_env_is_what_is_read_from_it(in_folder: Path, value: str) -> None:
    content = b"A=\"caf\xe9\"\r\nrag_llm__api_key = gone\r\n# RAG_LLM__API_KEY=x\nB='1'\n"
    new = init_files.with_secrets(content, {"RAG_LLM__API_KEY": value})
    assert new == content.replace(b"rag_llm__api_key = gone", b"RAG_LLM__API_KEY=" + value.encode())
    (in_folder / ".env").write_bytes(init_files.with_secrets(b"", {"RAG_LLM__API_KEY": value}))
    key = Settings().llm.api_key
    assert key is not None
    assert key.get_secret_value() == value


@pytest.mark.parametrize("value", ["a b", "a'b", 'a"b', "a$b", "a#b", "a\\b", "ä", "a\nb", ""])
def test_what_env_cannot_hold_as_it_is_is_refused(value: str) -> None:
    assert not init_files.fits(value)
    with pytest.raises(InputError, match="set the variable yourself"):
        init_files.with_secrets(b"", {"RAG_LLM__API_KEY": value})


def test_files_are_replaced_whole_links_stay_and_secrets_are_private(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "rag.toml", tmp_path / "rag.toml"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    init_files.write(link, b"new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)
    init_files.write(link, b"secret", private=True)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["rag.toml"]
    with pytest.raises(InputError, match="cannot be written"):
        init_files.write(tmp_path / "none" / "rag.toml", b"x")


def test_git_is_asked_whether_it_would_take_the_keys_along(in_folder: Path) -> None:
    assert not init_files.would_be_committed(Path(".env")), "no repository"
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert init_files.would_be_committed(Path(".env"))
    (in_folder / ".gitignore").write_text(".env\n")
    assert not init_files.would_be_committed(Path(".env"))


def test_no_thread_is_left_behind_by_a_look_at_an_index(indexed: Path) -> None:
    before = threading.active_count()
    assert init_choices.index_model(Choices("pocket-m3", str(indexed), "default").settings()) == "pocket-m3"
    assert init_choices.index_model(Choices("pocket-m3", str(indexed), "none-yet").settings()) is None
    assert threading.active_count() == before
