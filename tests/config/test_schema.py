"""The committed JSON Schema is the models', and explains every key."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import case as cases

from mcpcompose.config.document import parse
from mcpcompose.config.reference import reference
from mcpcompose.config.schema import json_schema

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference.md"
COMMITTED = Path(__file__).parent.parent.parent / "schemas" / "mcp-compose.schema.json"
EXAMPLES = sorted((COMMITTED.parent.parent / "examples").rglob("mcp-compose.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

BEYOND_A_SCHEMA = {
    # What depends on the command line, the environment or other files.
    "bad-engine-option", "bad-engine-variable", "bad-healthcheck-on-process-engine", "bad-profile-option",
    "bad-project-name-option", "empty-after-interpolation", "env-file-broken", "env-file-missing",
    "env-file-option-missing", "file-does-not-exist", "include-conflict", "include-for-two-folders",
    "include-interceptors-cannot-be-removed", "include-interceptors-tagged-inside", "include-itself", "include-loop",
    "include-other-value", "include-settings-conflict", "process-engine-with-containers", "required-variable",
    "values-are-not-shown", "wrong-after-interpolation",
    # What one part of a file says of another.
    "client-with-undeclared-default", "dependency-cycle", "duplicate-mounts", "extends-cycle", "undeclared-secrets",
    "unknown-profile-without-profiles", "unknown-servers",
    "interceptor-names-nobody-has",
    # What a part of a file that is merged or extended need not have.
    "command-without-image", "empty-server", "no-source",
    # The inside of texts, and what depends on the kind of server.
    "nested-references-too-deep", "relative-paths-inside", "secret-in-the-wrong-place",
    "template-broken-in-unused-default", "words-split-a-reference", "not-yet-jwt",
    "interceptor-expressions",
}  # fmt: skip
"""The broken files that only the loader can refuse, and why."""


def properties(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for key, inner in schema.get("properties", {}).items():
            yield f"{where}.{key}", inner
        for key, inner in schema.items():
            if key != "allOf":  # rules about keys that are described where they are declared
                yield from properties(inner, f"{where}.{key}")
    elif isinstance(schema, list):
        for inner in schema:
            yield from properties(inner, where)


def test_the_committed_schema_equals_the_models() -> None:
    assert json.loads(COMMITTED.read_text()) == json_schema(), "run `scripts/schema`"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_key_has_a_description() -> None:
    missing = [where for where, inner in properties(json_schema()) if not inner.get("description")]

    assert missing == []


@pytest.mark.parametrize(
    "file",
    [
        {"servers": {"a": {"imge": "x"}}},
        {"serves": {}},
        {"servers": {"Upper": {"image": "x"}}},
        {"servers": {"a": {"restart": "sometimes"}}},
        {"servers": {"a": {"cpus": "lots"}}},
        {"servers": {"a": {"read_only": "yes"}}},
        {"servers": {"a": {"mem_limit": "5 potatoes"}}},
        {"servers": {"a": {"secrets": [{"sorce": "x"}]}}},
        {"servers": {"a": {"environment": {"A": {"b": "c"}}}}},
        {"secrets": {"a": {"fil": "x"}}},
        {"gateway": {"port": 99999}},
    ],
)
def test_the_schema_refuses_plain_mistakes(file: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(file)


def trees(name: str) -> list[object]:
    """The files of a case as plain data; none where one of them is no YAML."""
    found = []
    for file, text in cases.read(name).files.items():
        if file.endswith((".yaml", ".yml")):
            tree, problems = parse(Path(file), text.encode())
            if tree is None or problems:
                return []
            found.append(cases.plain(tree))
    return found


READABLE = [name for name in cases.bad() if trees(name)]


@pytest.mark.parametrize("name", READABLE)
def test_the_schema_refuses_every_broken_file_that_a_schema_can_refuse(name: str) -> None:
    is_refused = not all(VALIDATOR.is_valid(tree) for tree in trees(name))

    assert is_refused is (name not in BEYOND_A_SCHEMA)


def test_a_schema_can_refuse_most_of_the_broken_files() -> None:
    assert set(READABLE) >= BEYOND_A_SCHEMA
    assert len(set(READABLE) - BEYOND_A_SCHEMA) >= 60


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(COMMITTED.parent.parent)))
def test_every_example_is_valid(file: Path) -> None:
    tree, _ = parse(file, file.read_bytes())

    assert tree is not None
    assert list(VALIDATOR.iter_errors(cases.plain(tree))) == []


def test_every_part_of_the_schema_has_a_name_and_says_in_markdown_what_it_is() -> None:
    schema = json_schema()
    described = [*schema["$defs"].values(), *(inner for _, inner in properties(schema))]

    assert all(one["title"] for one in schema["$defs"].values())
    refused = [one for one in described if "errorMessage" in one]
    assert [one for one in described if one not in refused and "markdownDescription" not in one] == []


def test_defaults_are_written_as_people_write_them() -> None:
    server = json_schema()["$defs"]["Server"]["properties"]

    assert server["mem_limit"]["default"] == "1GiB"
    assert server["stop_grace_period"]["default"] == "10s"
    assert server["read_only"]["default"] is True
    assert server["cpus"]["default"] == 1


def test_every_word_of_a_choice_is_explained() -> None:
    def choices(schema: Any) -> Iterator[dict[str, Any]]:
        if isinstance(schema, dict):
            yield from [schema] if "enum" in schema else []
            for inner in schema.values():
                yield from choices(inner)
        elif isinstance(schema, list):
            for inner in schema:
                yield from choices(inner)

    unexplained = [one for one in choices(json_schema()) if len(one["enum"]) != len(one.get("enumDescriptions", ()))]

    assert unexplained == []


def test_the_reference_page_is_the_one_made_from_the_models() -> None:
    assert PAGE.read_text() == reference(), "run scripts/schema"
