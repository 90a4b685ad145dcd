"""`rag models pull`: fetches an embedding model ahead of time."""

from __future__ import annotations

import click

from rag.commands.shared import help_option, load_settings
from rag.errors import CheckpointError, InputError


@click.command(short_help="Fetch an embedding model from the hub ahead of time.")
@click.argument("model", metavar="ID")
@click.option("--revision", metavar="R", help="Commit, tag or branch; by default the one this version was written for.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@help_option
def pull(model: str, revision: str | None, as_json: bool) -> None:
    """Fetch an embedding model from the hub, so that everything else works without a network.

    Only the files that are needed are fetched, into the cache of the hub's client, and looked at. What is there already
    is not fetched again. For a machine without a network, copy the folder that is printed (cp -rL: its files are links)
    and give it as --model.

    \b
    rag models pull BAAI/bge-m3
    rag models pull intfloat/multilingual-e5-small
    # A folder to carry to another machine:
    cp -rL "$(rag models pull BAAI/bge-m3 --json | jq -r .folder)" /media/usb/bge-m3
    """
    from rag import checkpoint
    from rag.catalogue.examination import examine
    from rag.rendering.records import to_json
    from rag.rendering.text import readable_size

    if checkpoint.is_folder(model) and model not in checkpoint.BUNDLED:
        raise InputError(f"{model!r} is a folder on this machine: `rag models check` says whether it is usable")
    revision = revision or revision_in_settings(model)
    fetched = checkpoint.must_be_fetched(model, revision)
    found = examine(checkpoint.locate(model, revision), model)
    fault = next((part.fault for part in found.parts if part.fault), None)
    if fault is not None:
        # The hub's client asks of a file in its cache only whether it is there.
        again = "" if model in checkpoint.BUNDLED else f"; or delete {found.folder.parent.parent} and pull again"
        raise CheckpointError(f"{model!r} is fetched and not usable: {fault}{again}") from fault
    size = sum(part.size or 0 for part in found.parts)
    if as_json:
        click.echo(to_json({"model": model, "folder": str(found.folder), "size": size, "fetched": fetched}))
        return
    done = "comes with the program" if model in checkpoint.BUNDLED else "is fetched" if fetched else "is here already"
    click.echo(f"{model} {done}: {readable_size(size)} in {found.folder}")


def revision_in_settings(model: str) -> str | None:
    """The revision in the settings, if it is this model's.

    Raises:
        InputError: the settings cannot be read.
    """
    embedder = load_settings().embedder
    return embedder.revision if embedder.model == model else None
