# Everything a fresh machine needs is Python 3.11 or newer and make: each target sets up .venv when it is missing.
#
#   make demo     ingest the bundled library, ask it questions in other languages than its documents'
#   make test     the tests, in two processes (TEST_PROCESSES=0 in one)
#   make test-quick    the same without what takes minutes: kills, long sequences, a training twice over
#   make check    format, lint, types, import contracts
#   make bench    the benchmarks: hours; BENCH_OPTIONS=--quick only tries them. RAG_DATA names the evaluation data
#   make peers    the libraries that the benchmarks compare with (in build/peers)
#   make servers  two real OpenAI-compatible servers for tests/test_real_servers.py (1.7 GB in build/servers)
#
# TORCH_OPTIONS goes to `pip install torch`; README.md says how it gets the CPU-only build.

PYTHON ?= python3
TORCH_OPTIONS ?=
TEST_PROCESSES ?= 2
BENCH_OPTIONS ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-quick check bench peers servers setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Setting up .venv (some minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_OPTIONS) -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python demo/run.py

test: $(READY)
	@$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile

test-quick: $(READY)
	@$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile -m "not slow"

# mypy knows folders, not installs: the link gives config/ the name it is installed under.
check: $(READY)
	@mkdir -p build/typing && ln -sfn ../../config build/typing/rag_config
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy rag ingest build/typing/rag_config tests demo benchmarks
	@$(BIN)/lint-imports

PEERS := build/peers/.ready
bench: $(READY) $(PEERS)
	@$(BIN)/python -m benchmarks.embedding_parity --checkpoint pocket-m3 $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.embedding_parity --checkpoint full $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.embedding_speed --checkpoint pocket-m3 $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.embedding_speed --checkpoint full $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.ingest_peers --checkpoint pocket-m3 $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.ingest_peers --checkpoint full $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.question_latency --checkpoint pocket-m3 $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.question_latency --checkpoint full $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.growth $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.full_size
	@$(BIN)/python -m benchmarks.ingest_overlap $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.ingest_memory $(BENCH_OPTIONS)
	@$(BIN)/python -m benchmarks.kills

peers: $(PEERS)

# An environment of its own: langchain-huggingface wants huggingface_hub below 2.
$(PEERS): benchmarks/peers.txt
	@test -x build/peers/bin/python || $(PYTHON) -m venv build/peers
	@build/peers/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_OPTIONS) -c constraints.txt torch
	@build/peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

SERVERS := build/servers/.ready
servers: $(SERVERS)

# An environment of its own: LiteLLM holds its dependencies to other versions than ours.
$(SERVERS): Makefile
	@test -x build/servers/bin/python || $(PYTHON) -m venv build/servers
	@build/servers/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_OPTIONS) -c constraints.txt torch
	@build/servers/bin/python -m pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.106.2' 'transformers[serving]==5.23.0'
	@touch $@

clean:
	rm -rf .venv build .demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
