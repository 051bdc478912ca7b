"""What every test may rely on: with the marker `docker` an engine answers, with `real` the clients are there."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("loaded", deadline=None)  # what takes long on a loaded machine is not wrong
settings.load_profile("loaded")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell's background job the run ignores it, and so would every program that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

STRICT = os.environ.get("CI") == "true" or bool(os.environ.get("MCP_COMPOSE_TEST_STRICT"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that say of themselves that they may take long begin first, so that none of them is left at the end."""
    longest: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), marker.args[0] if marker and marker.args else 0)
        if marker is None and (item.get_closest_marker("docker") or item.get_closest_marker("real")):
            item.add_marker(pytest.mark.timeout(300))  # what they wait for shares the machine with what the others do
    items.sort(key=lambda item: -longest[item.path])


@functools.cache
def _engine_problem() -> str | None:
    from harness.containers import engine_problem

    return engine_problem()


@functools.cache
def _clients_problem() -> str | None:
    for variable in ("MCP_COMPOSE_TEST_NODE", "MCP_COMPOSE_TEST_INSPECTOR", "MCP_COMPOSE_TEST_CONFORMANCE"):
        if not Path(os.environ.get(variable, "/nowhere")).exists():
            return f"{variable} names no file; `eval $(scripts/clients)` brings it"
    return None


@pytest.fixture(autouse=True)
def _what_the_markers_need(request: pytest.FixtureRequest) -> None:
    """A missing engine or client fails where tests must be whole, and skips on a developer's machine."""
    needs = [("docker", _engine_problem), ("real", _clients_problem)]
    for marker, problem in needs:
        if request.node.get_closest_marker(marker) and (reason := problem()):
            (pytest.fail if STRICT else pytest.skip)(reason)


@pytest.fixture(autouse=True)
def _our_log_is_as_before() -> Iterator[None]:
    """A test that sets up the log as the program does leaves nothing of that to the next one."""
    logger = logging.getLogger("mcpcompose")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    for handler in [one for one in logger.handlers if one not in handlers]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture
def scale() -> int:
    """1 here, 10 in `scripts/soak`: the long rows run whole there."""
    return int(os.environ.get("MCP_COMPOSE_TEST_SCALE", "1"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """This repository's folder."""
    return Path(__file__).parent.parent
