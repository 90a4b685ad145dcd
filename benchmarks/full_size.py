"""BGE-M3 at its true size, end to end: `ingest` and `rag search` over the workplace library, time and peak memory.

Real weights cannot be part of this repository, so a checkpoint of random weights in BGE-M3's exact shape (568 M
parameters, 24 layers, fp32 safetensors) is written once under build/; random weights cost what real ones cost. Its
vocabulary is BGE-M3's, taken from $RAG_DATA/xlmr_tokenizer/tokenizer.json.

    RAG_DATA=… make bench
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import record

ROOT = Path(__file__).parent.parent
CHECKPOINT = ROOT / "build" / "bench" / "bge-m3-random"
LIBRARY = ROOT / "demo" / "workplace" / "library"
RESULT = ROOT / "benchmarks" / "results" / "full_size.json"
HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS, VOCABULARY = 1024, 24, 16, 4096, 8194, 250_002


def write_checkpoint(folder: Path, tokenizer: Path, *, layers: int = LAYERS, vocabulary: int = VOCABULARY) -> None:
    """A complete random checkpoint in BGE-M3's layout; with fewer layers or tokens it is a smaller one."""
    import torch
    from safetensors.torch import save_file

    config = {
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "hidden_size": HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": POSITIONS,
        "vocab_size": vocabulary,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "absolute",
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    torch.manual_seed(0)
    state: dict[str, Any] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        state[f"{name}.weight"] = torch.empty(rows, columns).normal_(0, 0.02)
        state[f"{name}.bias"] = torch.zeros(rows)

    def norm(name: str) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.ones(HIDDEN), torch.zeros(HIDDEN)

    state["embeddings.word_embeddings.weight"] = torch.empty(vocabulary, HIDDEN).normal_(0, 0.02)
    state["embeddings.position_embeddings.weight"] = torch.empty(POSITIONS, HIDDEN).normal_(0, 0.02)
    state["embeddings.token_type_embeddings.weight"] = torch.zeros(1, HIDDEN)
    norm("embeddings.LayerNorm")
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            linear(f"{at}.attention.self.{part}", HIDDEN, HIDDEN)
        linear(f"{at}.attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{at}.attention.output.LayerNorm")
        linear(f"{at}.intermediate.dense", INTERMEDIATE, HIDDEN)
        linear(f"{at}.output.dense", HIDDEN, INTERMEDIATE)
        norm(f"{at}.output.LayerNorm")
    linear("pooler.dense", HIDDEN, HIDDEN)
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    (unfinished / "config.json").write_text(json.dumps(config))
    shutil.copy(tokenizer, unfinished / "tokenizer.json")
    save_file(state, unfinished / "model.safetensors", metadata={"format": "pt"})
    for name, rows in (("sparse_linear", 1), ("colbert_linear", HIDDEN)):
        head = {"weight": torch.empty(rows, HIDDEN).normal_(0, 0.02), "bias": torch.zeros(rows)}
        torch.save(head, unfinished / f"{name}.pt")
    unfinished.rename(folder)
    print(f"wrote {sum(tensor.numel() for tensor in state.values()) / 1e6:.0f} M parameters to {folder}")


def timed(*words: str, store: Path, dtype: str) -> tuple[float, float, str]:
    """Wall seconds, peak resident memory in GiB, and stdout of a command in a process of its own."""
    environment = {**os.environ, "RAG_EMBEDDER__DTYPE": dtype, "HF_HUB_OFFLINE": "1"}
    command = [
        str(Path(sys.executable).parent / words[0]),
        *words[1:],
        "--model",
        str(CHECKPOINT),
        "--store",
        str(store),
    ]
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    out, errors = process.communicate()
    seconds = time.perf_counter() - before
    if process.returncode:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}: {errors}")
    return seconds, _peak(), out


def _peak() -> float:
    """Largest resident set of any finished child so far, in GiB; the largest is the one of interest here."""
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return kilobytes / (1 << 30 if sys.platform == "darwin" else 1 << 20)


def measure(dtype: str) -> dict[str, Any]:
    """One ingestion, five search commands and eleven warm questions in `dtype`."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        seconds, memory, out = timed("ingest", str(LIBRARY), "--json", store=store, dtype=dtype)
        report = json.loads(out)
        assert report["documents"]["failed"] == 0, report
        searches = [
            timed("rag", "search", "How often is the conveyor belt cleaned?", "--json", store=store, dtype=dtype)
            for _ in range(5)
        ]
        warm = _questions(store, dtype)
    return {
        "dtype": dtype,
        "documents": report["documents"]["added"],
        "chunks": report["chunks"],
        "tokens": report["tokens"],
        "ingest_seconds": round(seconds, 1),
        "ingest_tokens_per_second": round(report["tokens"] / seconds),
        "peak_memory_gib": round(memory, 2),
        "search_command_seconds_median": round(sorted(search[0] for search in searches)[2], 2),
        "warm_question_milliseconds_median": warm,
    }


def _questions(store: Path, dtype: str) -> float:
    """Median milliseconds from a question to its passages once the model is loaded."""
    from rag import Settings, open_rag

    settings = Settings(
        store={"path": store},  # type: ignore[arg-type]
        embedder={"model": str(CHECKPOINT), "dtype": dtype, "query_cache": 0},  # type: ignore[arg-type]
    )
    times = []
    with open_rag(settings) as rag:
        for _ in range(11):
            before = time.perf_counter()
            rag.retrieve("Wie oft wird das Förderband gereinigt und geprüft?", k=10)
            times.append(time.perf_counter() - before)
    return round(sorted(times[1:])[5] * 1000, 1)


def main() -> None:
    """Without arguments: everything. `write TOKENIZER` and `measure DTYPE` are its steps, each in a process of its own,
    so that the memory of one does not count in the peak of another."""
    if sys.argv[1:2] == ["write"]:
        write_checkpoint(CHECKPOINT, Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2])))
        return
    data = os.environ.get("RAG_DATA")
    if not data:
        sys.exit("RAG_DATA is not set: the folder with xlmr_tokenizer/tokenizer.json, BGE-M3's vocabulary")
    if not CHECKPOINT.exists():
        print(_step("write", str(Path(data) / "xlmr_tokenizer" / "tokenizer.json")))
    rows = []
    for dtype in ("bfloat16", "float32"):
        rows.append(json.loads(_step("measure", dtype)))
        print(json.dumps(rows[-1], indent=2))
    result = {**record.machine(), "runs": rows}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


def _step(*words: str) -> str:
    """Runs a step of this file in a process of its own and returns what it prints."""
    command = [sys.executable, "-m", "benchmarks.full_size", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
