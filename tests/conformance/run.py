"""Hold the gateway against the official suite: what succeeds directly must succeed through it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from conformance import as_client, ledger, stage, suite

UPSTREAMS = ("http", "stdio", "process")


def entries(
    upstreams: Sequence[str], wires: Sequence[str], endpoints: Sequence[str], scenarios: Sequence[str] = ()
) -> Iterator[ledger.Entry]:
    """Give one entry per upstream, endpoint and wire; `stdio:auto` leaves the era of the upstream side open."""
    with stage.http_server() as direct_url:
        direct = {wire: suite.against_server(direct_url, wire, scenarios) for wire in wires}
    for named in upstreams:
        upstream, _, era = named.partition(":")
        for endpoint in endpoints:
            for wire in wires:
                with ExitStack() as stack:
                    url = stack.enter_context(stage.http_server()) if upstream == "http" else ""
                    spoken = era or ("auto" if upstream == "http" else stage.era_on_stdio(wire))
                    workspace = stack.enter_context(stage.gateway(upstream, spoken, url=url))
                    through = suite.against_server(workspace.endpoint(stage.ENDPOINTS[endpoint]), wire, scenarios)
                kind = "stdio" if upstream == "process" else upstream
                yield ledger.compare(f"{named} {endpoint}", wire, kind, direct[wire], through)


def client_entries(wanted: Sequence[str] = ()) -> Iterator[ledger.Entry]:
    """Give one entry per client scenario and wire: what we are towards a server."""
    for scenario, modes in as_client.SCENARIOS.items():
        for mode in modes if not wanted or scenario in wanted else ():
            wire = as_client.WIRES[mode]
            direct = suite.against_client(scenario, wire, CONFORMANCE_DIRECT="1")
            through = suite.against_client(scenario, wire)
            yield ledger.compare(f"client {scenario}", wire, "client", direct, through)


def main() -> int:
    """Print the table; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument(
        "--upstream", action="append", help=f"one of {UPSTREAMS}, with `:modern`, `:legacy` or `:auto` if need be"
    )
    parser.add_argument("--wire", action="append", choices=suite.WIRES)
    parser.add_argument("--endpoint", action="append", choices=tuple(stage.ENDPOINTS))
    parser.add_argument("--scenario", action="append", default=[], help="only this scenario")
    parser.add_argument("--client", action="store_true", help="the client scenarios instead")
    chosen = parser.parse_args()
    upstreams, wires = chosen.upstream or ("http", "stdio"), chosen.wire or suite.WIRES
    endpoints = chosen.endpoint or tuple(stage.ENDPOINTS)
    runs = entries(upstreams, wires, endpoints, chosen.scenario)
    done = []
    for entry in client_entries(chosen.scenario) if chosen.client else runs:
        print(f"{entry.title} {entry.wire}: {entry.preserved} of {entry.direct}", file=sys.stderr, flush=True)
        done.append(entry)
    print(ledger.table(done))
    return 0 if all(entry.whole for entry in done) else 1


if __name__ == "__main__":
    sys.exit(main())
