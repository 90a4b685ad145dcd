"""What the shell offers for the word under the cursor: commands, options, and values, some of them from the index.

The shell functions of `completion_scripts` call `rag` or `ingest` itself with the words of the line and
`_RAG_COMPLETE=words`. Each line of the reply is a kind, a value and a description with tabs between: `value`, `path`
(to be quoted as file names are), or `file` and `dir`, for which the shell looks by itself. Whatever goes wrong, the
reply is shorter, and nothing else is written: somebody is typing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.types import StoredDocument

    Item = CompletionItem[str]
    Values = Callable[[click.Context, str], Iterable[Item]]
    _AnyType = click.ParamType[Any]
else:
    _AnyType = click.ParamType  # generic only in recent versions

BASH_LINE, BASH_WORD = "_RAG_LINE", "_RAG_WORD"
"""Variables in which bash hands over the line up to the cursor and the part of its last word that it will replace."""

_PATIENCE_SECONDS = 0.6  # for the index; starting, and reading the settings, takes some 0.4 s beside
_OFFERED = 500  # more than anybody reads
_KINDS = {"plain": "value"}

Found = TypeVar("Found")


def answer(command: click.Command, name: str, variable: str) -> NoReturn:
    """Writes the completions of the last of the words on the command line, and ends.

    Args:
        name: the command's.
        variable: what the shell has set; nothing that is started from here shall see it.
    """
    del os.environ[variable]
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  open until the process ends
    words, replaced = _words()
    found = completions(command, name, words[:-1], words[-1])
    lines = [line for item in found if (line := _line(item, words[-1], replaced))]
    sys.stdout.buffer.write("".join(lines).encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    # A thread that still waits for the index must not keep anybody waiting; its lock ends with the process.
    os._exit(0)


def completions(command: click.Command, name: str, words: list[str], incomplete: str) -> list[Item]:
    """What may stand for `incomplete` behind `words`; of an option written with `=`, the whole word."""
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name, resilient_parsing=True)
        for each in {*words[:1], *command.commands}:
            _complete_values_of(command.get_command(context, each))
    found = ShellComplete(command, {}, name, "").get_completions(list(words), incomplete)
    option, equals, _ = incomplete.partition("=") if incomplete.startswith("-") else ("", "", "")
    for item in found:
        if equals and item.type not in ("file", "dir"):
            item.value = f"{option}={item.value}"
    return found[:_OFFERED]


def _words() -> tuple[list[str], str | None]:
    """The words behind the command, the incomplete one last, and bash's part of that."""
    line = os.environ.get(BASH_LINE)
    if line is None:
        return sys.argv[1:] or [""], None
    words = split_arg_string(line)[1:]
    if not words or (line[-1:].isspace() and not line.endswith("\\ ") and not _is_quoted(line)):
        words.append("")
    return words, os.environ.get(BASH_WORD, "")


def _is_quoted(line: str) -> bool:
    """Whether the line ends within quotes."""
    return line.endswith(" ") and split_arg_string(f"{line}|")[-1] != "|"


def _line(item: Item, incomplete: str, replaced: str | None) -> str:
    """A line of the reply; none for what would break it, such as a name with a line feed."""
    value = str(item.value) or "-"
    if replaced is not None and incomplete.endswith(replaced):
        # Bash takes : and = for the end of a word, and replaces only what stands behind the last.
        value = value.removeprefix(incomplete.removesuffix(replaced))
    if any(ord(letter) < 32 for letter in value):
        return ""
    return f"{_KINDS.get(item.type, item.type)}\t{value}\t{' '.join((item.help or '').split())}\n"


