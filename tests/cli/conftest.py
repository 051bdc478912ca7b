"""The command line through its front door, for every test a machine of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.desk import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="mcd-", dir="/tmp", ignore_cleanup_errors=True) as base:
        made = Desk(Path(base))
        try:
            yield made
        finally:
            made.leave()
