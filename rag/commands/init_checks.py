"""What `rag init` finds when it tries the choices out: `rag doctor` over them, without what cannot be told yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rag.commands import init_choices
from rag.commands.init_choices import Choices

if TYPE_CHECKING:
    from rag.doctor import Finding

_LANGUAGE_MODEL = frozenset({"endpoint", "model list", "answer"})
_NOT_SHOWN = frozenset({"tokenizer", "device"})


def findings(choices: Choices, size: str) -> Iterator[Finding]:
    """The lines that matter now, each as soon as it is there.

    Args:
        size: what fetching the embedding model would cost, where it is not here.
    """
    from rag.doctor import Finding, examine

    settings = choices.settings()
    deferred = init_choices.must_be_fetched(choices.model)
    for finding in examine(settings):
        if finding.check in _NOT_SHOWN or (finding.check in _LANGUAGE_MODEL and not choices.llm_model):
            continue
        if finding.check == "model" and deferred:
            detail = f"{choices.model} is not on this machine: {size}"
            yield Finding(
                "model",
                "warn",
                detail,
                "the first `ingest` fetches it, or now: rag init --download; or --model pocket-m3",
            )
        elif finding.check == "index" and finding.status == "warn":  # empty: what comes next says the same
            continue
        else:
            yield finding
    held = init_choices.index_model(settings) if deferred else None
    if held not in (None, choices.model):
        detail = f"the collection {choices.collection!r} was made with {held}, the model in use is {choices.model}"
        yield Finding("index model", "fail", detail, f"--model {held}; or another one: --collection NAME")
