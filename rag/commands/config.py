"""`rag config`: every setting in effect, and where its value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import click

from rag.commands.shared import load_settings, shared_options

if TYPE_CHECKING:
    from rag_config.settings import Settings

_MASK = "********"
_SOURCES = ("flag", "environment", ".env", "rag.toml")
"""In the order of `Settings.settings_customise_sources`: the first that has a value wins."""


@dataclass(frozen=True, slots=True)
class Row:
    """A setting in effect.

    Attributes:
        setting: its name in rag.toml, with a dot between levels.
        value: as JSON has it; secrets are masked, None means unset.
        source: flag, environment, .env, rag.toml, tuning.json (what `rag tune` keeps with the index) or default.
        variable: the environment variable that sets it, or that has set it.
    """

    setting: str
    value: str | float | None
    source: str
    variable: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared_options
def config(as_json: bool, store: str | None, collection: str | None, model: str | None) -> None:
    """Show every setting in effect and where it comes from; keys and passwords are masked.

    Flags go before RAG_… variables, these before .env, then rag.toml (both in the working folder), then what
    `rag tune` keeps with the index, then defaults.

    \b
    rag config
    # What another command with this flag would use:
    rag config --store ./index
    # The names of all that is not at its default:
    rag config --json | jq -r 'select(.source != "default") | .setting'
    """
    from rag.normalization import printable
    from rag.rendering.records import to_json

    settings = load_settings(store=store, collection=collection, model=model)
    flags = {"store.url" if "://" in (store or "") else "store.path": store}
    flags |= {"store.collection": collection, "embedder.model": model}
    flagged = {name for name, value in flags.items() if value is not None}
    # A folder given here takes a server's address out of effect: that is the flag's doing too.
    cleared = {"store.url"} if "store.path" in flagged else set()
    rows = list(_rows(settings, flagged, cleared))
    if as_json:
        for row in rows:
            click.echo(to_json(asdict(row)))
        return
    cells = ["–" if row.value is None else printable(str(row.value)) for row in rows]
    names, values = max(len(row.setting) for row in rows), max(map(len, cells))
    for row, value in zip(rows, cells, strict=True):
        named = row.source in ("environment", ".env")
        origin = f"{row.source} ({row.variable})" if named else row.source
        click.echo(f"{row.setting:<{names}}  {value:<{values}}  {origin}")


def _rows(settings: Settings, flagged: set[str], cleared: set[str]) -> Iterator[Row]:
    given = given_by_source(type(settings))
    for name, value in _leaves(settings):
        variable = f"RAG_{name.replace('.', '__').upper()}"
        source = "flag" if name in flagged else next((origin for origin in _SOURCES[1:] if name in given[origin]), None)
        if source is not None and name in cleared:
            source = "flag"
        if source is None:
            value, source, variable = _fallback(settings, name, value, variable)
        yield Row(name, shown(name, value), source, variable)


def given_by_source(settings: type[Settings]) -> dict[str, set[str]]:
    """By source, the names of the settings that it gives."""
    from pydantic_settings import EnvSettingsSource, InitSettingsSource, SecretsSettingsSource

    # The class itself puts .env in the place of the third.
    sources = settings.settings_customise_sources(
        settings,
        InitSettingsSource(settings, {}),
        EnvSettingsSource(settings),
        EnvSettingsSource(settings),
        SecretsSettingsSource(settings),
    )
    return {name: set(dict(_leaves(source()))) for name, source in zip(_SOURCES, sources, strict=True)}


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of each setting of a group or a table, and of those within it."""
    pairs = values.items() if isinstance(values, Mapping) else iter(values)
    for name, value in pairs:
        if isinstance(value, Mapping) or hasattr(value, "model_fields_set"):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _fallback(settings: Settings, name: str, value: Any, variable: str) -> tuple[Any, str, str]:
    """Value, source and variable of a setting that no source of ours gives."""
    from rag.build_retrieval import DEPTH
    from rag.hub import DEFAULT_REVISIONS

    base_url, key = settings.llm.endpoint()
    if name == "llm.base_url" and base_url:
        return base_url, "environment", "OPENAI_BASE_URL"
    if name == "llm.api_key" and key:
        return key, "environment", "OPENAI_API_KEY"
    if (kept := _tuned(settings, name)) is not None:
        return kept, "tuning.json", variable
    if name == "retrieval.depth":
        return DEPTH, "default", variable
    if name == "embedder.revision":
        return DEFAULT_REVISIONS.get(settings.embedder.model), "default", variable
    return value, "default", variable


def _tuned(settings: Settings, name: str) -> Any:
    """What `rag tune` keeps with the index for a setting, where that is in effect."""
    from contextlib import closing

    from rag import build
    from rag.errors import RagError
    from rag.tuned import read

    group, _, field = name.partition(".")
    if group != "retrieval" or settings.store.url:
        return None
    try:
        with closing(build.store(settings)) as store:
            kept = read(settings.store.path / settings.store.collection, store.info().fingerprint)
    except RagError:  # no index, or a damaged file: a search says so
        return None
    return getattr(kept, field, None)


def shown(name: str, value: Any) -> str | float | None:
    """The value of a setting as JSON has it, without what is secret in it."""
    if hasattr(value, "get_secret_value"):
        return _MASK
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value)
    if "://" in text:
        return _masked_url(text)
    # No URL as it stands, but what was meant for one may hold a login or a key.
    return _MASK if name in ("store.url", "llm.base_url") and {"@", "?"} & set(text) else text


def _masked_url(url: str) -> str:
    """`url` without what may be secret in it: the login and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    _, at, host = parts.netloc.rpartition("@")
    query = "&".join(f"{pair.partition('=')[0]}={_MASK}" for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, f"{_MASK}{at}{host}" if at else host, parts.path, query, ""))
