"""Configuration files of every format as people and programs write them: any layout, comments, odd but legal text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

KEY = "mcpServers"
NAMES = ("a", "b c", "x.y", "mcpServers", "mcp-compose2", 'q"uote', "naïve", "🙂", "servers", "-", "null", "1", "#no")
TEXTS = (
    "",
    "x",
    "http://h:1/p?q=#f",
    "# no comment",
    "// no comment",
    "/* } */",
    'say "hi"',
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "😀",
    "{",
    "]",
    "a: b",
    "- a",
    "~",
    "true",
    "1e3",
    "mcp-compose",
    "ends with \\",
    "'single'",
    "&x *y",
)

scalars = st.sampled_from(TEXTS) | st.integers(-(10**9), 10**9) | st.booleans() | st.sampled_from((0.5, -1.25, 1e20))
texts = st.sampled_from(TEXTS)
names = st.sampled_from(NAMES)


def values(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
    )


entries = st.fixed_dictionaries(
    {"type": st.sampled_from(("http", "stdio", "streamable-http"))},
    optional={
        "url": texts,
        "headers": st.dictionaries(st.sampled_from(("Authorization", "X-A b")), texts, max_size=2),
        "command": texts,
        "args": st.lists(texts, max_size=3),
        "enabled": st.booleans(),
        "timeout": st.integers(0, 10**6),
        "deep": st.dictionaries(names, st.dictionaries(names, texts, max_size=2), max_size=2),
    },
)


@dataclass(frozen=True)
class Document:
    text: str
    value: Any


# ---------------------------------------------------------------- JSON


@st.composite
def json_documents(draw: st.DrawFn, *, comments: bool) -> Document:
    """A document whose `mcpServers` is missing, null, empty or has members that are not ours."""
    eol = draw(st.sampled_from(("\n", "\r\n")))
    writer = _Json(draw, comments=comments)
    value = draw(st.dictionaries(names, values(scalars | st.none()), max_size=3))
    value.pop(KEY, None)
    there = draw(st.sampled_from(("no", "null", "empty", "some", "blank")))
    if there == "blank" and comments:
        blank = "".join(draw(st.lists(st.sampled_from(("\n", " ", "// only\n", "/* c */", "\t")), max_size=3)))
        return Document(blank.replace("\n", eol), {})
    members = list(value.items())
    if there == "null":
        members.insert(draw(st.integers(0, len(members))), (KEY, None))
    elif there in {"empty", "some"}:
        servers = draw(
            st.dictionaries(names, values(scalars), min_size=there == "some", max_size=3 * (there == "some"))
        )
        members.insert(draw(st.integers(0, len(members))), (KEY, servers))
    text = writer.space() + writer.value(dict(members), 0) + writer.space()
    return Document(text.replace("\n", eol), dict(members))


class _Json:
    def __init__(self, draw: st.DrawFn, *, comments: bool) -> None:
        self.draw = draw
        self.comments = comments
        self.style = draw(st.sampled_from(("wild", "pretty", "pretty", "compact")))
        self.unit = draw(st.sampled_from(("  ", "    ", "\t", " ")))

    def space(self) -> str:
        if self.style == "compact":
            return ""
        choices = ["", "", " ", "\n", "\t", "  ", "\n\n   "] if self.style == "wild" else [""]
        if self.comments:
            choices += ['/* } " { */', ' // c ] " ,\n', "/**/ ", " // \n // two\n", "/* a\n b */"]
        return self.draw(st.sampled_from(choices))

    def value(self, value: Any, depth: int) -> str:
        if isinstance(value, dict):
            pairs = [
                f"{self.key(k)}{self.space()}:{self.after_colon()}{self.value(v, depth + 1)}" for k, v in value.items()
            ]
            return self.wrapped("{", pairs, "}", depth)
        if isinstance(value, list):
            return self.wrapped("[", [self.value(item, depth + 1) for item in value], "]", depth)
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=self.draw(st.booleans()))
        return json.dumps(value)

    def key(self, key: str) -> str:
        if key == KEY and self.draw(st.booleans()):
            return '"mcp\\u0053ervers"'
        return json.dumps(key, ensure_ascii=self.draw(st.booleans()))

    def after_colon(self) -> str:
        return " " if self.style == "pretty" else self.space()

    def wrapped(self, opening: str, parts: list[str], closing: str, depth: int) -> str:
        if self.style == "pretty":
            lead, end = "\n" + self.unit * (depth + 1), "\n" + self.unit * depth
        else:
            lead = end = ""
        if not parts:
            return opening + self.space() + closing
        last = self.space()
        if self.comments and self.draw(st.booleans()):
            last += "," + self.space()
        inner = ",".join(f"{self.space()}{lead}{self.space()}{part}{self.space()}" for part in parts)
        return f"{opening}{inner}{last}{end}{closing}"


# ---------------------------------------------------------------- TOML


@st.composite
def toml_documents(draw: st.DrawFn, *, array: bool) -> Document:
    """A document whose `mcpServers` is missing, empty or has members that are not ours, in any of TOML's ways."""
    eol = draw(st.sampled_from(("\n", "\r\n")))
    comment = st.sampled_from(("", "", "\n", "# c [x]\n", "\n# own\n\n", "  # in\n"))
    inline = values(scalars)
    lines: list[str] = [draw(comment)]
    pairs = st.dictionaries(names, inline, max_size=3)
    root = draw(pairs)
    root.pop(KEY, None)
    lines += [_pair(draw, key, value) + draw(comment) for key, value in root.items()]
    ours = draw(
        st.sampled_from(("no", "inline", "tables", "dotted", "header") if not array else ("no", "inline", "tables"))
    )
    entry = draw(pairs)
    if ours == "inline":
        held = [{"name": "other", **entry}] if array else {"other": entry}
        held = held if draw(st.booleans()) else type(held)()
        lines.append(_pair(draw, KEY, held, lines_ok=False))
    if ours == "dotted":
        lines += [f"{KEY}.other.{_toml_key(draw, k)} = {_toml(draw, v)}\n" for k, v in entry.items()]
    sections = [f"[z{number}]\n" + "".join(_pair(draw, k, v) for k, v in draw(pairs).items()) for number in range(2)]
    sections = sections[: draw(st.integers(0, 2))]
    if ours == "header":
        sections.insert(0, f"[{KEY}] # c\n" + "".join(_pair(draw, f"o{k}", v) for k, v in entry.items()))
    if ours == "tables":
        head = f"[[{KEY}]]\n" + 'name = "other"\n' * (1 - ("name" in entry)) if array else f"  [{KEY}.other]\n"
        below = f"[{KEY}.sub]\nx = 1\n" if array else f"[{KEY}.other.sub]\nx = 1 # c\n"
        block = head + "".join(_pair(draw, k, v) for k, v in entry.items()) + (below if draw(st.booleans()) else "")
        sections.insert(draw(st.integers(0, len(sections))), block)
    lines += [draw(comment) + section + draw(comment) for section in sections]
    text = "".join(lines)
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return Document(text.replace("\n", eol), None)


