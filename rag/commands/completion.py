"""`rag completion`: lets the shell complete `rag` and `ingest`, and takes that out again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import click

from rag.commands import completion_scripts
from rag.commands.shared import help_option
from rag.errors import InputError

_BEGIN, _END = "# >>> cross-lingual-rag completion >>>", "# <<< cross-lingual-rag completion <<<"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a shell needs.

    Attributes:
        scripts: files of ours and what they hold.
        startup: the file that the shell reads when it starts; None where it finds the scripts by itself.
        lines: what must stand there.
        at_once: what to do in the shell that is open.
    """

    scripts: dict[Path, str]
    startup: Path | None
    lines: str
    at_once: str


@click.command()
@click.option("--shell", type=click.Choice(completion_scripts.SHELLS), help="By default the shell in use.")
@click.option("--print", "printed", is_flag=True, help="Print the script, write nothing.")
@click.option("--remove", is_flag=True, help="Take the completion out again.")
@help_option
def completion(shell: str | None, printed: bool, remove: bool) -> None:
    """Let the shell complete commands, options and values of `rag` and `ingest` with the Tab key.

    Writes a script, and a marked block of lines in the file that the shell reads when it starts; fish needs no such
    lines. Doing it twice changes nothing. Sources, languages, metadata and collections come from the index, if it is in
    a folder and opens at once.

    \b
    rag completion
    # Takes it out of another shell than the one in use:
    rag completion --shell zsh --remove
    # For this shell alone, writing nothing:
    eval "$(rag completion --print)"
    """
    if printed and remove:
        raise InputError("--print and --remove exclude each other: give one of them")
    shell = shell or _shell_in_use()
    if printed:
        click.echo(completion_scripts.script(shell), nl=False)
        return
    plan = _plan(shell)
    changed = _removed(plan) if remove else _installed(plan)
    for path in changed:
        there = path.exists()
        click.echo(f"{'changed' if path == plan.startup and there else 'wrote' if there else 'deleted'} {_short(path)}")
    if remove:
        click.echo(f"{shell} completes rag and ingest no more in new shells" if changed else "nothing to take out")
        return
    click.echo(f"{shell} completes rag and ingest {'in new shells' if changed else 'already; nothing changed'}")
    click.echo(f"in this one: {plan.at_once}")


def _plan(shell: str) -> _Plan:
    from platformdirs import user_data_path
    from rag_config.settings import APPLICATION

    folder = user_data_path(APPLICATION) / "completion"
    home = Path.home()
    if shell == "bash":
        file = folder / "rag.bash"
        lines = f"if [ -f {quote(str(file))} ]; then . {quote(str(file))}; fi\n"
        return _Plan({file: completion_scripts.BASH}, home / ".bashrc", lines, f". {quote(str(file))}")
    if shell == "zsh":
        # A function of its own in fpath outlives a compinit that stands further down in the startup file.
        file = folder / "zsh" / "_rag"
        lines = (
            f"if [[ -f {quote(str(file))} ]]; then\n"
            f"    fpath=({quote(str(file.parent))} $fpath)\n"
            "    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }\n"
            "    autoload -Uz _rag && compdef _rag rag ingest\nfi\n"
        )
        startup = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
        return _Plan({file: completion_scripts.ZSH_FUNCTION}, startup, lines, "exec zsh")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions"
    scripts = {folder / f"{command}.fish": completion_scripts.fish(command) for command in completion_scripts.COMMANDS}
    return _Plan(scripts, None, "", "press Tab")


def _installed(plan: _Plan) -> list[Path]:
    """Writes what is not there yet; the files that were changed."""
    wanted = {path: text.encode() for path, text in plan.scripts.items()}
    for path in plan.scripts:
        if path.exists() and not completion_scripts.is_ours(_read(path).decode(errors="replace")):
            raise InputError(f"{path} is another program's: move it away, then try again")
    if plan.startup is not None:
        before, after = _around_block(plan.startup)
        if after is None and before and not before.endswith(b"\n"):
            before += b"\n"
        wanted[plan.startup] = before + f"{_BEGIN}\n{plan.lines}{_END}\n".encode() + (after or b"")
    changed = [path for path, content in wanted.items() if not path.exists() or _read(path) != content]
    for path in changed:
        _write(path, wanted[path])
    return changed


def _removed(plan: _Plan) -> list[Path]:
    """Takes out what is there; the files that were changed."""
    changed = []
    if plan.startup is not None:
        before, after = _around_block(plan.startup)
        if after is not None:
            changed.append(plan.startup)
            if before + after:
                _write(plan.startup, before + after)
            else:
                _delete(plan.startup)
    for path in plan.scripts:
        if path.exists() and completion_scripts.is_ours(_read(path).decode(errors="replace")):
            changed.append(path)
            _delete(path)
    return changed


def _around_block(startup: Path) -> tuple[bytes, bytes | None]:
    """What stands before and behind our lines, as bytes, since the file may be in any encoding; None: no such lines."""
    content = _read(startup) if startup.exists() else b""
    before, begin, rest = content.partition(f"{_BEGIN}\n".encode())
    if not begin:
        return content, None
    _, end, after = rest.partition(f"{_END}\n".encode())
    if not end:
        raise InputError(f"{startup} has the line {_BEGIN!r} without {_END!r}: delete these lines by hand")
    return before, after


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): mend that, then try again") from error


def _write(path: Path, content: bytes) -> None:
    """Writes in place: a startup file is often a link into a repository, and has its owner's permissions."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}): `rag completion --print` shows what to put into a "
            "file of your choice"
        ) from error


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise InputError(f"{path} cannot be deleted ({error.strerror or error}): delete it by hand") from error


def _shell_in_use() -> str:
    """The nearest of the programs that run this one which is a shell we know, else SHELL.

    Raises:
        InputError: it is none of them.
    """
    names = [*_ancestors(), Path(os.environ.get("SHELL", "")).name]
    for name in names:
        if name.removeprefix("-") in completion_scripts.SHELLS:  # a login shell has the dash
            return name.removeprefix("-")
    known = ", ".join(completion_scripts.SHELLS)
    raise InputError(f"the shell in use cannot be told (SHELL is {names[-1]!r}): give --shell, one of {known}")


def _ancestors() -> list[str]:
    """Names of the programs above this one, nearest first, where the system shows them as files."""
    names: list[str] = []
    process = os.getppid()
    while process > 1:
        try:
            name, _, fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(") ")
            process = int(fields.split()[1])
        except (OSError, ValueError, IndexError):
            break
        names.append(name.partition("(")[2])
    return names


def _short(path: Path) -> str:
    home = str(Path.home())
    return f"~{str(path)[len(home) :]}" if str(path).startswith(f"{home}/") else str(path)
