"""Files of client applications as people have them: every way to write them that the format allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from mcpcompose.clients.registry import Application

_OTHER: dict[str, Any] = {
    "command": "x",
    "args": ["é", "}", '"shop": {', "// no comment"],
    "unknown": {"deep": [1, {"er": None, "yes": True, "n": 1.50}]},
}


def documents(application: Application, path: tuple[str, ...]) -> Iterator[tuple[str, bytes | None]]:
    """Good files by what is special about them; None is no file at all. Our entry goes below *path*."""
    yield "no file", None
    yield "blank", b""
    yield "white", b"\n\n"
    makers = {"json": _json, "jsonc": _json, "toml": _toml, "yaml": _yaml}
    for what, text in makers[application.format](application, path):
        yield what, text.encode()
        yield f"{what}, CRLF", text.replace("\n", "\r\n").encode()
        yield f"{what}, BOM", b"\xef\xbb\xbf" + text.encode()
        yield f"{what}, no end of line", text.rstrip("\n").encode()


def broken(application: Application, path: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Files that must not be touched."""
    name = path[0]
    yield "UTF-16", "{}".encode("utf-16")
    yield "not UTF-8", b'{"a": "\xff\xfe\xfa"}' if application.format.startswith("json") else b'a: "\xff\xfe\xfa"'
    match application.format:
        case "json" | "jsonc":
            yield "cut off", b'{"theme": "dark", "deep": {"a": 1'
            yield "a list", b"[]"
            yield "a key twice", b'{"a": 1, "a": 2}'
            yield "a container that is a text", json.dumps({name: "text"}).encode()
            yield "a container that is a number", json.dumps({name: 7}).encode()
            yield "two documents", b"{}{}"
            yield "words behind", b"{} and more"
            if application.is_strict:
                yield "a comment", b'{\n  // mine\n  "a": 1\n}'
                yield "a trailing comma", b'{"a": 1,}'
        case "toml":
            yield "cut off", b"[deep\na = 1"
            yield "a key twice", b"a = 1\na = 2\n"
            yield "a container that is a text", f'{name} = "text"\n'.encode()
        case "yaml":
            yield "cut off", b'a: {b: "c'
            yield "a list", b"- a\n- b\n"
            yield "a key twice", b"a: 1\na: 2\n"
            yield "tabs", b"a:\n\tb: 1\n"
            yield "two documents", b"a: 1\n---\nb: 2\n"
            yield "a container that is a text", f"{name}: text\n".encode()


def _json(application: Application, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    other: Any = {"other": _OTHER} if application.list_of is None else [{application.list_of: "other", **_OTHER}]
    full = {"before": {"deep": {"er": [1, {"a": None}]}, "é": "\u2028"}, **_nested(path, other), "after": '"shop": {'}
    without = {"before": [[], {}], "after": ""}
    yield "nothing in it", "{}\n"
    yield "two spaces", json.dumps(full, indent=2, ensure_ascii=False) + "\n"
    yield "tabs", json.dumps(full, indent="\t", ensure_ascii=True) + "\n"
    yield "eight spaces", json.dumps(full, indent=8) + "\n"
    yield "one line", json.dumps(full) + "\n"
    yield "no blanks", json.dumps(full, separators=(",", ":")) + "\n"
    yield "no container", json.dumps(without, indent=2) + "\n"
    yield "an empty container", json.dumps({**without, **_nested(path, type(other)())}, indent=2) + "\n"
    yield "no value for the container", json.dumps({**without, **_nested(path, None)}, indent=4) + "\n"
    yield "the container last", json.dumps({**without, **_nested(path, other)}, indent=2) + "\n"
    if application.is_strict:
        return
    text = json.dumps(full, indent=2, ensure_ascii=False) + "\n"
    yield "comments", _with_comments(text)
    yield "only comments", '// nothing yet: { "shop": 1 }\n/* and\n   more */\n{\n  // "mcpServers": {}\n}\n'
    if application.trailing_commas:
        yield "trailing commas", re.sub(r"([^\s{\[,])\n(\s*[}\]])", r"\1,\n\2", text)
        yield "comments and trailing commas", _with_comments(re.sub(r"([^\s{\[,])\n(\s*[}\]])", r"\1,\n\2", text))


def _with_comments(text: str) -> str:
    """Comments at every place where a line begins or ends."""
    lines = [
        f'{line}  // "shop": {{ }} */' if line.rstrip().endswith(("{", ",")) else line for line in text.split("\n")
    ]
    return '/* a head:\n   "{" */\n' + "\n".join(
        f'{re.match(" *", line)[0]}/* }} " */\n{line}' if line.strip().startswith(('"other"', "}")) else line
        for line in lines
    )


def _toml(application: Application, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    key = path[0]
    head = '# mine\nmodel = "x" # why\n\n[deep.er]\n"a b" = [1, 2, # two\n]\n'
    tail = '\n# the end\n[after]\ntext = """\n[mcp_servers.shop]\n"""\n'
    table = f"[[{key}]] # one\nname = 'other'\n" if application.list_of else f"[{key}.other] # one\n"
    table += "command = 'x'\nargs = [\n  \"a\", # first\n]\n"
    yield "comments", f"{head}\n{table}{tail}"
    yield "the container last", f"{head}\n{table}"
    yield "no container", head + tail
    yield "only comments", "# nothing\n# [mcp_servers.shop]\n"
    yield "no blank lines", f'model = "x"\n{table}'
    if application.list_of:
        yield "an empty list", f'model = "x"\n{key} = [] # none\n\n[after]\na = 1\n'


def _yaml(application: Application, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    key = path[0]
    head = "# mine\nbefore: {deep: [1, {er: null}]}   # flow\n\"quoted\": 'it''s'\n"
    tail = "\n# the end\nafter: |\n  mcpServers:\n    shop: no\nlast: >-\n  folded\n  text\n"
    if application.list_of:
        other = f"{key}:\n  # inside\n  - name: other # why\n    command: x\n    args: [a, 'b']\n"
        flat = f"{key}:\n- name: other\n  command: x\n"
        empty = f"{key}: []\n"
    else:
        other = f"{key}:\n  # inside\n  other: # why\n    cmd: x\n    args: [a, 'b']\n    unknown: {{a: {{b: c}}}}\n"
        flat = f"{key}:\n    other:\n        cmd: x\n"
        empty = f"{key}: {{}}\n"
    yield "comments", head + other + tail
    yield "the container last", head + other
    yield "other indents", flat + tail
    yield "no container", head + tail
    yield "an empty container", head + empty
    yield "no value for the container", f"{head}{key}:\n"
    yield "only comments", "# nothing\n# shop:\n"


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for step in reversed(path):
        value = {step: value}
    return value
