"""What every command shares: its options, its settings, its exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from rag.errors import InputError, RagError

if TYPE_CHECKING:
    from rag_config.settings import Settings

    _TextType = click.ParamType[str]
else:
    _TextType = click.ParamType  # generic only in recent versions

Command = TypeVar("Command", bound=Callable[..., Any])

COMPLETE_WORDS = "words"
"""Value of _RAG_COMPLETE and _INGEST_COMPLETE with which the shell asks for the completions of its last word."""

_LOGGERS = ("rag", "ingest")


def help_option(command: Command) -> Command:
    """Adds -h and --help, which show the command's page."""
    names = ("-h", "--help")
    return click.option(
        *names, is_flag=True, is_eager=True, expose_value=False, callback=_help, help="Show this page and exit."
    )(command)


def debug_option(command: Command) -> Command:
    """Adds --debug."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_debug, help="Show tracebacks and details."
    )(command)


def shared_options(command: Command) -> Command:
    """Adds --store, --collection, --model, --debug and --help."""
    command = debug_option(help_option(command))
    for option in (
        click.option("--model", metavar="M", help="Embedding model: hub id, folder, or pocket-m3 (bundled)."),
        click.option("--collection", metavar="C", help="Name of the collection."),
        click.option("--store", metavar="PATH|URL", help="Folder of the index, or address of a Qdrant server."),
    ):
        command = option(command)
    return command


def question_argument(command: Command) -> Command:
    """Adds QUESTION; `-` stands for what the standard input holds."""
    return click.argument("question", type=_Question())(command)


def filter_options(command: Command) -> Command:
    """Adds --in, --not-in, --source and --where."""
    for option in (
        click.option("--where", "where", multiple=True, metavar="KEY=VALUE", help="Only documents with this metadata."),
        click.option("--source", "source", multiple=True, metavar="GLOB", help="Only documents whose path matches."),
        click.option(
            "--not-in",
            "not_languages",
            multiple=True,
            metavar="LANG",
            help="No passages in this language; repeatable.",
        ),
        click.option(
            "--in", "languages", multiple=True, metavar="LANG", help="Only passages in this language; repeatable."
        ),
    ):
        command = option(command)
    return command


def load_settings(
    *,
    store: str | None = None,
    collection: str | None = None,
    model: str | None = None,
    mode: str | None = None,
    more: Mapping[str, Mapping[str, object]] | None = None,
) -> Settings:
    """The settings, flags on top.

    Args:
        more: further values by group, which go before everything.

    Raises:
        InputError: a value that is not allowed, or a file that does not parse; one line, naming it.
    """
    import tomllib

    from pydantic import ValidationError
    from pydantic_settings import SettingsError
    from rag_config.settings import Settings

    given: dict[str, dict[str, object]] = {"store": {}, "embedder": {}, "retrieval": {}}
    for group, name, value in (
        ("store", "collection", collection),
        ("embedder", "model", model),
        ("retrieval", "mode", mode),
    ):
        if value is not None:
            given[group][name] = value
    if store is not None:
        # A folder given here must not lose to a server's address in the environment.
        given["store"] |= {"url": store} if "://" in store else {"path": store, "url": None}
    for group, values in (more or {}).items():
        given[group] = {**given.get(group, {}), **values}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic turns the tables into their groups
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"there is no setting {'.'.join(place)!r} (rag.toml or RAG_…); {_nearest(place)}"
            ) from error
        raise InputError(
            f"setting {'.'.join(place)} (RAG_{'__'.join(place).upper()}): {first['msg'].removeprefix('Value error, ')}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"rag.toml does not parse: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"rag.toml or .env is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    except SettingsError as error:
        raise InputError(f"a setting cannot be read: {error}") from error


def _nearest(place: list[str]) -> str:
    from difflib import get_close_matches

    from rag_config.settings import Settings

    known: list[str] = []
    for name, field in Settings.model_fields.items():
        group = getattr(field.annotation, "model_fields", None)
        known += [f"{name}.{key}" for key in group] if group else [name]
    near = get_close_matches(".".join(place), known, n=1, cutoff=0.5)
    return f"the nearest is {near[0]!r}" if near else "`rag config` lists all"


def run(command: click.Command, name: str) -> NoReturn:
    """Runs a command line to its exit code; every error is one line on stderr.

    Raises:
        SystemExit: always.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name need not be valid text; what cannot be written is written as an escape, which JSON knows too.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    variable = f"_{name.upper()}_COMPLETE"
    if os.environ.get(variable) == COMPLETE_WORDS:
        from rag.commands.completion_values import answer

        answer(command, name, variable)
    handler = _log_to_stderr()
    try:
        sys.exit(_exit_code(command, name))
    finally:
        for logger in _LOGGERS:
            logging.getLogger(logger).removeHandler(handler)
            logging.getLogger(logger).setLevel(logging.NOTSET)


def _exit_code(command: click.Command, name: str) -> int:
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        _say(f"{context.command_path if context else name}: {error.format_message()} (--help shows what can be given)")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say(f"{name}: interrupted")
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left, as `head` does; Python must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # what commands read and write on their own account is their output
        _fail(name, f"cannot write the output: {error.strerror or error}", error)
        return 1
    except RagError as error:
        _fail(name, str(error), error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the outermost boundary: a bug must not end in a traceback
        _fail(name, f"internal error ({type(error).__name__}: {error}); --debug shows where, please report it", error)
        return 1
    return code if isinstance(code, int) else 0


def _fail(name: str, message: str, error: BaseException) -> None:
    if logging.getLogger("rag").isEnabledFor(logging.DEBUG):
        logging.getLogger("rag").debug("", exc_info=error)
    _say(f"{name}: {message}")


def _say(message: str) -> None:
    """One line on stderr, whatever is in the message."""
    click.echo(" ".join(message.split()), err=True)


def _log_to_stderr() -> logging.Handler:
    """Warnings, and word of a download, which can take long, go to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("rag.hub").setLevel(logging.INFO)
    return handler


class _Question(_TextType):
    """A question as a word, or read from a pipe.

    A missing one is not looked for there: a command inside `while read …` would swallow what the loop is to read, and
    one that is started without a terminal would wait for ever.
    """

    name = "question"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return "Give it in quotes, or - to read it from the standard input"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value != "-" or (ctx is not None and ctx.resilient_parsing):
            return value
        return _question_from_input(ctx.command_path if ctx else "rag")


def _question_from_input(command: str) -> str:
    """All of the standard input.

    Raises:
        InputError: there is none, it is empty, or no UTF-8.
    """
    if sys.stdin is None:
        raise InputError("the standard input is closed: give the question in quotes instead of -")
    if sys.stdin.isatty():
        _say(f"{command}: type the question, then Ctrl-D on a line of its own")
    try:
        question = sys.stdin.buffer.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the question on the standard input is not UTF-8 (byte 0x{error.object[error.start]:02x} at "
            f"{error.start}): convert it, as with `iconv -f ISO-8859-1 -t UTF-8`"
        ) from error
    if not question:
        raise InputError("the standard input holds no question: write one into the pipe, or give it in quotes")
    return question


def _help(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from rag.commands.help_page import page

        click.echo(page(context))
        context.exit()


def _debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.DEBUG)
