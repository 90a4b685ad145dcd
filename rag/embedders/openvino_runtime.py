"""OpenVINO without its telemetry: everything else takes it from here.

Merely importing the package would write an id into the user's home folder, start a process, and send that id to Google
Analytics, unasked. Where `openvino_telemetry` cannot be imported OpenVINO goes without, and so it is made to.

Importing this module loads OpenVINO; ImportError where it is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["openvino", "operations"]


@contextmanager
def _absent(package: str) -> Iterator[None]:
    """Meanwhile `package` cannot be imported."""
    loaded = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # how Python is told so
    try:
        yield
    finally:
        del sys.modules[package]
        if loaded is not None:
            sys.modules[package] = loaded


with _absent("openvino_telemetry"):
    import openvino
    from openvino import opset13 as operations
