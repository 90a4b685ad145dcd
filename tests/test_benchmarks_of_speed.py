"""What the benchmarks of speed count, cut, fit and draw; how fast anything is, no test says."""

import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import (
    embedding_rounds,
    embedding_speed,
    growth,
    ingest_peers,
    processes,
    question_latency,
    record,
    shares,
)
from benchmarks.bars import Bar, bars
from benchmarks.checkpoints import linear_parameters, useful_flops
from benchmarks.embedding_texts import Texts
from benchmarks.growth_lines import Growth, growth_lines
from benchmarks.made_library import write_library
from rag.checkpoint import inspect, locate
from rag.embedders.bge_m3 import BgeM3Embedder

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def pocket():
    return inspect(locate("pocket-m3"), "pocket-m3")


def test_the_work_of_a_text_is_that_of_bge_m3s_linears_and_of_attention_within_it(pocket):
    bge_m3 = replace(pocket, hidden_size=1024, intermediate_size=4096, layers=24)
    assert linear_parameters(bge_m3) == 301_989_888  # 302 M
    assert useful_flops(bge_m3, [8192]) == 2 * 301_989_888 * 8192 + 24 * 4 * 8192**2 * 1024
    assert useful_flops(bge_m3, [100, 100]) < useful_flops(bge_m3, [200])


def test_padding_is_what_a_batch_computes_beyond_its_texts():
    variant = embedding_rounds.Variant("x", "x", batch=2)
    assert variant.padding([10, 40, 10, 40]) == 1.0  # sorted, like goes with like
    assert replace(variant, in_order=True).padding([10, 40, 10, 40]) == 1.6
    assert replace(variant, batch=0).padding([10, 40]) == 1.0


def test_passages_have_the_lengths_that_are_told(pocket):
    count = BgeM3Embedder(pocket).count_tokens
    passages = Texts(count).passages(40)
    lengths = count(passages)
    assert 10 <= min(lengths) < 40
    assert 300 < max(lengths) <= 512
    assert len(set(passages)) == 40
    assert passages == Texts(count).passages(40)
    assert statistics.mean(count(Texts(count).questions(20))) == pytest.approx(16, abs=2)


def test_made_documents_are_many_and_no_two_paragraphs_are_alike(tmp_path):
    paths = sorted(write_library(tmp_path / "library", 9).iterdir())
    paragraphs = [part for path in paths for part in path.read_text(encoding="utf-8").split("\n\n") if ": " in part]
    assert len(paths) == 9
    assert len(paragraphs) == len(set(paragraphs)) == 9 * 12


def test_a_program_answers_with_its_time_and_its_own_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    monkeypatch.setattr(processes, "LOGS", tmp_path / "logs")
    (tmp_path / "worker.py").write_text(
        "import sys, time\n"
        "from benchmarks.processes import serve\n"
        "def fail(): raise ValueError('two\\nlines')\n"
        "def large(mib): return len(b'x' * (mib << 20))\n"
        "def load():\n"
        "    if sys.argv[1] == 'broken': raise OSError('no weights')\n"
        "    print('a library says something')\n"
        "    return {'large': large, 'fail': fail}\n"
        "serve(load)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    program = processes.Program("worker", "worker", ["whole"])
    first, second = program.do("large", mib=64), program.do("large", mib=1)
    assert first.answer == 64 << 20
    assert first.seconds > 0
    assert first.peak_mib >= 64
    if sys.platform == "linux":
        assert second.peak_mib < first.peak_mib - 32
    with pytest.raises(processes.WorkError, match="ValueError: two lines"):
        program.do("fail")
    assert not program.running
    with pytest.raises(processes.WorkError, match="OSError: no weights"):
        processes.Program("broken", "worker", ["broken"]).start()
    with pytest.raises(processes.WorkError, match="make peers"):
        processes.Program("none", "worker", python=tmp_path / "python").start()


def test_time_is_the_models_the_engines_or_ours():
    def work():
        time.sleep(0.02)
        with shares.part("model"):
            time.sleep(0.03)
            with shares.part("engine"):  # a part within a part
                time.sleep(0.01)
        with shares.part("engine"):
            time.sleep(0.02)

    spent = shares.measured(work)
    assert spent.parts["model"] >= 0.04
    assert spent.parts["engine"] >= 0.02
    assert spent.own >= 0.02
    assert spent.own + sum(spent.parts.values()) == pytest.approx(spent.wall)
    assert spent.own_processor < spent.own


def test_the_engine_has_a_clock_only_where_it_is_wanted(tmp_path):
    import qdrant_edge

    original = qdrant_edge.EdgeShard
    with shares.engine_timed():
        assert qdrant_edge.EdgeShard is not original
    assert qdrant_edge.EdgeShard is original


def test_every_number_of_askers_gets_its_passages(monkeypatch, pocket):
    monkeypatch.setattr(question_latency, "PASSAGES_OF_A_DOCUMENT", 1000)
    monkeypatch.setattr(question_latency, "checkpoint", lambda name: pocket)
    found = question_latency.measure(1000, (1, 2), 1, 2, name="pocket-m3", languages=2)
    assert [told["questions"] for told in found["askers"].values()] == [2, 4]
    for told in found["askers"].values():
        times = told["milliseconds"]
        assert all(0 < times[what]["p50"] <= times[what]["p95"] for what in ("whole", "model", "engine", "own"))
        assert sum(told["shares"].values()) == pytest.approx(1, abs=0.02)
    result = {"checkpoint": "pocket-m3", "index": [found]}
    assert "1,000" in question_latency.table(result)
    assert len(ElementTree.fromstring(question_latency.picture(result)).findall(f".//{SVG}rect")) == 2


def test_a_power_law_is_found_again():
    sizes = [10, 100, 1000]
    assert growth.fit(sizes, [[3 * size**1.25] * 3 for size in sizes]) == {"power": 1.25, "at_one": 3.0}
    assert growth.fit(sizes, [[7.0], [7.0], [7.0]]) == {"power": 0.0, "at_one": 7.0}


def test_growth_is_drawn_with_its_law():
    drawing = ElementTree.fromstring(
        growth_lines([Growth("time", [1, 10, 100], 1.0, 0.1)], [10, 100, 1000], across="x")
    )
    marks = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in drawing.findall(f".//{SVG}circle")]
    [law] = drawing.findall(f".//{SVG}line[@class='law']")
    assert marks[0] == (float(law.attrib["x1"]), float(law.attrib["y1"]))
    assert marks[2] == (float(law.attrib["x2"]), float(law.attrib["y2"]))
    assert marks[1][1] == pytest.approx((marks[0][1] + marks[2][1]) / 2, abs=0.2)


