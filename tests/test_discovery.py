from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.discovery import discover
from rag.errors import InputError
from rag.locations import source_of, uri_of


def names(found: object) -> list[str]:
    return [one.path.name for one in found]  # type: ignore[attr-defined]


@pytest.fixture
def tree(in_folder: Path) -> Path:
    for name in ("b.md", "a.txt", "bild.png", ".hidden.md", "sub/c.html", "sub/drafts/d.md", ".git/e.md"):
        path = in_folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Text")
    return in_folder / "docs"


def test_a_folder_is_walked_in_a_fixed_order_without_hidden_names(tree: Path) -> None:
    found = list(discover([tree]))
    assert names(found) == ["a.txt", "b.md", "bild.png", "c.html", "d.md"]
    assert [one.format for one in found] == ["txt", "md", None, "html", "md"]


def test_two_spellings_of_one_path_are_one_file(tree: Path) -> None:
    assert names(discover([tree / "a.txt", Path("docs/../docs/a.txt"), tree])) == [
        "a.txt", "b.md", "bild.png", "c.html", "d.md",
    ]  # fmt: skip


def test_a_file_asked_for_by_name_is_found_as_such_wherever_it_stands(tree: Path) -> None:
    for paths in ([tree, tree / "bild.png"], [tree / "bild.png", tree]):
        found = [one for one in discover(paths) if one.path.name == "bild.png"]
        assert len([one for one in found if one.named]) == 1


def test_a_link_to_a_file_is_that_file(tree: Path) -> None:
    (tree / "z.md").symlink_to(tree / "b.md")
    (tree / "loop").symlink_to(tree)
    assert names(discover([tree])).count("b.md") + names(discover([tree])).count("z.md") == 1


def test_exclude_and_ragignore_leave_out_what_they_match(tree: Path) -> None:
    assert names(discover([tree], ["drafts/", "*.png"])) == ["a.txt", "b.md", "c.html"]
    (tree / "sub" / ".ragignore").write_text("# comment\n*.html\n")
    (tree / ".ragignore").write_text("b.md\n")
    assert names(discover([tree])) == ["a.txt", "bild.png", "d.md"]


def test_the_last_pattern_that_matches_decides_across_folders(tree: Path) -> None:
    (tree / ".ragignore").write_text("\ufeff*.md\n!b.md\n")
    (tree / "sub" / ".ragignore").write_text("!*.md\n")
    assert names(discover([tree])) == ["a.txt", "b.md", "bild.png", "c.html", "d.md"]


def test_an_exclude_that_is_no_pattern_is_refused(tree: Path) -> None:
    with pytest.raises(InputError, match="'!'"):
        list(discover([tree], ["!"]))


def test_what_cannot_be_looked_at_costs_nothing_else(tree: Path) -> None:
    (tree / "sub" / ".ragignore").write_text("*.tmp\n!\n")
    (tree / "ring.md").symlink_to(tree / "ring.md")
    (tree / "gone.md").symlink_to(tree / "nowhere")
    found = list(discover([tree, tree / ("x" * 300)]))
    assert {one.path.name for one in found if one.error} == {"sub", "ring.md", "gone.md", "x" * 300}
    assert [one.path.name for one in found if not one.error] == ["a.txt", "b.md", "bild.png"]
    assert ".ragignore" in str(next(one.error for one in found if one.path.name == "sub"))


def test_a_link_is_read_by_the_suffix_of_the_file_it_leads_to(tree: Path) -> None:
    (tree / "alias.md").symlink_to(tree / "a.txt")
    (tree / "blob").write_text("Text")
    (tree / "named.txt").symlink_to(tree / "blob")
    found = {one.path.name: one.format for one in discover([tree])}
    assert found["a.txt"] == "txt"
    assert found["blob"] is None
    assert "alias.md" not in found


def test_a_path_that_is_not_there_is_a_failure_and_not_the_end(tree: Path) -> None:
    missing, present = discover([tree / "nix.md", tree / "a.txt"])
    assert missing.error is not None
    assert "No such file" in str(missing.error)
    assert present.error is None


def test_a_pipe_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "pipe.md")
    [found] = discover([tree / "pipe.md"])
    assert "neither a file nor a folder" in str(found.error)
    [walked] = [found for found in discover([tree]) if found.path.name == "pipe.md"]
    assert walked.error is not None


def test_a_location_survives_spaces_percent_signs_and_every_script(in_folder: Path) -> None:
    path = in_folder / "50 % Größe" / "手册#1.md"
    uri = uri_of(path)
    assert uri.startswith("file:///")
    assert " " not in uri
    assert "#" not in uri
    assert source_of(uri) == "50 % Größe/手册#1.md"


def test_a_source_outside_the_working_folder_is_its_path(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = uri_of(in_folder / "docs" / "a.md")
    assert source_of(uri) == "docs/a.md"
    monkeypatch.chdir(in_folder.parent)
    assert source_of(uri) == "work/docs/a.md"
    (in_folder.parent / "else").mkdir()
    monkeypatch.chdir(in_folder.parent / "else")
    assert source_of(uri) == str(in_folder.resolve() / "docs" / "a.md")
    assert source_of("https://example.org/a") == "https://example.org/a"
