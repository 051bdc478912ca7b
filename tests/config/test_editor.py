"""What an editor shows: the real YAML language server, spoken to as editors do, with the committed schema."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import case as cases
import test_schema as schemas

from harness.language_server import Editor, editor
from mcpcompose.config.schema import json_schema

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def maps(schema: dict[str, Any], text: str, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of the file as YAML up to where its keys go, with what may stand there."""
    yield text, {key: one for key, one in schema["properties"].items() if "errorMessage" not in one}
    indent = " " * len(text.rpartition("\n")[2])
    for key, inner in schema["properties"].items():
        for more, name in parts(inner):
            if name in seen or "errorMessage" in inner:
                continue
            below = f"{text}{key}:\n{indent}  {more.replace('~', indent)}"
            yield from maps(SCHEMA["$defs"][name], below, (*seen, name))


def parts(schema: dict[str, Any], more: str = "") -> Iterator[tuple[str, str]]:
    """The models below a key, each with what to write to get there."""
    if "$ref" in schema:
        yield more, schema["$ref"].rpartition("/")[2]
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from parts(one, more)
    if isinstance(inside := schema.get("additionalProperties"), dict):
        depth = "  " * (more.count("\n") + 2)
        yield from parts(inside, f"{more}a:\n~{depth}")
    if isinstance(inside := schema.get("items"), dict):
        yield from parts(inside, f"{more}- ")


SCHEMA = json_schema()
MAPS = dict(maps(SCHEMA, ""))


async def test_every_key_is_offered_where_it_may_stand_with_its_explanation() -> None:
    async with editor() as editing:
        offered = await all_of(editing.complete(f"{text}|") for text in MAPS)

    assert len(MAPS) > 25
    missing = {
        text: sorted(set(wanted) - {key for key, said in found.items() if said})
        for (text, wanted), found in zip(MAPS.items(), offered, strict=True)
    }
    assert {text: keys for text, keys in missing.items() if keys} == {}


async def test_every_key_of_a_server_explains_itself_under_the_pointer() -> None:
    values = {"build": ".", "package": "npm:a@1", "process": "[a]", "url": "https://a"}
    shown = SCHEMA["$defs"]["Server"]["properties"]
    keys = [key for key in shown if "errorMessage" not in shown[key]]
    async with editor() as editing:
        said = await all_of(editing.hover(f"servers:\n  a:\n    |{key}: {values.get(key, '')}\n") for key in keys)

    unsaid = [key for key, text in zip(keys, said, strict=True) if unmarked(shown[key]) not in unmarked(text)]
    assert unsaid == []


def unmarked(said: Any) -> str:
    """The first words of an explanation, of a schema or as shown."""
    if isinstance(said, dict):
        if said.get("anyOf") and any("$ref" in one for one in said["anyOf"]):
            return ""  # what it refers to explains itself instead
        return str(said["description"])[:40].replace("`", "")
    return str(said).replace("`", "").replace("\\", "")


async def test_words_are_offered_with_their_meaning() -> None:
    async with editor() as editing:
        networks = await editing.complete("servers:\n  a:\n    image: x\n    network: |")
        engines = await editing.complete("engine: |")

    assert {"none", "isolated", "open", "host"} <= set(networks)
    assert networks["isolated"] == "A network of its own without a way out."
    assert "without isolation" in engines["process"]


async def test_a_key_that_does_not_fit_the_servers_kind_or_is_refused_says_why() -> None:
    text = "servers:\n  a:\n    image: x\n    args: [a]\n    ports: ['80:80']\n  b:\n    image: x\n    url: https://x\n"
    async with editor() as editing:
        _, problems = await editing.open(text)

    assert "4: `args` does not fit an `image`; the container's arguments are `command`" in problems
    assert any(
        one.startswith("5: `ports` is not a key here: servers are reached through the gateway") for one in problems
    )
    assert "7: a server is only one of these; this one is a `url`" in problems
    assert len(problems) == 4


async def test_what_the_loader_takes_is_right_in_an_editor_too() -> None:
    examples = schemas.EXAMPLES
    files = []
    for name in cases.names():
        case = cases.read(name)
        if case.expected.startswith("ok"):
            files += [text for file, text in case.files.items() if file.endswith((".yaml", ".yml"))]
    files = [text for text in files if "!reset" not in text]  # to an editor what is dropped is a text like others
    async with editor() as editing:
        found = await all_of(editing.open(text) for text in files)
        ours = await all_of(editing.open(file.read_text(), file.as_uri()) for file in examples)

    assert len(files) > 20
    assert {text: problems for text, (_, problems) in zip(files, found, strict=True) if problems} == {}
    assert {file: problems for file, (_, problems) in zip(examples, ours, strict=True) if problems} == {}


async def test_broken_files_are_marked_where_a_schema_can_tell() -> None:
    names = [name for name in schemas.READABLE if name not in schemas.BEYOND_A_SCHEMA]
    files = {
        name: text
        for name in names
        for tree, text in zip(schemas.trees(name), yaml_files(name), strict=True)
        if not schemas.VALIDATOR.is_valid(tree)
    }
    async with editor() as editing:
        found = await all_of(editing.open(text) for text in files.values())

    assert len(files) >= 60
    assert [name for name, (_, problems) in zip(files, found, strict=True) if not problems] == []


def yaml_files(name: str) -> list[str]:
    return [text for file, text in cases.read(name).files.items() if file.endswith((".yaml", ".yml"))]


async def all_of(asked: Iterator[Any]) -> list[Any]:
    """A few at a time: the language server has one thread."""
    places = asyncio.Semaphore(8)

    async def one(question: Any) -> Any:
        async with places:
            return await question

    return list(await asyncio.gather(*map(one, asked)))


__all__ = ["Editor"]
