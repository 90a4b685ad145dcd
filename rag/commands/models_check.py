"""`rag models check`: is a folder a usable embedding model, and if not, what is missing?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from rag.commands.models_pull import revision_in_settings
from rag.commands.shared import help_option
from rag.errors import CheckpointError

if TYPE_CHECKING:
    from rag.catalogue.examination import Examination, Part
    from rag.embedding_model import EmbeddingModel
    from rag.rendering.screen import Screen

_WIDTH = len("missing")


@click.command(short_help="Say whether a folder holds a usable embedding model, and what is missing.")
@click.argument("model", metavar="DIR|ID")
@click.option("--revision", metavar="R", help="Commit, tag or branch of a hub id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@help_option
def check(model: str, revision: str | None, as_json: bool) -> None:
    """Say whether a folder, or a model that was fetched, is usable: each file, and what mends it.

    Weights and heads are opened, not run, and nothing is downloaded. Prompts, dimension and fingerprint are the model's
    own, without those of the settings. The exit code is 3 if the model cannot be used.

    \b
    rag models check models/bge-m3
    rag models check BAAI/bge-m3
    rag models check models/multilingual-e5-small
    rag models check models/mine --json | jq '.files[] | select(.status != "ok")'
    """
    from rag.catalogue.examination import examine
    from rag.doctor.model import on_this_machine
    from rag.rendering.records import to_json
    from rag.rendering.screen import Screen

    found = examine(on_this_machine(model, revision or revision_in_settings(model)), model)
    if as_json:
        click.echo(to_json(_fields(found)))
    else:
        screen = Screen.of(sys.stdout)
        for part in found.parts:
            click.echo(_line(part, screen))
        if found.checkpoint is not None and found.usable:
            click.echo(_summary(found.checkpoint))
    if not found.usable:
        wrong = [part.file for part in found.parts if part.fault]
        hint = "; `rag train distill --teacher` may learn from it" if found.teacher else ""
        raise CheckpointError(
            f"{model!r} is not usable, {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or damaged: "
            f"mend what the lines above say, or use another model that `rag models` shows{hint}"
        )


def _line(part: Part, screen: Screen) -> str:
    from rag.doctor.finding import failed_by
    from rag.normalization import printable
    from rag.rendering.screen import GREEN, RED
    from rag.rendering.text import readable_size

    status = screen.styled(f"{part.status:<{_WIDTH}}", GREEN if part.fault is None else RED)
    if part.fault is None:
        return f"{status}  {part.file}, {readable_size(part.size or 0)}"
    verdict = failed_by(part.fault)
    without = [f"without it {_without(part)}"] if part.status == "missing" else []
    return f"{status}  {part.file} – {' – '.join(map(printable, (verdict.detail, *without, verdict.remedy or '')))}"


def _without(part: Part) -> str:
    from rag.catalogue.examination import WITHOUT

    return WITHOUT.get(part.file, "there are no vectors at all")


def _summary(model: EmbeddingModel) -> str:
    from rag.sentence_model import SentenceModel

    sizes = f"window {model.window} tokens"
    if not isinstance(model, SentenceModel):
        return (
            f"usable: dimension {model.hidden_size}, {sizes}, dense, sparse and multi-vector heads, "
            f"fingerprint {model.fingerprint}"
        )
    prompts = (model.query_prompt, model.passage_prompt)
    said = f"prompts {' and '.join(map(repr, prompts))}" if any(prompts) else "no prompts"
    return (
        f"usable: dimension {model.dimension}, {sizes}, dense vectors of sentence-transformers, sparse ones of BM25, "
        f"{said}, fingerprint {model.fingerprint}; `rag train distill --teacher` may learn from it"
    )


def _fields(found: Examination) -> dict[str, Any]:
    """For --json; the names of fields are a contract."""
    from rag.doctor.finding import failed_by
    from rag.sentence_model import SentenceModel

    model = found.checkpoint
    sentence_model = model if isinstance(model, SentenceModel) else None
    dimension = model.dimension if isinstance(model, SentenceModel) else model.hidden_size if model else None
    files = []
    for part in found.parts:
        verdict = failed_by(part.fault) if part.fault else None
        files.append(
            {
                "file": part.file,
                "status": part.status,
                "size": part.size,
                "detail": verdict.detail if verdict else None,
                "remedy": verdict.remedy if verdict else None,
                "without": _without(part) if part.status == "missing" else None,
            }
        )
    return {
        "model": found.name,
        "folder": str(found.folder),
        "usable": found.usable,
        "teacher": found.teacher,
        "layout": found.layout,
        "dimension": dimension,
        "window": model.window if model else None,
        "query_prompt": sentence_model.query_prompt if sentence_model else None,
        "passage_prompt": sentence_model.passage_prompt if sentence_model else None,
        "fingerprint": (model.fingerprint or None) if model else None,
        "files": files,
    }
