"""What `rag init` writes: rag.toml, where comments and other keys stay, and keys into .env, for their owner alone."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import InputError

CONFIGURATION, SECRETS = Path("rag.toml"), Path(".env")

# What a line of .env holds as it stands: no quotes, no `$` (expanded), no `#` (may begin a comment), no spaces.
_UNQUOTED = re.compile(r"[\x21-\x7e]+")
_MEANS_SOMETHING = frozenset("'\"`$#\\")


@dataclass(frozen=True, slots=True)
class Change:
    """A key of rag.toml, by its dotted name, before and after; None where it is not there."""

    name: str
    before: object | None
    after: object | None


def present(text: str) -> dict[str, object]:
    """The values in the text of a rag.toml, by dotted name."""
    import tomlkit

    return dict(_leaves(tomlkit.parse(text).unwrap()))


def changed(text: str, wanted: Mapping[str, str | None]) -> tuple[str, list[Change]]:
    """The text of a rag.toml with other values, everything else as it was.

    Args:
        wanted: values by dotted name, `group.key`; None takes a key out.
    """
    import tomlkit

    document: Any = tomlkit.parse(text)
    held = present(text)
    changes: list[Change] = []
    for name, value in wanted.items():
        if held.get(name) == value:
            continue
        changes.append(Change(name, held.get(name), value))
        group, _, key = name.partition(".")
        if value is None:
            del document[group][key]
            if not document[group] and "#" not in document[group].as_string():
                del document[group]
            continue
        if group not in document:
            if document.as_string().strip():
                document.add(tomlkit.nl())
            document[group] = tomlkit.table()
        document[group][key] = value
    return tomlkit.dumps(document), changes


def with_secrets(content: bytes, secrets: Mapping[str, str]) -> bytes:
    """The content of a .env with these variables; all other lines as they were.

    Raises:
        InputError: a value cannot stand there.
    """
    for variable, value in secrets.items():
        if not fits(value):
            raise InputError(f"the value for {variable} cannot stand in .env as it is: set the variable yourself")
        line = f"{variable}={value}".encode("ascii")
        # Names of variables go by any case, as the settings read them.
        old = re.compile(rb"(?im)^[ \t]*(?:export[ \t]+)?" + variable.encode("ascii") + rb"[ \t]*=[^\r\n]*")
        if old.search(content):
            content = old.sub(lambda _, line=line: line, content)  # type: ignore[misc]  # bound at once on purpose
        else:
            content += (b"\n" if content and not content.endswith(b"\n") else b"") + line + b"\n"
    return content


def fits(value: str) -> bool:
    """Whether a line of .env can hold `value` as it is."""
    return bool(_UNQUOTED.fullmatch(value)) and not _MEANS_SOMETHING & set(value)


def read(path: Path) -> bytes:
    """The content of a file; nothing where there is none.

    Raises:
        InputError: it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): mend that, then try again") from error


def write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replaces a file as a whole; a link keeps pointing to it, and its permissions stay.

    Args:
        private: nobody but its owner may read it afterwards.

    Raises:
        InputError: it cannot be written; what was there is still there.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        mode = 0o600 if private else stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            if mode is not None:
                beside.chmod(mode)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}): run `rag init` in a folder of your own"
        ) from error


def would_be_committed(path: Path) -> bool:
    """Whether git would take the file along with the next `git add .`."""
    try:
        done = subprocess.run(["git", "check-ignore", "--quiet", str(path)], capture_output=True, check=False)
    except OSError:  # no git
        return False
    return done.returncode == 1  # 0: it is ignored, 128: this is no repository


def _leaves(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in table.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found
