"""The data says what the program needs, for every client, and its compiled form and the docs are up to date."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.clients.registry import SYSTEMS, applications, find, named
from mcpcompose.errors import UsageError

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "client-data"))
TOKENS = {"@name", "@command", "@args", "@argv", "@env", "@url", "@headers", "@bearer", "@token", "@variable"}
KEYS = {
    "name", "kind", "status", "aliases", "docs", "detect", "format", "comments", "trailing_commas", "key", "list_of",
    "scopes", "stdio", "http", "http_by_variable", "keep_empty", "reference", "variant", "prefer", "host", "variable",
    "bare_command", "reserved", "paste", "steps", "code", "lock", "reload", "note", "ran", "asked", "sure",
}  # fmt: skip
SCOPE_KEYS = {"paths", "moved_by", "create", "root", "key", "write", "old", "next"}
DATA: dict[str, dict[str, Any]] = json.loads((ROOT / "mcpcompose" / "clients" / "data" / "clients.json").read_text())


def test_there_are_71_clients_in_the_data() -> None:
    assert len(applications()) == 71


def test_the_compiled_data_is_what_the_yaml_says() -> None:
    compiled = (ROOT / "mcpcompose" / "clients" / "data" / "clients.json").read_text()

    assert compiled == SCRIPT["compiled"](), "run scripts/client-data"


def test_the_table_in_the_docs_is_what_the_data_says() -> None:
    assert (ROOT / "docs" / "clients.md").read_text() == SCRIPT["page"](), "run scripts/client-data"


@pytest.mark.parametrize("name", DATA)
def test_an_entry_of_the_data_has_only_keys_and_tokens_that_mean_something(name: str) -> None:
    data = DATA[name]
    scalars = set(
        re.findall(r'"(@[a-z_]+)"', json.dumps({k: data.get(k) for k in ("stdio", "http", "http_by_variable")}))
    )

    assert data.keys() <= KEYS
    assert all(scope.keys() <= SCOPE_KEYS for scope in data.get("scopes", {}).values())
    assert scalars <= TOKENS
    assert data["sure"] in {"high", "medium", "low"}
    assert data.get("reload", "watch") in {"watch", "refresh", "session", "restart"}
    assert "code" in data or "stdio" in data or "http" in data


@pytest.mark.parametrize("name", DATA)
def test_every_client_has_a_file_or_steps_that_say_where_to_paste(name: str) -> None:
    application = applications()[name]

    if application.writable:
        for scope in application.scopes.values():
            assert any(scope.paths.get(system) for system in SYSTEMS)
            assert scope.key or application.code
    else:
        assert application.steps


def test_no_name_means_two_clients() -> None:
    names = [name for one in applications().values() for name in (one.id, *one.aliases)]

    assert len(names) == len(set(names))


def test_a_client_is_found_by_its_other_names_and_a_typo_is_answered_with_what_was_meant() -> None:
    assert find("claude") is applications()["claude-code"]
    assert named("Copilot") is applications()["github-copilot-cli"]
    with pytest.raises(UsageError, match="did you mean `cursor`"):
        named("curser")


def test_the_file_of_the_data_names_nothing_of_this_machine() -> None:
    text = (ROOT / "mcpcompose" / "clients" / "data" / "clients.yaml").read_text()

    assert not re.search(r"/root/|/tmp/|/work/|\.\./", text)


def test_what_the_docs_call_asked_is_what_a_test_asks_in_the_version_that_is_installed() -> None:
    from clients.test_real_programs import ASKED

    asked = {name: data["asked"] for name, data in DATA.items() if "asked" in data}
    installed = (ROOT / "scripts" / "clients").read_text()

    assert asked.keys() == ASKED.keys()
    assert [name for name, version in asked.items() if f'": "{version}' not in installed] == []
