"""Questions from the standard input, and `rag search --explain`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from tests.command_line import Shell, call
from tests.terminal import Terminal

BELT = "Das Förderband wird jeden Montag gereinigt."


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of two documents, which its rag.toml names."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "wartung.md").write_text(f"# Wartung\n\n{BELT}\n")
    (folder / "cantine.txt").write_text("La cantine ouvre à midi et ferme à quatorze heures.\n")
    settings = Settings(store={"path": folder / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    assert ingest([str(folder / "wartung.md"), str(folder / "cantine.txt")], settings=settings).added == 2
    (folder / "rag.toml").write_text('[store]\npath = "store"\n[embedder]\nmodel = "pocket-m3"\n')
    return folder


@pytest.fixture
def rag(library: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """`rag …` in that folder, with `given` as its input."""
    monkeypatch.chdir(library)
    return lambda *words, given=b"": call(("rag", *words), monkeypatch, capfd, stdin=given)


def test_a_question_from_a_pipe_is_the_same_question(rag: Shell) -> None:
    written = "\n  Quand ouvre la cantine ?\n\n"
    done = rag("ask", "-", "--json", given=written.encode("utf-8-sig"))
    assert done.code == 0, done.err
    answer = done.json
    assert answer["question"] == "Quand ouvre la cantine ?"
    assert answer["citations"][0]["source"] == "cantine.txt"
    assert done.err == ""


def test_several_lines_are_one_question(rag: Shell) -> None:
    done = rag("ask", "-", "--json", given=b"Quand ouvre\nla cantine ?")
    assert done.json["question"] == "Quand ouvre\nla cantine ?"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "holds no question"),
        (b" \n\t\n", "holds no question"),
        ("Où ?".encode("latin-1"), "not UTF-8 (byte 0xf9 at 1)"),
    ],
)
@pytest.mark.parametrize("command", ["ask", "search"])
def test_what_is_no_question_is_an_error_of_usage(rag: Shell, command: str, given: bytes, said: str) -> None:
    done = rag(command, "-", given=given)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_a_closed_input_is_an_error_of_usage(library: Path) -> None:
    command = f'exec "{sys.executable}" -m rag ask - <&-'
    done = subprocess.run(command, shell=True, cwd=library, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"closed" in done.stderr


def test_without_a_question_the_input_is_left_for_others(library: Path, rag: Shell) -> None:
    script = f'while read -r line; do "{sys.executable}" -m rag search 2>/dev/null; echo "$line"; done'
    done = subprocess.run(["bash", "-c", script], cwd=library, input=b"one\ntwo\n", capture_output=True, check=False)
    assert done.stdout == b"one\ntwo\n"
    assert "or - to read it" in rag("ask").err


def test_at_a_terminal_it_says_that_it_waits(library: Path) -> None:
    with Terminal([sys.executable, "-m", "rag", "search", "-", "-k", "1"], environment={}, folder=library) as terminal:
        terminal.wait_for("then Ctrl-D")
        terminal.type("Wann wird das Förderband gereinigt?\r\x04")
        terminal.wait_for(BELT)
        assert terminal.exit_code() == 0
    with Terminal([sys.executable, "-m", "rag", "search", "-"], environment={}, folder=library) as terminal:
        terminal.wait_for("then Ctrl-D")
        terminal.settle()  # a person needs that long too: between its words and its reading Python hears no key
        terminal.press("ctrl-c")
        assert terminal.exit_code() == 130


def test_explain_shows_scores_the_words_that_matched_and_why_one_is_before_the_next(rag: Shell) -> None:
    best, other = rag("search", "Förderband am Montag", "--explain", "-k", "2", "--json").lines
    weights = {term["term"]: term["weight"] for term in best["matched_terms"]}
    assert "Förderband" in weights
    assert sum(weights.values()) == pytest.approx(best["sparse_score"], abs=1e-3)
    assert list(weights.values()) == sorted(weights.values(), reverse=True)
    shown = rag("search", "Förderband am Montag", "--explain", "-k", "2").out
    assert (
        f"dense {best['dense_score']:.3f}  sparse {best['sparse_score']:.3f} "
        f"counting {best['fused_score'] - best['dense_score']:.3f}  fused {best['fused_score']:.3f}" in shown
    )
    assert f"level of German {best['level']:.3f}  normalized {best['score']:.3f}" in shown
    parts = best["before_next"]
    assert parts.pop("total") == pytest.approx(best["score"] - other["score"], abs=1e-5)
    assert sum(parts.values()) == pytest.approx(best["score"] - other["score"], abs=1e-5)
    assert f"before the next by {best['score'] - other['score']:.3f}: " in shown
    assert other["before_next"] is None
    assert f"Förderband {weights['Förderband']:.3f}" in shown
    assert "matched_terms" not in rag("search", "Montag", "-k", "1", "--json").json
    assert other["matched_terms"] == [] or other["sparse_score"] > 0


def test_json_goes_through_a_pipe_line_by_line(library: Path) -> None:
    command = f'"{sys.executable}" -m rag search - --json | head -n 1'
    done = subprocess.run(
        command, shell=True, cwd=library, input=b"Montag", capture_output=True, check=False, env=dict(os.environ)
    )
    assert json.loads(done.stdout)["rank"] == 1
    assert done.stderr == b""