def _pair(draw: st.DrawFn, key: str, value: Any, *, lines_ok: bool = True) -> str:
    trail = draw(st.sampled_from(("", "", " # c = 1", "  ")))
    equals = draw(st.sampled_from((" = ", "=", "  =\t")))
    return f"{_toml_key(draw, key)}{equals}{_toml(draw, value, lines_ok=lines_ok)}{trail}\n"


def _toml_key(draw: st.DrawFn, key: str) -> str:
    bare = key.isascii() and key.replace("-", "").isalnum() and draw(st.booleans())
    return key if bare else json.dumps(key, ensure_ascii=False)


def _toml(draw: st.DrawFn, value: Any, *, lines_ok: bool = True) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml_key(draw, k)} = {_toml(draw, v, lines_ok=False)}" for k, v in value.items())
        return "{" + draw(st.sampled_from(("", " "))) + inner + draw(st.sampled_from(("", " "))) + "}"
    if isinstance(value, list):
        space = draw(st.sampled_from(("", " ", "\n  ", " # c ]\n"))) if lines_ok else ""
        items = [space + _toml(draw, item, lines_ok=lines_ok) for item in value]
        tail = draw(st.sampled_from(("", ","))) if items else ""
        return "[" + ",".join(items) + space + tail + space + "]"
    if isinstance(value, str):
        kinds = [json.dumps(value, ensure_ascii=False)]
        if "'" not in value and value.isprintable():
            kinds.append(f"'{value}'")
        if lines_ok and '"' not in value and "\\" not in value:
            kinds.append(f'"""{value}"""')
        return draw(st.sampled_from(kinds))
    return repr(value).lower()


