"""Reading one entry of a catalog: what is wrong with it is remembered in it, and does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from mcpcompose.catalog.entry import MAX_REFUSALS, SECRET_NAME, Entry, Refusal, Secret, Tool, kind_of
from mcpcompose.catalog.marked import Value, plain, walk
from mcpcompose.catalog.template import GRAMMAR, SecretRef, TemplateError, parse
from mcpcompose.spec.server import SOURCES

MAX_TEXT: Final = 8192
_MAX_SHOWN: Final = 64
_MAX_TAGS: Final = 64
_MAX_TOOLS: Final = 1000
_WITH_SECRETS: Final = frozenset({"environment", "headers", "url"})


class Reading:
    """Reads the entry *name* that begins at *at*."""

    def __init__(self, name: str, at: Value) -> None:
        self.name, self.at = name, at
        self.refusals: list[Refusal] = []

    def refuse(self, at: Value, message: str, hint: str | None = None, unless: tuple[str, ...] = ()) -> None:
        """Remember what cannot be honoured."""
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(Refusal(message, at.line, at.column, hint, unless))

    def text(self, mapping: Value, key: str) -> str:
        """The text of *key*; empty where there is none."""
        found = mapping.get(key)
        if found is None:
            return ""
        if (text := found.text) is None:
            self.refuse(found, f"`{shown(key)}` must be text")
            return ""
        return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"

    def flag(self, mapping: Value, key: str) -> bool:
        """Whether *key* is true."""
        found = mapping.get(key)
        if found is not None and not isinstance(found.value, bool):
            self.refuse(found, f"`{shown(key)}` must be `true` or `false`")
        return found is not None and found.value is True

    def list_of(self, mapping: Value, key: str) -> list[Value]:
        """The items of *key*."""
        found = mapping.get(key)
        if found is not None and not isinstance(found.value, list):
            self.refuse(found, f"`{shown(key)}` must be a list")
        return [item for item in found.items if item.value is not None] if found is not None else []

    def map_of(self, mapping: Value, key: str) -> Value | None:
        """The mapping of *key*."""
        found = mapping.get(key)
        if found is not None and not isinstance(found.value, dict):
            self.refuse(found, f"`{shown(key)}` must be a mapping")
            return None
        return found

    def texts(self, mapping: Value, key: str) -> list[tuple[str, Value]]:
        """The texts of a list, with their places."""
        found = []
        for item in self.list_of(mapping, key):
            if (text := item.text) is None:
                self.refuse(item, f"an item of `{shown(key)}` must be text")
            else:
                found.append((text, item))
        return found

    def tags(self, mapping: Value) -> tuple[str, ...]:
        """The entry's tags."""
        return tuple(text[:_MAX_SHOWN] for text, _ in self.texts(mapping, "tags")[:_MAX_TAGS])

    def tools(self, mapping: Value) -> tuple[Tool, ...]:
        """What is said about the tools: names, or mappings with `name` and `description`."""
        found = []
        for item in self.list_of(mapping, "tools")[:_MAX_TOOLS]:
            name = item.text if item.text is not None else self.text(item, "name")
            description = self.text(item, "description") if item.fields else ""
            if name:
                found.append(Tool(name[:256], description))
        return tuple(found)

    def known(self, mapping: Value, keys: Iterable[str], what: str) -> None:
        """Refuse keys of *mapping* that are not among *keys*."""
        keys = list(keys)
        for key, value in mapping.fields.items():
            if key not in keys and not key.startswith("x-"):
                near = get_close_matches(key[:_MAX_SHOWN], keys, n=1)
                meant = f", did you mean `{near[0]}`?" if near else ""
                self.refuse(value.key, f"unknown key `{shown(key)}` of {what}{meant}")

    def entry(self, server: dict[str, Value], *, secrets: Iterable[Secret] = (), **said: object) -> Entry:
        """The entry, with its texts checked."""
        value = self.at.but(server)
        declared = tuple(secrets)
        self._check_texts(value, {one.name for one in declared})
        for one in declared:
            if not SECRET_NAME.fullmatch(one.name):
                self.refuse(Value(None, one.line, one.column), f"`{shown(one.name)}` is not a name for a secret")
        if not kind_of(value) and not self.refusals:
            self.refuse(self.at, "the entry does not say what to run", unless=SOURCES)
        return Entry(
            name=self.name,
            line=self.at.key.line,
            column=self.at.key.column,
            server=value,
            secrets=declared,
            refusals=tuple(self.refusals),
            **said,  # type: ignore[arg-type]  # what the callers say is what an entry has
        )

    def _check_texts(self, server: Value, declared: set[str]) -> None:
        for path, one in walk(server):
            if not isinstance(one.value, str) or "$" not in one.value:
                continue
            try:
                parts = parse(one.value)
            except TemplateError as error:
                self.refuse(one, f"{error}: `{shown(one.value)}`", GRAMMAR, (str(path[0]),))
                continue
            for name in (part.name for part in parts if isinstance(part, SecretRef)):
                if name not in declared:
                    self.refuse(one, f"the secret `{name}` is not declared by this entry")
                elif path[0] not in _WITH_SECRETS:
                    hint = "a secret goes into `environment`, `headers` or `url`"
                    self.refuse(one, f"the secret `{name}` cannot be used in `{path[0]}`", hint, (str(path[0]),))


def schema_of(reading: Reading, value: Value | None) -> dict[str, object]:
    """What an entry says about its `config`: the schema and its place."""
    if value is None:
        return {}
    if not isinstance(value.value, dict):
        reading.refuse(value, "`config` must be a JSON Schema, a mapping")
        return {}
    return {"config": plain(value), "config_line": value.line, "config_column": value.column}


def shown(text: str) -> str:
    """A catalog's text inside a message: short, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 1] + "…"
