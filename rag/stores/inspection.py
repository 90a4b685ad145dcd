"""Points as they are kept, to what can be said of each by itself; the same for every adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rag.stores.points import embedding_of
from rag.stores.schema import DENSE, LIVE, STAGED, Conditions, chunk_of, fault_of
from rag.types import Chunk, InspectedPoint

_IDS_AT_ONCE = 256
_NOTHING = type(None)
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "uri": (str,),
    "version": (str,),
    "state": (str,),
    "ordinal": (int,),
    "chunk_count": (int,),
    "text": (str,),
    "start": (int,),
    "end": (int,),
    "title": (str,),
    "headings": (list,),
    "page": (int, _NOTHING),
    "page_breaks": (list,),
    "language": (str,),
    "document_language": (str,),
    "format": (str,),
    "text_hash": (str,),
    "ingested_at": (int, float),
    "metadata": (dict,),
}
"""Fields of `rag.stores.schema.payload_of` and what they hold."""
_ITEMS: Mapping[str, type] = {"headings": str, "page_breaks": int}
"""What those of the lists are."""


def inspected(identifier: str, payload: object, vectors: object, dimension: int, *, abandoned: bool) -> InspectedPoint:
    """What can be said of a point.

    Args:
        payload: as the engine gives it, None where there is none.
        vectors: by name, as the engine gives them.
        dimension: of the index.
        abandoned: whether nobody will commit it, if it is staged.
    """
    fields: Mapping[str, Any] = payload if isinstance(payload, Mapping) else {}
    uri, version, state = (fields.get(name) for name in ("uri", "version", "state"))
    state = state if isinstance(state, str) else None
    chunk = None
    fault = _fault_of_payload(fields)
    if not fault:
        chunk = chunk_of(identifier, fields)
        fault = _fault_of_state(state) or _fault_of_span(chunk) or _fault_of_vectors(chunk, vectors, dimension)
    return InspectedPoint(
        id=identifier,
        uri=uri if isinstance(uri, str) else "",
        version=version if isinstance(version, str) else "",
        state=state,
        chunk=chunk,
        fault=fault,
        abandoned=abandoned and state == STAGED,
    )


def by_state(points: Sequence[InspectedPoint]) -> Iterator[tuple[Conditions, list[str]]]:
    """Ids of points in batches, each with the condition that they are in the state that they were seen in."""
    states: dict[str | None, list[str]] = {}
    for point in points:
        states.setdefault(point.state, []).append(point.id)
    for state, ids in states.items():
        where: Conditions = {} if state is None else {"state": [state]}
        for start in range(0, len(ids), _IDS_AT_ONCE):
            yield where, ids[start : start + _IDS_AT_ONCE]


def engine_id(identifier: str) -> str | int:
    """An id as the engines take it: another program's may be a number."""
    return int(identifier) if identifier.isdecimal() else identifier


def _fault_of_payload(fields: Mapping[str, Any]) -> str:
    for name, types in _FIELDS.items():
        if name not in fields:
            return f"it has no field {name!r}"
        value = fields[name]
        if not isinstance(value, types) or isinstance(value, bool):
            return f"its field {name!r} is a {type(value).__name__}"
    for name, kind in _ITEMS.items():
        if any(type(item) is not kind for item in fields[name]):
            return f"its field {name!r} holds something else than {kind.__name__}"
    return ""


def _fault_of_state(state: str | None) -> str:
    return "" if state in (LIVE, STAGED) else f"its state is {state!r}"


def _fault_of_span(chunk: Chunk) -> str:
    if chunk.start >= 0 and chunk.end - chunk.start == len(chunk.text):
        return ""
    return f"its text has {len(chunk.text)} code points, its span is [{chunk.start}, {chunk.end})"


def _fault_of_vectors(chunk: Chunk, vectors: object, dimension: int) -> str:
    if not isinstance(vectors, Mapping) or DENSE not in vectors:
        return "it has no dense vector"
    return fault_of(chunk, embedding_of(vectors), dimension)