def test_bars_are_as_long_as_their_values():
    drawing = ElementTree.fromstring(bars({"a": [Bar("one", 50, 40, 100), Bar("<two>", 100, 90, 100)]}, title="t"))
    widths = [float(each.attrib["width"]) for each in drawing.findall(f".//{SVG}rect")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_the_table_says_who_is_how_many_times_faster_and_who_failed(pocket):
    chosen = [each for each in embedding_rounds.VARIANTS if each.name in ("ours torch float32", "FlagEmbedding")]
    chosen.append(embedding_rounds.Variant("LangChain", "langchain"))
    comparison = embedding_rounds.Comparison(pocket, chosen, 2, 80, 10)
    texts = comparison.tasks["passages"]
    for row, seconds in zip(comparison.rows, ([1.0, 2.0], [4.0, 4.0], []), strict=True):
        row.texts["passages"] = texts
        row.done["passages"] = [processes.Done(each, 100.0, None) for each in seconds]
        row.done["questions"] = [processes.Done(each, 100.0, [each]) for each in seconds]
    comparison.rows[2].failed, comparison.rows[2].done = "make peers", {}
    comparison.ceilings["float32"] = [1e12, 1e12]
    result = {"checkpoint": "pocket-m3", **embedding_speed.results(comparison, pocket)}
    told = result["variants"]["ours torch float32"]
    assert told["passages"]["times_faster"] == {"median": 3.0, "least": 2.0, "most": 4.0, "runs": 2}
    assert told["questions"]["milliseconds"]["median"] == 1500
    work = useful_flops(pocket, comparison.lengths(texts))
    assert told["passages"]["share_of_ceiling"]["most"] == pytest.approx(work / 1e12, rel=1e-3)
    assert "LangChain: make peers" in embedding_speed.table(result)
    assert len(ElementTree.fromstring(embedding_speed.picture(result)).findall(f".//{SVG}rect")) == 4


def test_ours_is_compared_round_by_round_with_the_frameworks():
    def run(seconds, model):
        answer = {"documents": 8, "seconds": seconds, "model": model, "counting": 0.0, "engine": seconds / 4}
        return processes.Done(seconds, 10.0, answer)

    told = ingest_peers._told([run(8.0, 4.0), run(4.0, 2.0)], [run(2.0, 1.0), run(2.0, 1.0)])
    assert told["documents_per_second"]["median"] == 1.5
    assert told["ours_times_faster"] == {"median": 3.0, "least": 2.0, "most": 4.0, "runs": 2}
    assert told["shares"] == {"model": 0.5, "counting": 0.0, "engine": 0.25, "own": 0.25}


def test_vectors_that_differ_cost_parity():
    import numpy as np

    from benchmarks.embedding_parity import Vectors, compared

    random = np.random.default_rng(0)
    dense = random.normal(size=(24, 8)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    lexical = [{at: 0.5, at + 1: 0.25} for at in range(24)]
    same = compared(Vectors(dense, lexical), Vectors(dense, lexical), 20)
    assert same["cosine_least"] == pytest.approx(1, abs=1e-6)
    assert (same["same_tokens"], same["best_ten_dense"], same["best_ten_hybrid"]) == (1.0, 1.0, 1.0)
    other = compared(Vectors(np.roll(dense, 1, axis=0), [*lexical[:-1], {}]), Vectors(dense, lexical), 20)
    assert other["cosine_least"] < 0.9
    assert other["same_tokens"] == round(23 / 24, 4)
    assert other["weight_difference_most"] == 0.5
    assert other["best_ten_dense"] < 1


def test_what_is_saved_quickly_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_RESULTS", tmp_path / "results")
    monkeypatch.setattr(record, "_QUICK", tmp_path / "quick")
    path = record.save("x", {"machine": record.machine()}, "a table", {"x": "<svg/>"}, quick=True)
    assert path.parent == tmp_path / "quick"
    assert json.loads(path.read_text())["machine"]["versions"]["torch"]
    assert sorted(each.name for each in path.parent.iterdir()) == ["x.json", "x.svg", "x.txt"]
    assert not (tmp_path / "results").exists()
