"""Large matrices in files: converted in pieces, and read by their rows."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rag.embedders.arrangement import Arranged
from rag.embedders.conversion import Conversion
from rag.embedders.rows_on_disk import RowsOnDisk, rows_on_disk
from rag.embedders.weights import open_weights
from rag.errors import CheckpointError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix of 256 MiB, mostly a hole, in a file of its own: more than is read at once, or stays mapped."""
    path = tmp_path_factory.mktemp("tall") / "tall.safetensors"
    rows, columns = 1 << 20, 64
    size = rows * columns * 4
    header = json.dumps({"tall": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + size)
        for row in range(0, rows, rows // 1024):
            stream.seek(8 + len(header) + row * columns * 4)
            stream.write(np.full(columns, row / 7, dtype=np.float32).tobytes())
    return path


def test_a_matrix_that_is_converted_in_pieces_is_whole(tall):
    expected = open_weights(tall)("tall", (1 << 20, 64)).to(torch.bfloat16)
    found = Conversion(tall, torch.bfloat16).tensor(Arranged((1 << 20, 64), ("tall",)), CPU)
    assert len(list(Conversion(tall, torch.bfloat16).pieces(Arranged((1 << 20, 64), ("tall",))))) > 1
    assert torch.equal(found, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much of a file is resident")
def test_converting_holds_a_part_of_the_file_in_memory(tall):
    before = resident_file_bytes(tall)
    most = 0
    for piece in Conversion(tall, torch.bfloat16).pieces(Arranged((1 << 20, 64), ("tall",))):
        assert piece.dtype == torch.bfloat16
        most = max(most, resident_file_bytes(tall))
    assert before == 0
    assert 0 < most <= 192 << 20


def resident_file_bytes(file: Path) -> int:
    """Of all mappings of a file in this process."""
    kilobytes, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(file))
        elif inside and line.startswith("Rss:"):
            kilobytes += int(line.split()[1])
    return kilobytes << 10


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system cannot read at a place of a file")
def test_rows_on_disk_are_those_of_the_matrix_in_the_order_asked_for(tall):
    matrix = open_weights(tall)("tall", (1 << 20, 64))
    rows = RowsOnDisk(tall, "tall", matrix)
    for wanted in ([0], [1023 * 1024, 5, 5, (1 << 20) - 1, 1024]):
        assert torch.equal(rows(np.array(wanted)), matrix[wanted])
    assert float(rows(np.array([2048]))[0, 0]) == pytest.approx(2048 / 7)


def test_a_file_that_was_removed_has_no_rows_to_read(tmp_path, tall):
    matrix = open_weights(tall)("tall", (1 << 20, 64))
    assert rows_on_disk(tmp_path / "removed.safetensors", "tall", matrix) is None


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system cannot read at a place of a file")
def test_rows_of_a_file_that_was_cut_off_are_refused_with_its_name(tmp_path, tall):
    cut = Path(shutil.copy(tall, tmp_path / "cut.safetensors"))
    rows = RowsOnDisk(cut, "tall", open_weights(tall)("tall", (1 << 20, 64)))
    os.truncate(cut, 1 << 20)
    with pytest.raises(CheckpointError, match=r"cut\.safetensors ends before row 1000000"):
        rows(np.array([1_000_000]))
