"""The official suite against the server itself and through the gateway: nothing that succeeds directly is lost."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from conformance import as_client, ledger, stage, suite
from harness.workspace import Workspace

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
WHOLE = {"2025-11-25": 84, "2026-07-28": 152}


@functools.cache
def direct(wire: str) -> suite.Checks:
    """What succeeds without a gateway; once per process."""
    with stage.http_server() as url:
        return suite.against_server(url, wire)


@pytest.mark.parametrize("wire", suite.WIRES)
def test_the_server_by_itself_passes_all_of_the_suite(wire: str) -> None:
    checks = direct(wire)

    assert {str(key): check.message for key, check in checks.items() if not check.passed} == {}
    assert len(checks) == WHOLE[wire]


@pytest.fixture(scope="module")
def over_http() -> Iterator[Workspace]:
    with stage.http_server() as url, stage.gateway("http", url=url) as workspace:
        yield workspace


@pytest.fixture(scope="module", params=suite.WIRES)
def over_stdio(request: pytest.FixtureRequest) -> Iterator[tuple[Workspace, str]]:
    """The gateway, and the wire on which nothing comes between a client and the server."""
    with stage.gateway("stdio", stage.era_on_stdio(request.param)) as workspace:
        yield workspace, request.param


def held(upstream: str, workspace: Workspace, endpoint: str, wire: str) -> ledger.Entry:
    """The gateway's run, held against the direct one."""
    through = suite.against_server(workspace.endpoint(stage.ENDPOINTS[endpoint]), wire)
    return ledger.compare(f"{upstream} {endpoint}", wire, upstream, direct(wire), through)


@pytest.mark.parametrize("wire", suite.WIRES)
@pytest.mark.parametrize("endpoint", stage.ENDPOINTS)
def test_nothing_is_lost_in_front_of_a_server_on_http(over_http: Workspace, endpoint: str, wire: str) -> None:
    entry = held("http", over_http, endpoint, wire)

    assert entry.whole, ledger.table([entry])


@pytest.mark.docker
@pytest.mark.parametrize("endpoint", stage.ENDPOINTS)
def test_nothing_is_lost_in_front_of_a_server_on_stdio_in_a_container(
    over_stdio: tuple[Workspace, str], endpoint: str
) -> None:
    workspace, wire = over_stdio
    entry = held("stdio", workspace, endpoint, wire)

    assert entry.whole, ledger.table([entry])


@pytest.mark.parametrize(
    ("scenario", "era"), [(name, era) for name, eras in as_client.SCENARIOS.items() for era in eras]
)
def test_the_gateway_is_as_good_a_client_as_the_sdk(scenario: str, era: str) -> None:
    wire = as_client.WIRES[era]

    by_sdk = suite.against_client(scenario, wire, CONFORMANCE_DIRECT="1")
    entry = ledger.compare(f"client {scenario}", wire, "client", by_sdk, suite.against_client(scenario, wire))

    assert entry.direct
    assert entry.whole, ledger.table([entry])
