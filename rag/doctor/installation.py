"""Is what the program needs installed, in versions that fit, and does it load?"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from rag.doctor.finding import Verdict, failed, passed, warned

DISTRIBUTION = "cross-lingual-rag"
LEAST_PYTHON = (3, 11)

_IMPORT_SECONDS = 90.0
_MODULES = {
    "grpcio": "grpc",
    "markdown-it-py": "markdown_it",
    "python-bidi": "bidi",
    "pytrec-eval-terrier": "pytrec_eval",
    "python-docx": "docx",
    "pyyaml": "yaml",
    "qdrant-edge-py": "qdrant_edge",
}
"""Names of modules that are not their distribution's."""
_NOT_IMPORTED = frozenset({"flagembedding", "scikit-learn", "sentence-transformers", "transformers"})
"""None but `rag train` loads any of these, and they take ten seconds."""
_SHOWN_AT_ONCE = 4
# A module that crashes the interpreter cannot be caught, only outlived: each is announced before it is imported.
_IMPORTER = """
import importlib, json, sys
for name in sys.argv[1:]:
    print(json.dumps(["begin", name]), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(json.dumps(["error", name, type(error).__name__ + ": " + str(error)]), flush=True)
print(json.dumps(["end"]), flush=True)
"""


def python_version(version: tuple[int, ...] = sys.version_info[:3]) -> Verdict:
    """Is this Python new enough?"""
    shown = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return failed(f"{shown} is older than {least}", f"install Python {least} or newer, then the program in it")
    return passed(f"{shown} ({sys.executable})")


def packages(requirements: Sequence[str] | None = None, tested: Mapping[str, str] | None = None) -> Verdict:
    """Are all packages there, in versions that fit?

    Args:
        requirements: as pip writes them; by default what this program declares.
        tested: exact versions by normalised name; by default those of constraints.txt where the program runs from its
            source tree, since nothing else carries that file.
    """
    from packaging.requirements import Requirement

    if requirements is None:
        try:
            requirements = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            return failed(f"{DISTRIBUTION} is not installed", "pip install -c constraints.txt .")
    tested = _tested() if tested is None else tested
    wanted = [each for each in map(Requirement, requirements) if not each.marker or each.marker.evaluate({"extra": ""})]
    wrong, unusual, mend, align = [], [], [], []
    for requirement in wanted:
        bare = str(requirement).partition(";")[0].strip()
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            mend.append(bare)
            continue
        expected = tested.get(_normalised(requirement.name))
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, needed is {requirement.specifier}")
            mend.append(bare)
        elif expected and version.partition("+")[0] != expected:
            unusual.append(f"{requirement.name} {version} (tested: {expected})")
            align.append(f"{requirement.name}=={expected}")
    if wrong:
        return failed(_some(wrong), _pip(mend))
    if unusual:
        return warned(f"not the versions the tests passed with: {_some(unusual)}", _pip(align))
    return passed(f"{len(wanted)} packages, all {'as tested' if tested else 'in versions that fit'}")


def imports(modules: Sequence[str] | None = None) -> Verdict:
    """Does everything load? Tried in a process of its own, which a broken library may bring down.

    Args:
        modules: by default those of the packages that this program uses.
    """
    modules = _modules() if modules is None else modules
    # -P: modules of the working folder are none of ours, and the installed commands do not see them either.
    command = [sys.executable, "-P", "-W", "ignore", "-c", _IMPORTER, *modules]
    late = False
    try:
        done = subprocess.run(command, capture_output=True, timeout=_IMPORT_SECONDS, check=False)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, code, late = error.stdout or b"", 0, True
    said = [line for line in map(_parsed, output.splitlines()) if line]
    broken = [f"{line[1]} ({_first_line(line[2])})" for line in said if line[0] == "error"]
    names = [line[1] for line in said if line[0] == "error"]
    if not said or said[-1][0] != "end":
        last = next((line[1] for line in reversed(said) if line[0] == "begin"), "Python itself")
        how = f"takes more than {_IMPORT_SECONDS:g} s" if late else f"ends the process (exit status {code})"
        broken.append(f"{last} ({how})")
        names.append(last)
    if broken:
        repair = _pip([_distribution_of(name) for name in dict.fromkeys(names)], "--force-reinstall")
        return failed(f"cannot be imported: {_some(broken)}", repair)
    return passed(f"{len(modules)} modules load")


def _tested() -> dict[str, str]:
    path = Path(__file__).parents[2] / "constraints.txt"
    if not (path.is_file() and (path.parent / "pyproject.toml").is_file()):
        return {}
    pairs = (line.split("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {_normalised(name): version.strip() for name, version in pairs}


def _modules() -> list[str]:
    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        declared = []
    names = [
        re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in declared if "extra ==" not in requirement
    ]
    return [
        _MODULES.get(_normalised(name), name.replace("-", "_"))
        for name in names
        if _normalised(name) not in _NOT_IMPORTED
    ]


def _distribution_of(module: str) -> str:
    return next((name for name, of in _MODULES.items() if of == module), module.replace("_", "-"))


def _normalised(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def _pip(words: Sequence[str], *options: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *options, *words])


def _parsed(line: bytes) -> list[str] | None:
    """A line of the importer; None for what a module has printed by itself."""
    try:
        words = json.loads(line)
    except ValueError:
        return None
    return words if isinstance(words, list) and words and words[0] in ("begin", "error", "end") else None


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")[:200]


def _some(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN_AT_ONCE
    return ", ".join(items[:_SHOWN_AT_ONCE]) + (f" and {more} more" if more > 0 else "")