# ---------------------------------------------------------------- YAML


@st.composite
def yaml_documents(draw: st.DrawFn, *, array: bool) -> Document:
    """A document whose `mcpServers` is missing, null, empty or has members that are not ours, block or flow style."""
    eol = draw(st.sampled_from(("\n", "\r\n")))
    writer = _Yaml(draw)
    value = draw(st.dictionaries(names, values(scalars | st.none()), max_size=3))
    value.pop(KEY, None)
    there = draw(st.sampled_from(("no", "null", "empty", "some", "some", "blank")))
    head = draw(st.sampled_from(("", "", "---\n", "# top\n", "--- # c\n# d\n\n")))
    if there == "blank":
        return Document(head.replace("\n", eol), {})
    members = list(value.items())
    at = draw(st.integers(0, len(members)))
    other: Any = draw(st.dictionaries(names, values(scalars), min_size=1, max_size=3))
    if array:
        other = [{"name": "other", **{k: v for k, v in item.items() if k != "name"}} for item in [other]]
    if there != "no":
        members.insert(at, (KEY, {"null": None, "empty": type(other)(), "some": other}[there]))
    if not members:
        return Document(f"{head}{{}}\n".replace("\n", eol), {})
    text = head + "".join(writer.block(dict(members), 0))
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return Document(text.replace("\n", eol), dict(members))


class _Yaml:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.step = draw(st.sampled_from((2, 4, 3)))
        self.offset = draw(st.sampled_from((0, 2)))

    def block(self, value: Any, column: int) -> list[str]:
        lines: list[str] = []
        for key, item in value.items():
            lines.append(self.between(column))
            lines += self.member(f"{' ' * column}{self.key(key)}:", item, column)
        return lines

    def member(self, head: str, item: Any, column: int) -> list[str]:
        trail = self.draw(st.sampled_from(("", "", " # c: d", "   ")))
        is_flow = self.draw(st.integers(0, 3)) == 0
        if isinstance(item, dict) and item and not is_flow:
            return [f"{head}{trail}\n", *self.block(item, column + self.step)]
        if isinstance(item, list) and item and not is_flow:
            return [f"{head}{trail}\n", *self.items(item, column + self.offset)]
        if isinstance(item, str) and "\n" in item and self.draw(st.booleans()):
            style = self.draw(st.sampled_from(("|", "|-", "|+", ">-")))
            return [f"{head} {style}\n", *(f"{' ' * (column + 2)}{line}\n" for line in item.split("\n"))]
        return [f"{head} {self.flow(item)}{trail}\n"]

    def items(self, items: list[Any], column: int) -> list[str]:
        lines: list[str] = []
        for item in items:
            lines.append(self.between(column))
            dash = " " * column + "-"
            if isinstance(item, dict) and item and self.draw(st.booleans()):
                inner = "".join(self.block(item, column + 2)).lstrip("\n")
                while inner.lstrip(" ").startswith("#") or inner.startswith("\n"):
                    inner = inner.split("\n", 1)[1]
                lines.append(f"{dash} {inner[column + 2 :]}")
            elif isinstance(item, dict) and item:
                lines += [f"{dash}\n", *self.block(item, column + 2)]
            else:
                lines.append(f"{dash} {self.flow(item)}\n")
        return lines

    def between(self, column: int) -> str:
        return self.draw(
            st.sampled_from(("", "", "", "\n", f"{' ' * column}# own\n", f"{' ' * (column + 1)}# deeper\n"))
        )

    def key(self, key: str) -> str:
        plain = key.isascii() and key.replace("-", "").isalnum() and key not in {"null", "-"} and not key.isdigit()
        return key if plain and self.draw(st.booleans()) else json.dumps(key, ensure_ascii=False)

    def flow(self, value: Any) -> str:
        if isinstance(value, dict):
            space = self.draw(st.sampled_from(("", " ")))
            inner = ", ".join(f"{json.dumps(k, ensure_ascii=False)}: {self.flow(v)}" for k, v in value.items())
            return "{" + space + inner + space + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self.flow(item) for item in value) + "]"
        if isinstance(value, str):
            if "'" not in value and value.isprintable() and self.draw(st.booleans()):
                return f"'{value}'"
            return json.dumps(value, ensure_ascii=False)
        return json.dumps(value)
