"""The small run of benchmarks/kills.py: an index whose ingestions were killed equals one that was made in one piece."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.kills import LEAST_COSINE, differences, points
from ingest import ingest
from rag import Settings

ROUNDS = 10


def test_a_killed_ingestion_that_is_repeated_leaves_no_trace() -> None:
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", str(ROUNDS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] >= 6
    assert result["random"] >= 2
    assert len(result["injected"]) >= 3
    assert result["differences"] == []


def test_every_difference_is_seen(in_folder: Path, settings: Settings) -> None:
    (in_folder / "a.md").write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    (in_folder / "b.md").write_text("# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause zu.\n")
    ingest(in_folder, settings=settings)
    wanted = points(settings.store.path / settings.store.collection)
    assert len(wanted) == 2
    assert differences(wanted, wanted) == []
    one, other = wanted
    assert "missing" in differences({one: wanted[one]}, wanted)[0]
    assert "left over" in differences(wanted, {one: wanted[one]})[0]
    staged = replace(wanted[one], payload={**wanted[one].payload, "state": "staged"})
    assert differences({**wanted, one: staged}, wanted) == [f"point {one}: state is 'staged' instead of 'live'"]
    assert float(wanted[one].dense @ wanted[other].dense) < LEAST_COSINE
    moved = replace(wanted[one], dense=wanted[other].dense)
    assert differences({**wanted, one: moved}, wanted) == [f"point {one}: the vectors differ"]