class _Completed(_AnyType):
    """A type that reads values as before and knows what may be given."""

    def __init__(self, as_before: _AnyType, values: Values) -> None:
        self.name = as_before.name
        self._as_before = as_before
        self._values = values

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._as_before(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
        return list(self._values(ctx, incomplete))


def _complete_values_of(command: click.Command | None) -> None:
    """Parameters go by their names, so that a command need not know of completion."""
    for parameter in command.params if command else ():
        values = _VALUES.get(parameter.name or "")
        if values:
            parameter.type = _Completed(parameter.type, values)


def _sources(context: click.Context, incomplete: str) -> Iterator[Item]:
    """Sources of the index; where none begins so, names of files that only one document has."""
    known = [(document.source, document.title) for document in _documents(context)]
    found = [(source, title) for source, title in known if source.startswith(incomplete)]
    if not found:
        names = [(source.rsplit("/", 1)[-1], title) for source, title in known]
        counts = Counter(name for name, _ in names)
        found = [(name, title) for name, title in names if name.startswith(incomplete) and counts[name] == 1]
    for source, title in sorted(found):
        yield CompletionItem(source, type="path", help=title)


def _languages_held(context: click.Context, incomplete: str) -> Iterator[Item]:
    held = {document.language for document in _documents(context)}
    return _languages(held, incomplete) if held else _languages_known(context, incomplete)


def _languages_known(context: click.Context, incomplete: str) -> Iterator[Item]:
    from rag.locales import available

    return _languages(available(), incomplete)


def _languages(tags: Iterable[str], incomplete: str) -> Iterator[Item]:
    from rag.language import name

    for tag in sorted(tags):
        if tag.startswith(incomplete):
            yield CompletionItem(tag, help=name(tag, "en"))


def _metadata(context: click.Context, incomplete: str) -> Iterator[Item]:
    pairs = {f"{key}={value}" for document in _documents(context) for key, value in document.metadata.items()}
    return (CompletionItem(pair) for pair in sorted(pairs) if pair.startswith(incomplete))


def _collections(context: click.Context, incomplete: str) -> Iterator[Item]:
    from rag import build

    settings = _settings(context, collection=None)
    for name in _in_time(lambda: build.collections(settings)) if settings else ():
        if name.startswith(incomplete):
            yield CompletionItem(name)


def _models(context: click.Context, incomplete: str) -> Iterator[Item]:
    from rag.checkpoint import BUNDLED
    from rag.hub import DEFAULT_REVISIONS

    for model in (*BUNDLED, *DEFAULT_REVISIONS):
        if model.startswith(incomplete):
            yield CompletionItem(model, help="bundled" if model in BUNDLED else "from the hub")
    yield CompletionItem(incomplete, type="dir")


def _folders(context: click.Context, incomplete: str) -> Iterator[Item]:
    yield CompletionItem(incomplete, type="dir")


_VALUES: dict[str, Values] = {
    "collection": _collections,
    "language": _languages_known,
    "languages": _languages_held,
    "model": _models,
    "source": _sources,
    "sources": _sources,
    "store": _folders,
    "where": _metadata,
}
"""By the name of the parameter."""


def _documents(context: click.Context) -> list[StoredDocument]:
    from rag import build

    settings = _settings(context, collection=context.params.get("collection"))
    if settings is None:
        return []
    store = build.store(settings)

    def held() -> list[StoredDocument]:
        with closing(store):
            return list(store.documents())

    return _in_time(held)


def _settings(context: click.Context, *, collection: str | None) -> Settings | None:
    """The settings that the line comes to; None if they cannot be read, or name a server.

    To import the client of a server takes 2 s: longer than anybody waits for a word.
    """
    from rag.commands.shared import load_settings
    from rag.errors import RagError

    try:
        settings = load_settings(store=context.params.get("store"), collection=collection)
    except RagError:
        return None
    return None if settings.store.url else settings


def _in_time(read: Callable[[], list[Found]]) -> list[Found]:
    """What `read` finds; nothing if it has to wait, as for another process."""
    found: list[Found] = []
    thread = threading.Thread(target=_read, args=(read, found), daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return [] if thread.is_alive() else found


def _read(read: Callable[[], list[Found]], found: list[Found]) -> None:
    from rag.errors import RagError

    with suppress(RagError):
        found.extend(read())
