from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    folder = tmp_path / "work"
    folder.mkdir()
    made = Stage(folder)
    yield made
    for instance in list(made.world.instances.values()):
        await made.world.end(instance)
