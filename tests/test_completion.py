"""Completion: what is offered, installing it and taking it out, and real shells, bare ones among them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from rag.stores.shard_lock import ShardLock
from tests.command_line import Shell, call
from tests.terminal import Terminal

BIN = Path(sys.executable).parent
SPACED = "docs/war tung.md"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with an index of two documents, which its rag.toml names, and two files below docs."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "docs").mkdir()
    (folder / SPACED).write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    (folder / "docs" / "cantine.txt").write_text("La cantine ouvre à midi et ferme à quatorze heures.\n")
    settings = Settings(store={"path": folder / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert ingest(["docs"], settings=settings, metadata={"site": "Linz Süd"}).added == 2
    finally:
        os.chdir(here)
    (folder / "rag.toml").write_text('[store]\npath = "store"\n[embedder]\nmodel = "pocket-m3"\n')
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def reply(folder: Path, *words: str, command: str = "rag", **environment: str) -> list[list[str]]:
    """What a shell gets for these words, the last one incomplete: kind, value and description of each line."""
    done = subprocess.run(
        [BIN / command, *words],
        cwd=folder,
        env={**os.environ, f"_{command.upper()}_COMPLETE": "words", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t") for line in done.stdout.splitlines()]


def values(folder: Path, *words: str, command: str = "rag", **environment: str) -> list[str]:
    return [value for _, value, _ in reply(folder, *words, command=command, **environment)]


def values_in_the_end(folder: Path, *words: str, offered: list[str], command: str = "rag") -> list[str]:
    """As `values`; asked again where the machine was too busy to open the index in time."""
    for _ in range(5):
        found = values(folder, *words, command=command)
        if found == offered:
            break
    return found


@pytest.fixture
def completion(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """`rag completion …` in that home."""
    return lambda *words: call(("rag", "completion", *words), monkeypatch, capfd)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("se",), ["search"]),
        (("search", "--mo"), ["--mode", "--model"]),
        (("search", "x", "--mode", ""), ["hybrid", "dense", "sparse"]),
        (("search", "x", "--mode=d"), ["--mode=dense"]),
        (("search", "x", "--in", ""), ["de", "fr"]),
        (("search", "x", "--where", "s"), ["site=Linz Süd"]),
        (("search", "x", "--source", "docs/c"), ["docs/cantine.txt"]),
        (("list", "--collection", ""), ["default"]),
        (("ask", "x", "--lang", "d"), ["de"]),
        (("ask", "x", "--model", "po"), ["pocket-m3", "po"]),
        (("show", "docs/"), ["docs/cantine.txt", SPACED]),
        (("show", "cant"), ["cantine.txt"]),
        (("show", "--collection", "none-such", ""), []),
        (("completion", "--shell", ""), ["bash", "zsh", "fish"]),
        (("nonsense", "--x"), []),
    ],
)
def test_what_fits_is_offered(library: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert values_in_the_end(library, *words, offered=offered) == offered


def test_commands_come_with_what_they_do(library: Path) -> None:
    found = {value: description for _, value, description in reply(library, "")}
    assert list(found)[:2] == ["ask", "chat"]
    assert found["list"] == "List the documents that the index holds."


def test_ingest_offers_its_subcommands_files_and_sources(library: Path) -> None:
    found = reply(library, "", command="ingest")
    assert {value for kind, value, _ in found if kind == "value"} >= {
        "list",
        "remove",
        "verify",
        "rebuild",
        "export",
        "import",
    }
    assert [kind for kind, _, _ in found if kind != "value"] == ["file"]
    assert values(library, "docs", "--ex", command="ingest") == ["--exclude"]
    assert values_in_the_end(library, "remove", SPACED[:8], command="ingest", offered=[SPACED]) == [SPACED]


def test_the_index_that_the_line_names_is_the_one_that_is_looked_at(library: Path, tmp_path: Path) -> None:
    words = ("show", "--store", str(library / "store"), "cant")
    assert values_in_the_end(tmp_path, *words, offered=["cantine.txt"]) == ["cantine.txt"]
    assert values(tmp_path, "show", "--store", str(tmp_path / "none"), "cant") == []


@pytest.mark.parametrize("content", ["[store\n", "nonsense = 1\n", '[store]\ncollection = "../x"\n'])
def test_settings_that_cannot_be_read_are_no_error_while_one_types(tmp_path: Path, content: str) -> None:
    (tmp_path / "rag.toml").write_text(content)
    assert values(tmp_path, "show", "") == []
    assert values(tmp_path, "sho") == ["show"]


@pytest.mark.parametrize("url", ["http://10.255.255.1:6333", "http://127.0.0.1:1"])
def test_a_server_is_not_waited_for(tmp_path: Path, url: str) -> None:
    assert values(tmp_path, "show", "", RAG_STORE__URL=url, RAG_STORE__TIMEOUT="600") == []


def test_an_index_that_another_process_holds_keeps_nobody_waiting(library: Path) -> None:
    lock = ShardLock(library / "store" / "default", 5)
    lock.acquire()
    try:
        assert values(library, "show", "") == []
    finally:
        lock.release()


def test_commands_are_offered_without_loading_anything_heavy(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom rag.commands.completion_values import completions\nfrom rag.__main__ import rag\n"
        "found = completions(rag, 'rag', [], 's') + completions(rag, 'rag', ['search'], '--m')\n"
        "print(len(found), sorted({'pydantic', 'numpy', 'torch', 'rich', 'qdrant_edge'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "4 []"


# Installing


@pytest.mark.parametrize(("shell", "startup"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_installing_twice_is_installing_once_and_removing_leaves_nothing(
    home: Path, completion: Shell, shell: str, startup: str | None
) -> None:
    theirs = b"alias ll='ls -l' # caf\xe9\n"
    if startup:
        (home / startup).write_bytes(theirs)
    done = completion("--shell", shell)
    assert done.code == 0, done.err
    assert "in this one: " in done.out
    first = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert "already; nothing changed" in completion("--shell", shell).out
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == first
    assert completion("--shell", shell, "--remove").code == 0
    left = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert left == ({home / startup: theirs} if startup else {})
    assert "nothing to take out" in completion("--shell", shell, "--remove").out


def test_a_startup_file_that_is_a_link_stays_one(home: Path, completion: Shell) -> None:
    (home / "dotfiles").mkdir()
    (home / "dotfiles" / "bashrc").write_text("export A=1")
    (home / "dotfiles" / "bashrc").chmod(0o600)
    (home / ".bashrc").symlink_to("dotfiles/bashrc")
    assert completion("--shell", "bash").code == 0
    assert (home / ".bashrc").is_symlink()
    written = home / "dotfiles" / "bashrc"
    assert written.read_text().startswith("export A=1\n# >>>")
    assert written.stat().st_mode & 0o777 == 0o600


def test_an_older_block_is_replaced_where_it_stands(home: Path, completion: Shell) -> None:
    assert completion("--shell", "bash").code == 0
    block = (home / ".bashrc").read_text()
    (home / ".bashrc").write_text("before\n" + re.sub("\nif .*\n", "\nold\n", block) + "after\n")
    assert completion("--shell", "bash").code == 0
    assert (home / ".bashrc").read_text() == f"before\n{block}after\n"


def test_what_is_not_ours_is_left_alone(home: Path, completion: Shell) -> None:
    theirs = home / ".config" / "fish" / "completions" / "rag.fish"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("complete -c rag -a theirs\n")
    refused = completion("--shell", "fish")
    assert refused.code == 2
    assert str(theirs) in refused.err
    assert "nothing to take out" in completion("--shell", "fish", "--remove").out
    (home / ".bashrc").write_text("# >>> cross-lingual-rag completion >>>\n")
    for words in ((), ("--remove",)):
        broken = completion("--shell", "bash", *words)
        assert broken.code == 2
        assert "delete these lines by hand" in broken.err
    assert (home / ".bashrc").read_text() == "# >>> cross-lingual-rag completion >>>\n"


def test_printing_writes_nothing(home: Path, completion: Shell) -> None:
    assert "complete -F" in completion("--shell", "bash", "--print").out
    assert list(home.iterdir()) == []
    assert completion("--print", "--remove").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_in_use_is_the_one_that_runs_the_command(completion: Shell, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [program, "-c", "rag completion --print; true"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SHELL": "/bin/tcsh"},
    )
    assert done.stdout == completion("--shell", shell, "--print").out


# In real shells

BARE = {
    "bash": (["bash", "--norc", "--noprofile"], 'eval "$(rag completion --print --shell bash)"'),
    "zsh": (["zsh", "-f"], 'eval "$(rag completion --print --shell zsh)"'),
    "fish": (["fish", "--no-config"], "rag completion --print --shell fish | source"),
}
LINES = [
    ("rag se", "rag search"),
    ("rag search x --mode=d", "rag search x --mode=dense"),
    ("rag show docs/w", r"rag show docs/war\ tung.md"),
    ('rag show "docs/w', 'rag show "docs/war tung.md"'),
    ("rag search x --where si", r"rag search x --where site=Linz\ Süd"),
    ("cat q.txt | rag as", "cat q.txt | rag ask"),
    ("ingest docs/c", "ingest docs/cantine.txt"),
    ("ingest rem", "ingest remove"),
]


def shell_or_skip(shell: str) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    return program


def started(arguments: list[str], folder: Path, home: Path) -> Terminal:
    return Terminal(arguments, environment={"HOME": str(home), "HISTFILE": "/dev/null"}, folder=folder, columns=100)


def completes(terminal: Terminal, typed: str, becomes: str) -> None:
    terminal.type(typed)
    for patience in (5, 5, 20):  # on a busy machine an index may not open in time: then a person presses Tab again
        terminal.type("\t")
        with suppress(AssertionError):
            terminal.wait_for(becomes, seconds=patience)
            break
    else:
        terminal.wait_for(becomes, seconds=0)
    terminal.type("\x15")  # the line away again
    terminal.clear()


@pytest.fixture(params=list(BARE))
def bare(request: pytest.FixtureRequest, library: Path, home: Path) -> Iterator[Terminal]:
    """A shell without any startup file, in which the printed script was evaluated."""
    shell = str(request.param)
    shell_or_skip(shell)
    arguments, evaluate = BARE[shell]
    with started(arguments, library, home) as terminal:
        terminal.settle()
        terminal.type(f"{evaluate}; echo rea''dy\r")
        terminal.wait_for("ready")
        terminal.clear()
        yield terminal


def test_a_bare_shell_completes(bare: Terminal) -> None:
    for typed, becomes in LINES:
        completes(bare, typed, becomes)


def test_a_failure_leaves_the_line_as_it_was(bare: Terminal) -> None:
    bare.type("cd /; export RAG_STORE__COLLECTION=../x; echo mo''ved\r")
    bare.wait_for("moved")
    bare.clear()
    bare.type("rag show a\tbc")
    shown = bare.wait_for("rag show abc")
    assert not re.search("Traceback|rror|setting", shown)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_after_one_command_a_new_shell_completes(library: Path, home: Path, completion: Shell, shell: str) -> None:
    shell_or_skip(shell)
    assert completion("--shell", shell).code == 0
    if shell == "zsh":
        with (home / ".zshrc").open("a") as file:  # what many have, and what forgets completions made before
            file.write("autoload -Uz compinit && compinit -i\n")
    with started([shell], library, home) as terminal:
        terminal.settle()
        terminal.type("echo rea''dy\r")
        terminal.wait_for("ready")
        terminal.clear()
        for typed, becomes in LINES[:3]:
            completes(terminal, typed, becomes)


HOSTILE = ["dept=$(touch PWNED)", "dept=`touch PWNED`", 'dept=x"; touch PWNED; "', "dept='; touch PWNED; '"]


@pytest.mark.parametrize("begun", ["'\"dep'", "\\'dep", "dep"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_document_says_is_never_run_by_bash(tmp_path: Path, completion: Shell, begun: str, hostile: str) -> None:
    """A document's metadata, completed within quotes and without, then evaluated as the command line would be."""
    script = completion("--print", "--shell", "bash").out
    (tmp_path / "values").write_text(f"value\t{hostile}\t\nvalue\tdept=hr\t\n")
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\ncat {tmp_path / 'values'}\n")
    fake.chmod(0o755)
    (tmp_path / "script.bash").write_text(script)
    line = (
        f"source {tmp_path / 'script.bash'}; COMP_LINE='rag search x --where dep'; COMP_POINT=24; "
        f"COMP_WORDS=(rag search x --where {begun}); COMP_CWORD=4; "
        f"_rag_ingest_completion _RAG_COMPLETE {fake} dep; "
        'quote="${COMP_WORDS[4]%%dep*}"; for each in "${COMPREPLY[@]}"; do echo "$each"; '
        'eval "true $quote$each$quote"; done'
    )
    done = subprocess.run(["bash", "--norc", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "dept=hr" in done.stdout, done.stderr
    assert not (tmp_path / "PWNED").exists()
