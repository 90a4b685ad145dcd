"""The questions of `rag init`, one after the other, each with what is in effect now as its default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import click

from rag.commands import init_choices, init_files
from rag.commands.init_choices import LLM_KEY, STORE_KEY, Choices
from rag.errors import RagError

OLLAMA = "http://localhost:11434/v1"
_LARGE, _SMALL = "BAAI/bge-m3", "pocket-m3"
_LISTED = 8  # names of models that a line of advice shows
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/.*)?")


@dataclass(frozen=True, slots=True)
class Flags:
    """What was given on the command line and is not asked for; None: not given. An LLM of "" is none at all."""

    model: str | None
    store: str | None
    collection: str | None
    llm_model: str | None
    llm_base_url: str | None

    def over(self, choices: Choices) -> Choices:
        """The choices with what was given in their place."""
        choices = replace(
            choices,
            model=choices.model if self.model is None else self.model,
            store=choices.store if self.store is None else self.store,
            collection=choices.collection if self.collection is None else self.collection,
        )
        if self.llm_model is not None or self.llm_base_url is not None:
            model = choices.llm_model if self.llm_model is None else self.llm_model or None
            address = choices.llm_base_url if self.llm_base_url is None else self.llm_base_url
            choices = replace(choices, llm_model=model, llm_base_url=address if model else None)
        return choices


def say(text: str = "") -> None:
    """A line of the conversation."""
    click.echo(text, err=True)


def ask(now: Choices, flags: Flags, *, download: bool) -> Choices:
    """Asks for everything that was not given.

    Args:
        now: the defaults.
        download: whether a model that is not here is to be fetched without a question.

    Raises:
        click.Abort: Ctrl-C or Ctrl-D.
        InputError: what was given as a flag is not allowed.
    """
    choices = flags.over(now)
    choices.settings()
    if flags.model is None:
        choices = replace(choices, model=_model(choices.model))
    if flags.store is None:
        choices = _store(choices)
    if flags.collection is None:
        choices = _collection(choices)
    choices = _fitting(choices)
    choices = _download(replace(choices, download=download))
    if flags.llm_model is None and flags.llm_base_url is None:
        return _language_model(choices)
    return _llm_key(choices) if choices.llm_model else choices


def _model(default: str) -> str:
    say("Embedding model: compares questions with documents, in any of its languages.")
    options = [(_LARGE, "over 100 languages; 2.3 GB, fetched once"), (_SMALL, "for trying out; comes with the program")]
    return _choose(options, default, _usable_model)


def _usable_model(name: str) -> str:
    from rag.checkpoint import inspect, locate

    if not init_choices.must_be_fetched(name):
        inspect(locate(name), name)
    return name


def _store(choices: Choices) -> Choices:
    say("\nStore: a folder, or the address of a Qdrant server such as http://localhost:6333.")

    def usable(text: str) -> str:
        if _HOST_AND_PORT.fullmatch(text):
            raise click.BadParameter(f"a server's address begins with http:// or https://: http://{text}?")
        _open(replace(choices, store=text))
        return text

    store = _prompt("Store", choices.store, usable)
    choices = replace(choices, store=store)
    if not choices.on_server:
        return choices
    key = _key("Key of the server", STORE_KEY, choices.settings().store.api_key is not None)
    return _with_key(choices, STORE_KEY, key)


def _open(choices: Choices) -> None:
    """Raises what the store says to an address that cannot be one."""
    from rag import build

    build.store(choices.settings()).close()


def _collection(choices: Choices) -> Choices:
    def usable(text: str) -> str:
        replace(choices, collection=text).settings()
        return text

    return replace(choices, collection=_prompt("Collection", choices.collection, usable))


def _fitting(choices: Choices) -> Choices:
    """Points out a collection of another model, until the two fit or both are to stay."""
    held = init_choices.index_model(choices.settings())
    if held is None or held == choices.model:
        return choices
    say(f"\nThe collection {choices.collection!r} there was made with {held}: {choices.model} cannot search it.")
    options = [("model", f"take {held}"), ("collection", "take another collection"), ("keep", "leave it so")]
    chosen = _choose(options, "model")
    if chosen == "model":
        return replace(choices, model=held)
    return choices if chosen == "keep" else _fitting(_collection(choices))


def _download(choices: Choices) -> Choices:
    if choices.download or not init_choices.must_be_fetched(choices.model):
        return choices
    say(f"\n{choices.model} is not on this machine: {size_text(choices.model)}.")
    options = [
        ("now", "fetch it as soon as all questions are answered"),
        (_SMALL, "take the small model instead, which is here already"),
        ("later", "the first `ingest` fetches it"),
    ]
    chosen = _choose(options, "now")
    if chosen == _SMALL:
        return _fitting(replace(choices, model=_SMALL))
    return replace(choices, download=chosen == "now")


def size_text(model: str) -> str:
    """What fetching the model costs, as far as that is known."""
    from rag.rendering.text import readable_size

    size, told = init_choices.size_to_fetch(model)
    if size is None:
        return "how much there is to fetch is not known, as the hub cannot be reached"
    return f"{readable_size(size)} to fetch" + ("" if told else ", if the hub can be reached, which it cannot now")


def _language_model(choices: Choices) -> Choices:
    say("\nLanguage model: writes the answers. Without one, the best sentences of the documents are quoted.")
    options = [
        ("none", "quote the documents"),
        ("openai", "OpenAI's, with a key"),
        ("ollama", f"on this machine, at {OLLAMA}"),
        ("other", "any other endpoint that speaks OpenAI's protocol"),
    ]
    chosen = _choose(options, _kind(choices))
    if chosen == "none":
        return replace(choices, llm_model=None, llm_base_url=None)
    before = choices
    if chosen == "openai":
        choices = replace(choices, llm_base_url=None)
    elif chosen == "ollama":
        choices = replace(choices, llm_base_url=OLLAMA)
    else:
        address = _prompt("Address", choices.llm_base_url, _address)
        choices = replace(choices, llm_base_url=address)
    if chosen != "ollama":
        choices = _llm_key(choices)
    listed = _listed(choices)
    same_place = before.llm_base_url == choices.llm_base_url
    default = (
        before.llm_model if same_place and before.llm_model else listed[0] if chosen == "ollama" and listed else None
    )
    return replace(choices, llm_model=_prompt("Model", default, str))


def _kind(choices: Choices) -> str:
    if not choices.llm_model:
        return "none"
    if choices.llm_base_url is None:
        return "openai"
    return "ollama" if choices.llm_base_url == OLLAMA else "other"


def _address(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https"):
        raise click.BadParameter("an address begins with http:// or https://, as http://localhost:8000/v1 does")
    if init_choices.holds_secret(text) and not init_files.fits(text):
        raise click.BadParameter("the login in it has characters that .env cannot hold: set RAG_LLM__BASE_URL yourself")
    return text


def _llm_key(choices: Choices) -> Choices:
    """Asks for the key, unless a variable of the environment has one."""
    settings = choices.settings()
    if os.environ.get("OPENAI_API_KEY") and choices.llm_base_url is None and not settings.llm.api_key:
        say("The key is that in OPENAI_API_KEY.")
        return choices
    return _with_key(choices, LLM_KEY, _key("Key of the endpoint", LLM_KEY, settings.llm.api_key is not None))


def _key(label: str, variable: str, is_set: bool) -> str:
    if os.environ.get(variable):
        say(f"The key is that in {variable}, as the environment has it.")
        return ""
    empty = f"Enter keeps that in {init_files.SECRETS}" if is_set else "Enter for none"

    def usable(text: str) -> str:
        if text and not init_files.fits(text):
            raise click.BadParameter(f"a key has no spaces and no quotes; if this one has, set {variable} yourself")
        return text

    return _prompt(f"{label} (not shown; {empty})", "", usable, hidden=True)


def _with_key(choices: Choices, variable: str, key: str) -> Choices:
    return replace(choices, keys={**choices.keys, variable: key}) if key else choices


def _listed(choices: Choices) -> tuple[str, ...]:
    """The models that the endpoint lists, and says so."""
    from rag.doctor import Limits
    from rag.doctor.endpoint import ask_for_models
    from rag.doctor.finding import Setup

    probe = ask_for_models(Setup(choices.settings(), offline=False, limits=Limits(connect_seconds=5)))
    names = tuple(sorted(probe.models or ()))
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        say(f"Listed there: {', '.join(names[:_LISTED])}{more}")
    return names


def _choose(options: Sequence[tuple[str, str]], default: str, other: Callable[[str], str] | None = None) -> str:
    """One of the options by number or name; with `other`, anything that it takes."""
    names = [name for name, _ in options]
    if default not in names:
        options, names = [*options, (default, "as now")], [*names, default]
    width = max(map(len, names))
    for number, (name, text) in enumerate(options, 1):
        say(f"  {number}  {name:<{width}}  {text}")

    def usable(text: str) -> str:
        if text.isdecimal() and 1 <= int(text) <= len(names):
            text = names[int(text) - 1]
        if text in names and other is None:
            return text
        if other is None:
            raise click.BadParameter(f"{text!r} is none of them: give a number from 1 to {len(names)}")
        return other(text)

    what = f"1 to {len(names)}" + (", a hub id or a folder" if other else "")
    return _prompt(f"Choose {what}", str(names.index(default) + 1), usable)


def _prompt(label: str, default: str | None, usable: Callable[[str], str], *, hidden: bool = False) -> str:
    """Asks until the answer is one that `usable` takes."""

    def checked(text: str) -> str:
        try:
            return usable(text.strip())
        except RagError as error:
            raise click.BadParameter(" ".join(str(error).split())) from error

    answer: str = click.prompt(
        label, default=default, value_proc=checked, hide_input=hidden, show_default=not hidden, err=True
    )
    return answer
