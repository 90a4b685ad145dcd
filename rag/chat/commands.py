"""The table of slash commands: what each is called, takes and does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from rag.chat import choices, inspection, keeping
from rag.chat.asking import retry
from rag.chat.chat import Chat
from rag.errors import InputError


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command.

    Attributes:
        name: without the slash.
        arguments: as help shows them.
        summary: one line.
        run: does it, with what stands behind the name, stripped; raises RagError.
        words: what may stand there next, for completion: values with a short explanation.
    """

    name: str
    arguments: str
    summary: str
    run: Callable[[Chat, str], None]
    words: Callable[[Chat], dict[str, str]] = lambda chat: {}


def _help(chat: Chat, argument: str) -> None:
    if argument:
        command = find(argument)
        chat.say(f"/{command.name} {command.arguments}".rstrip())
        chat.say(f"    {command.summary}")
        return
    usages = [f"/{command.name} {command.arguments}".rstrip() for command in COMMANDS]
    width = max(map(len, usages))
    for usage, command in zip(usages, COMMANDS, strict=True):
        chat.say(f"{usage:<{width}}  {command.summary}")
    chat.say(
        "Enter sends; Alt-Enter, or a backslash before Enter, begins a new line. Ctrl-C stops an answer and keeps what "
        "has come; Ctrl-D leaves. A question that begins with a slash has a space before it."
    )


def _exit(chat: Chat, argument: str) -> None:
    chat.leaving = True


COMMANDS: tuple[Command, ...] = (
    Command("help", "[COMMAND]", "show the commands", _help, lambda chat: {c.name: c.summary for c in COMMANDS}),
    Command("lang", "[auto|xx]", "language of the answers; auto: the question's", choices.lang, choices.languages),
    Command("docs-lang", "[all|xx …]", "search only documents in these languages", choices.docs_lang, choices.held),
    Command(
        "filter",
        "[off|source=GLOB|KEY=VALUE …]",
        "search only these documents",
        choices.narrow,
        choices.filters,
    ),
    Command("mode", "[hybrid|dense|sparse|auto]", "which scores rank passages", choices.mode, choices.modes),
    Command("collection", "[NAME]", "list the collections, or go over to one", choices.collection, choices.collections),
    Command("search", "QUESTION", "show passages without an answer", inspection.search),
    Command("sources", "", "where the last answer comes from", inspection.sources),
    Command("quote", "N", "the original passage around [N]", inspection.quote, inspection.numbers),
    Command("why", "", "why these passages: scores and matched terms", inspection.why),
    Command("json", "", "the last answer as JSON", inspection.as_json),
    Command("retry", "[xx]", "ask the last question again, in language xx if given", retry, choices.languages),
    Command("clear", "", "begin a new conversation", keeping.clear),
    Command("save", "FILE", "write the conversation to FILE (Markdown, or .json)", keeping.save),
    Command("sessions", "", "list the earlier conversations", keeping.sessions),
    Command("resume", "ID", "go on with an earlier conversation", keeping.resume, keeping.ids),
    Command("exit", "", "leave", _exit),
)
_ALSO = {"quit": "exit", "q": "exit", "?": "help", "h": "help", "language": "lang"}


def find(word: str) -> Command:
    """The command called `word`, with or without its slash.

    Raises:
        InputError: there is none; names the nearest.
    """
    name = word.removeprefix("/").casefold()
    by_name = {command.name: command for command in COMMANDS}
    found = by_name.get(_ALSO.get(name, name))
    if found is not None:
        return found
    beginning = [each for each in by_name if name and each.startswith(name)]
    near = beginning or get_close_matches(name, by_name, n=1, cutoff=0.5)
    hint = f"did you mean {' or '.join(f'/{each}' for each in near)}?" if near else "/help shows them."
    raise InputError(f"there is no command {word!r}: {hint} (A question may begin with a space and a slash.)")


def run(chat: Chat, line: str) -> None:
    """Does what a line that begins with a slash says.

    Raises:
        RagError: it cannot be done.
    """
    word, *rest = line.split(maxsplit=1)  # at any white space: a Japanese keyboard's is U+3000
    find(word).run(chat, rest[0].strip() if rest else "")
