"""How runs are held against each other: only what succeeded directly counts, and a lost check is never silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance import ledger, suite
from conformance.suite import Check, Key

PASSED, FAILED = Check("SUCCESS", "", None), Check("FAILURE", "no answer", {"code": -32603})
ONE, TWO = Key("ping", "ping", 0), Key("ping", "ping", 1)
STREAMS = Key("server-sse-polling", "server-sse-disconnect-resume", 0)


def test_a_check_is_preserved_when_it_succeeds_directly_and_through() -> None:
    entry = ledger.compare("http server", "2025-11-25", "http", {ONE: PASSED, TWO: FAILED}, {ONE: PASSED})

    assert entry.whole
    assert (entry.preserved, entry.direct) == (1, 1)


@pytest.mark.parametrize("through", [{}, {ONE: FAILED}])
def test_a_check_that_fails_or_never_comes_is_lost_and_named(through: suite.Checks) -> None:
    entry = ledger.compare("http server", "2025-11-25", "http", {ONE: PASSED}, through)

    assert not entry.whole
    assert "lost: ping  ping" in ledger.table([entry])
    assert ("no answer" in ledger.table([entry])) == bool(through)


@pytest.mark.parametrize(("upstream", "whole"), [("stdio", True), ("http", False)])
def test_only_what_cannot_apply_to_this_upstream_is_excused_with_its_reason(upstream: str, whole: bool) -> None:
    entry = ledger.compare("x", "2025-11-25", upstream, {STREAMS: PASSED}, {})

    assert entry.whole is whole
    assert ("nothing to resume" in ledger.table([entry])) is whole


def test_results_are_read_with_each_repetition_of_an_id_apart(tmp_path: Path) -> None:
    folder = tmp_path / "server-tools-list-2026-11-22T16-03-20-384Z"
    folder.mkdir()
    rows = [{"id": "a", "status": "SUCCESS"}, {"id": "a", "status": "FAILURE"}, {"id": "b", "status": "INFO"}]
    (folder / "checks.json").write_text(json.dumps(rows))

    checks = suite.read(tmp_path)

    assert {key: check.status for key, check in checks.items()} == {
        Key("tools-list", "a", 0): "SUCCESS",
        Key("tools-list", "a", 1): "FAILURE",
    }
