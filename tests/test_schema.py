"""The schema: pure functions between chunks and payloads."""

from __future__ import annotations

import dataclasses
import json
import uuid

import numpy as np
import pytest

from rag.errors import IndexMismatchError, StoreError
from rag.identity import point_id
from rag.stores.points import candidates_of
from rag.stores.schema import (
    LIVE,
    STAGED,
    Selection,
    chunk_of,
    document_of,
    newest_versions,
    payload_of,
    require_match,
    require_query,
    require_storable,
    selection_of,
)
from rag.types import ANYWHERE, Candidate, Chunk, Where
from tests.store_contract import DIMENSION, INFO, make_chunk, make_embedding


def test_a_payload_survives_json_and_becomes_the_same_chunk() -> None:
    chunk = make_chunk(text="Tiếng Việt \u200d 𝄞", metadata={"a": "1"})
    payload = json.loads(json.dumps(payload_of(chunk, LIVE)))
    assert chunk_of(chunk.id, payload) == chunk


def test_a_payload_holds_every_field_of_a_chunk_but_its_id() -> None:
    names = {field.name for field in dataclasses.fields(Chunk)}
    assert set(payload_of(make_chunk(), STAGED)) == names - {"id"} | {"state"}


def test_states_are_keywords_because_the_engine_matches_no_booleans() -> None:
    assert isinstance(payload_of(make_chunk(), STAGED)["state"], str)
    assert LIVE != STAGED


def test_a_document_is_known_from_any_of_its_payloads() -> None:
    chunk = make_chunk(language="th", metadata={"a": "1"})
    document = document_of(chunk.id, payload_of(chunk, LIVE))
    assert (document.uri, document.version, document.title) == (chunk.uri, chunk.version, chunk.title)
    assert document.language == chunk.document_language != chunk.language
    assert document.metadata == {"a": "1"}


def test_a_point_of_another_program_is_refused_with_the_field_that_is_missing() -> None:
    payload = payload_of(make_chunk(), LIVE)
    del payload["title"]
    with pytest.raises(StoreError, match="'title'"):
        chunk_of("1", payload)
    with pytest.raises(StoreError, match="'title'"):
        document_of("1", payload)


def test_point_ids_are_version_five_uuids_of_all_three_parts() -> None:
    ids = {point_id(uri, version, ordinal) for uri in ("a", "b") for version in ("1", "2") for ordinal in (0, 1)}
    assert len(ids) == 8
    assert {uuid.UUID(each).version for each in ids} == {5}
    assert point_id("a", "1", 0) == point_id("a", "1", 0)


def test_anywhere_means_every_live_point() -> None:
    assert selection_of(ANYWHERE) == Selection({"state": [LIVE]})


def test_a_filter_that_nothing_can_fulfil_is_known_without_asking() -> None:
    assert selection_of(Where(uris=())) is None
    assert selection_of(Where(metadata={"a.b": "x"})) is None
    assert selection_of(Where(metadata={"": "x"})) is None


def test_metadata_is_looked_up_inside_its_object() -> None:
    where = Where(languages=("de", "en"), uris=("file:///a",), metadata={"team": "ops"})
    assert selection_of(where) == Selection(
        {"state": [LIVE], "language": ["de", "en"], "uri": ["file:///a"], "metadata.team": ["ops"]}
    )


def test_languages_that_are_not_wanted_are_conditions_that_must_not_hold() -> None:
    assert selection_of(Where(not_languages=("en", "fr"))) == Selection({"state": [LIVE]}, {"language": ["en", "fr"]})


def test_globs_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expanded"):
        selection_of(Where(sources=("*.md",)))


def test_the_version_ingested_last_wins_whatever_the_order() -> None:
    old, new = make_chunk(version="z", ingested_at=1.0), make_chunk(version="a", ingested_at=2.0)
    other = make_chunk("file:///b", version="x", ingested_at=0.0)
    for chunks in ([old, new, other], [other, new, old]):
        assert newest_versions(chunks) == {old.uri: "a", other.uri: "x"}
        kept = candidates_of([(chunk.id, payload_of(chunk, LIVE), 0.1, 0.2) for chunk in chunks])
        assert kept == sorted((Candidate.of(each, 0.1, 0.2) for each in (new, other)), key=lambda each: each.id)


def test_versions_ingested_at_the_same_time_are_told_apart_the_same_way_each_time() -> None:
    one, two = make_chunk(version="v1"), make_chunk(version="v2")
    assert newest_versions([one, two]) == newest_versions([two, one]) == {one.uri: "v2"}


def test_an_index_that_fits_is_accepted_under_any_name() -> None:
    require_match(INFO, dataclasses.replace(INFO, model="another name"))


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        ({"fingerprint": "ffff", "model": "m2"}, ["'m2'", "ffff", "'tiny-model'", INFO.fingerprint, "--collection"]),
        ({"dimension": 1024}, ["1024", str(DIMENSION), "--collection"]),
        ({"schema_version": 0}, ["schema version 0", "version 1", "ingest your documents again", "--collection"]),
        ({"schema_version": 2}, ["schema version 2", "version 1", "upgrade", "--collection"]),
    ],
)
def test_an_index_that_does_not_fit_is_refused_with_both_sides_and_the_way_out(
    found: dict[str, object], parts: list[str]
) -> None:
    with pytest.raises(IndexMismatchError) as refusal:
        require_match(dataclasses.replace(INFO, **found), INFO)  # type: ignore[arg-type]  # as parametrised
    for part in parts:
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": point_id("file:///b", "v1", 0)}, "its id is"),
        ({"ordinal": 1, "id": point_id("file:///library/a.md", "v1", 1)}, "ordinal"),
        ({"ingested_at": float("nan")}, "nan"),
        ({"text": "half a pair \ud83d"}, "surrogate at position 12"),
        ({"headings": ("\udcff",)}, "surrogate"),
        ({"uri": "file:///\udcff"}, "surrogate"),
        ({"metadata": {"a b": "x"}}, "'a b'"),
        ({"metadata": {"a": 1}}, "is a int"),
    ],
)
def test_a_chunk_that_no_engine_could_give_back_is_refused(change: dict[str, object], fault: str) -> None:
    chunk = dataclasses.replace(make_chunk(), **change)  # type: ignore[arg-type]  # as parametrised
    with pytest.raises(StoreError, match=fault) as refusal:
        require_storable([chunk], [make_embedding(1)], DIMENSION)
    assert "nothing was written" in str(refusal.value)
    str(refusal.value).encode("utf-8")  # can be printed


def test_a_chunk_may_not_come_twice() -> None:
    with pytest.raises(StoreError, match="given twice"):
        require_storable([make_chunk(), make_chunk()], [make_embedding(1), make_embedding(2)], DIMENSION)


def test_a_norm_that_half_precision_leaves_is_accepted() -> None:
    embedding = make_embedding(1)
    halves = dataclasses.replace(embedding, dense=embedding.dense.astype(np.float16).astype(np.float32))
    require_storable([make_chunk()], [halves], DIMENSION)
    require_query(halves, DIMENSION)
