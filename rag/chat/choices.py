"""Commands that choose for the questions to come: language, documents, ranking, collection."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import replace
from typing import get_args

from rag import build, locales
from rag.chat.chat import Chat
from rag.errors import InputError
from rag.filters import where_from
from rag.language import name, parse_tag, primary
from rag.normalization import printable
from rag.rendering.text import counted
from rag.retrieval import matches
from rag.types import Mode, Where

_MODES: tuple[str, ...] = get_args(Mode)
_EXPLAINED = {"hybrid": "meaning and words", "dense": "meaning", "sparse": "words"}


def lang(chat: Chat, argument: str) -> None:
    """Shows or sets the language of the answers."""
    if argument:
        chat.conversation.change(language=None if argument == "auto" else parse_tag(argument))
    tag = chat.conversation.options.language
    chat.say(f"Answers come in {_called(tag)}." if tag else "Answers come in the language of the question.")


def docs_lang(chat: Chat, argument: str) -> None:
    """Shows or sets the languages that are searched."""
    where = chat.conversation.options.where
    if argument:
        tags = () if argument == "all" else tuple(argument.replace(",", " ").split())
        where = replace(where, languages=where_from(tags, (), ()).languages, not_languages=())
        chat.conversation.change(where=where)
    if where.not_languages:
        chat.say(f"No passages in {', '.join(map(_called, where.not_languages))} are searched.")
    if not where.languages:
        chat.say(f"Passages in all {'other ' if where.not_languages else ''}languages are searched.")
        return
    chat.say(f"Only passages in {', '.join(map(_called, where.languages))} are searched.")
    held_languages = {primary(document.language) for document in chat.documents()}
    for tag in where.languages:
        if tag not in held_languages:
            chat.say(f"No document is in {_called(tag)} as a whole.")


def narrow(chat: Chat, argument: str) -> None:
    """Shows or sets the filter on sources and metadata."""
    where = chat.conversation.options.where
    if argument == "off":
        where = Where(languages=where.languages, not_languages=where.not_languages)
    elif argument:
        try:
            words = shlex.split(argument)
        except ValueError as error:
            raise InputError(f"the filter {argument!r} has a quotation mark without its other: close it") from error
        sources = tuple(word.removeprefix("source=") for word in words if word.startswith("source="))
        if not all(sources):
            raise InputError("/filter source= needs a path or a pattern behind it: /filter source='docs/*'")
        if wrong := [word for word in words if "=" not in word.strip("=")]:
            raise InputError(f"/filter {wrong[0]} is not of the form key=value, as in /filter site=linz; or off")
        pairs = tuple(word for word in words if not word.startswith("source="))
        where = replace(where_from((), sources, pairs), languages=where.languages, not_languages=where.not_languages)
    chat.conversation.change(where=where)
    if not where.sources and not where.metadata:
        chat.say("No filter: all documents are searched.")
        return
    shown = [
        *(f"source={glob}" for glob in where.sources),
        *(f"{key}={value}" for key, value in where.metadata.items()),
    ]
    documents = chat.documents()
    fitting = [
        document
        for document in documents
        if (not where.sources or any(matches(document, glob) for glob in where.sources))
        and all(document.metadata.get(key) == value for key, value in where.metadata.items())
    ]
    chat.say(f"Only {' '.join(map(printable, shown))}: {len(fitting)} of {counted(len(documents), 'document')}.")


def mode(chat: Chat, argument: str) -> None:
    """Shows or sets which scores rank."""
    if argument and argument not in (*_MODES, "auto"):
        raise InputError(f"there is no mode {argument!r}: {', '.join(_MODES)}, or auto for the settings' choice")
    if argument:
        chat.conversation.change(mode=None if argument == "auto" else argument)
    now = chat.conversation.options.mode or chat.settings.retrieval.mode
    chat.say(f"Passages are ranked by {_EXPLAINED[now]} ({now}).")


def collection(chat: Chat, argument: str) -> None:
    """Lists the collections, or goes over to another."""
    if argument and argument != chat.settings.store.collection:
        chat.open_collection(argument)
    if argument:
        chat.say(chat.greeting())
        return
    for each in build.collections(chat.settings):
        chat.say(f"{'>' if each == chat.settings.store.collection else ' '} {each}")


def languages(chat: Chat) -> dict[str, str]:
    """Tags that completion offers for answers, with their names."""
    tags = dict.fromkeys([*locales.available(), *_held(chat)])
    return {"auto": "the question's", **{tag: _called(tag) for tag in tags}}


def held(chat: Chat) -> dict[str, str]:
    """Tags of the documents' languages, with how many documents have each."""
    return {
        "all": "all languages",
        **{tag: f"{name(tag, 'en')}, {counted(count, 'document')}" for tag, count in _held(chat).items()},
    }


def filters(chat: Chat) -> dict[str, str]:
    """What a filter may say: the sources and metadata that are there."""
    documents = chat.documents()
    found = {"off": "all documents"}
    for document in documents:
        for key, value in document.metadata.items():
            found[f"{key}={value}"] = "metadata"
    found |= {f"source={document.source}": document.language for document in documents}
    return found


def modes(chat: Chat) -> dict[str, str]:
    """The modes."""
    return {**_EXPLAINED, "auto": "the settings' choice"}


def collections(chat: Chat) -> dict[str, str]:
    """The collections of the store."""
    return dict.fromkeys(build.collections(chat.settings), "")


def _held(chat: Chat) -> Counter[str]:
    return Counter(primary(document.language) for document in chat.documents())


def _called(tag: str) -> str:
    return f"{name(tag, 'en')} ({tag})"
