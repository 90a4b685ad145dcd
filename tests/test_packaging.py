from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_folder_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("rag", "ingest")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found | {"rag_config"}


def test_constraints_pin_every_dependency_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    names = {name.lower().replace("_", "-") for name in pins}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    missing = {re.split(r"[<>=!~;\[ ]", want)[0].lower().replace("_", "-") for want in wanted} - names
    assert missing == set()
    assert pins["torch"] == "2.13.0"


def test_the_readme_names_every_setting() -> None:
    from rag_config.settings import Settings

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = set()
    for name, field in Settings.model_fields.items():
        group = getattr(field.annotation, "model_fields", None)
        names |= {f"RAG_{name}__{key}".upper() for key in group} if group else {f"RAG_{name}".upper()}
    assert {name for name in names if f"`{name}`" not in readme} == set()
    assert set(re.findall(r"^\| `(RAG_\w+)`", readme, re.MULTILINE)) == names
