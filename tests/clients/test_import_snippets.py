"""Every entry of well-known manuals becomes a server that loads, as it should, without its token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.importing import Machine
from harness.snippets import SNIPPETS, TOKENS


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_there_are_enough_of_them() -> None:
    assert len(SNIPPETS) >= 40


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_becomes_the_server_it_should(machine: Machine, name: str) -> None:
    entry, wanted = SNIPPETS[name]

    done = machine.imported({"mcpServers": {name: entry}})

    (server,) = machine.servers().values()
    assert {key: server.get(key) for key in wanted} == wanted, done.text
    assert not done.left


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippets_token_is_kept_and_stands_nowhere(machine: Machine, name: str) -> None:
    entry, _ = SNIPPETS[name]
    written = json.dumps(entry)

    machine.imported({"mcpServers": {name: entry}})

    planted = [token for token in TOKENS.values() if token in written]
    kept = "\n".join(machine.kept().values())
    assert [token for token in planted if token not in kept] == []
    assert [token for token in planted if token in machine.everything_readable()] == []


def test_all_snippets_together_load_as_one_file(machine: Machine) -> None:
    entries: dict[str, Any] = {name: entry for name, (entry, _) in SNIPPETS.items()}

    done = machine.imported({"mcpServers": entries})

    assert set(machine.servers()) == set(SNIPPETS)
    assert not done.left
    assert [token for token in TOKENS.values() if token in machine.everything_readable()] == []


def test_a_second_import_of_the_same_changes_nothing(machine: Machine) -> None:
    entries: dict[str, Any] = {name: entry for name, (entry, _) in SNIPPETS.items()}
    machine.imported({"mcpServers": entries})
    before = machine.file.read_bytes()

    again = machine.imported({"mcpServers": entries})

    assert machine.file.read_bytes() == before
    assert set(again.unchanged) == set(SNIPPETS)
    assert not again.is_written
