"""The small run of benchmarks/kills.py: an index whose ingestions were killed equals one that was made in one piece."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from benchmarks.kill_stores import KINDS, differences
from benchmarks.kills import LEAST_COSINE
from ingest import ingest
from rag import Settings
from rag.stores.server import ServerStore
from rag.stores.server_collection import ServerCollection
from tests.store_contract import INFO, make_document, put

pytestmark = pytest.mark.slow

ROUNDS = 8
NOWHERE = "http://localhost:6333"  # for a store that is given its client


def test_a_killed_ingestion_that_is_repeated_leaves_no_trace_on_any_store() -> None:
    stores = ["edge", "local"]
    chosen = [word for store in stores for word in ("--store", store)]
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", str(ROUNDS), "--json", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    for store in stores:
        assert results[store]["kills"] >= 6
        assert results[store]["random"] >= 2
        assert len(results[store]["injected"]) >= 3
        assert results[store]["differences"] == []


def test_every_difference_is_seen(in_folder: Path, settings: Settings) -> None:
    (in_folder / "a.md").write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    (in_folder / "b.md").write_text("# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause zu.\n")
    ingest(in_folder, settings=settings)
    wanted = KINDS["edge"].points(settings.store.path)
    assert len(wanted) == 2
    assert differences(wanted, wanted, LEAST_COSINE) == []
    one, other = wanted
    assert "missing" in differences({one: wanted[one]}, wanted, LEAST_COSINE)[0]
    assert "left over" in differences(wanted, {one: wanted[one]}, LEAST_COSINE)[0]
    staged = replace(wanted[one], payload={**wanted[one].payload, "state": "staged"})
    found = differences({**wanted, one: staged}, wanted, LEAST_COSINE)
    assert found == [f"point {one}: state is 'staged' instead of 'live'"]
    assert float(wanted[one].dense @ wanted[other].dense) < LEAST_COSINE
    moved = replace(wanted[one], dense=wanted[other].dense)
    assert differences({**wanted, one: moved}, wanted, LEAST_COSINE) == [f"point {one}: the vectors differ"]


def cut_in_two(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer dies when its second version is live and its first one still there."""
    store = ServerStore(NOWHERE, "default", client=client)
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 3, ingested_at=1.0))
    store.stage(*make_document("file:///a", "v2", 2, ingested_at=2.0))
    with monkeypatch.context() as during:
        during.setattr(ServerCollection, "delete", _dies)
        with pytest.raises(KeyboardInterrupt):
            store.commit("file:///a", "v2")


def _dies(*arguments: object, **named: object) -> None:
    raise KeyboardInterrupt


def live(client: QdrantClient) -> list[str]:
    return sorted(point.payload["version"] for point in client.scroll("default", limit=99)[0] if point.payload)


def test_the_next_writer_on_a_server_finishes_a_commit_that_was_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    client = QdrantClient(":memory:")
    cut_in_two(client, monkeypatch)
    reader = ServerStore(NOWHERE, "default", client=client)
    assert [document.version for document in reader.documents()] == ["v2"]
    assert live(client) == ["v1", "v1", "v1", "v2", "v2"]  # whoever only reads takes nothing away
    writer = ServerStore(NOWHERE, "default", client=client)
    writer.prepare(INFO)
    assert [document.version for document in writer.documents()] == ["v2"]
    assert live(client) == ["v2", "v2"]


def test_a_version_that_is_not_whole_costs_the_one_before_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = QdrantClient(":memory:")
    cut_in_two(client, monkeypatch)
    [last] = [p.id for p in client.scroll("default", limit=99)[0] if p.payload and p.payload["version"] == "v2"][1:]
    client.set_payload("default", {"state": "staged"}, [last])  # as if it had not come alive yet
    writer = ServerStore(NOWHERE, "default", client=client)
    writer.prepare(INFO)
    list(writer.documents())
    assert live(client) == ["v1", "v1", "v1", "v2", "v2"]
