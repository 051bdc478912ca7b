"""The inputs that a `server.json` declares, as the `config` and the secrets of an entry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mcpcompose.catalog.entry import Secret, secret_name
from mcpcompose.catalog.marked import Value, plain
from mcpcompose.catalog.reading import Reading, shown
from mcpcompose.catalog.template import config, literal, secret

_BRACES: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
_KEY: Final = re.compile(r"[^A-Za-z0-9_-]+")
_TYPES: Final = {"number": "number", "boolean": "boolean"}
INPUT: Final = (
    "description", "isRequired", "format", "value", "isSecret", "default", "placeholder", "choices", "variables",
    "name", "type", "valueHint", "isRepeated",
)  # fmt: skip


class Inputs:
    """Collects what one server asks for: *properties* of its configuration, *required* ones, and *secrets*."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.properties: dict[str, dict[str, Any]] = {}
        self.required: list[str] = []
        self.secrets: dict[str, Secret] = {}

    def schema(self) -> dict[str, Any]:
        """The entry's `config`; nothing where it asks for nothing."""
        if not self.properties:
            return {}
        made: dict[str, Any] = {"type": "object", "properties": self.properties, "additionalProperties": False}
        if self.required:
            made["required"] = sorted(set(self.required))
        return {"config": made, "config_line": self._reading.at.line, "config_column": self._reading.at.column}

    def variable(self, item: Value, *, in_text: bool = False) -> Value | None:
        """
        A variable or a header: its text in our grammar; None for a secret that is delivered by itself.

        *in_text*: secrets are delivered by the texts that refer to them.
        """
        self._reading.known(item, INPUT, "an input")
        name = self._reading.text(item, "name")
        if not name:
            self._reading.refuse(item, "an input needs a `name`")
            return None
        fixed = item.get("value")
        if fixed is not None and fixed.text is not None:
            return fixed.but(self.filled(fixed.text, self._reading.map_of(item, "variables")))
        if self._reading.flag(item, "isSecret"):
            key = self._secret(name, item, env=None if in_text else name)
            return item.but(secret(key)) if in_text else None
        return item.but(config(self._property(name, item)))

    def argument(self, item: Value) -> Iterator[Value]:
        """An argument: none, one, or one that stands for several."""
        reading = self._reading
        reading.known(item, INPUT, "an argument")
        kind, flag = reading.text(item, "type"), reading.text(item, "name")
        if kind == "named" or (not kind and flag):
            if not flag:
                reading.refuse(item, "a named argument needs a `name`")
                return
            value = self._value(item, flag.lstrip("-") or flag)
            yield item.but(literal(flag) if value is None else f"{literal(flag)}={value}")
            return
        hint = reading.text(item, "valueHint") or "argument"
        value = self._value(item, hint)
        if value is not None:
            yield item.but(value)

    def _value(self, item: Value, name: str) -> str | None:
        """The value of an argument; None for a flag without one."""
        fixed = item.get("value")
        if fixed is not None and fixed.text is not None:
            return self.filled(fixed.text, self._reading.map_of(item, "variables"))
        if self._reading.flag(item, "isSecret"):
            hint = "a secret goes into `environment`, `headers` or `url`"
            self._reading.refuse(item, f"the argument `{shown(name)}` is a secret", hint, ("command", "args"))
            return None
        has_value = any(
            item.get(key) is not None for key in ("default", "choices", "format", "valueHint", "placeholder")
        )
        if not has_value and item.get("description") is None and not self._reading.flag(item, "isRequired"):
            return None
        return config(self._property(name, item))

    def filled(self, text: str, variables: Value | None) -> str:
        """*text* with `{name}` taken from the configuration or a secret, where *variables* declares the name."""
        parts, start = [], 0
        for found in _BRACES.finditer(text):
            declared = variables.get(found[1]) if variables is not None else None
            if declared is None:
                continue
            parts += [literal(text[start : found.start()]), self._variable(found[1], declared)]
            start = found.end()
        return "".join([*parts, literal(text[start:])])

    def _variable(self, name: str, declared: Value) -> str:
        self._reading.known(declared, INPUT, "a variable")
        fixed = declared.get("value")
        if fixed is not None and fixed.text is not None:
            return literal(fixed.text)
        if self._reading.flag(declared, "isSecret"):
            return secret(self._secret(name, declared, env=None))
        return config(self._property(name, declared))

    def _secret(self, name: str, item: Value, *, env: str | None) -> str:
        key = secret_name(name.lower().replace("-", "_"))
        self.secrets[key] = Secret(
            key,
            item.line,
            item.column,
            env=env,
            description=self._reading.text(item, "description"),
            is_required=self._reading.flag(item, "isRequired") or env is None,
            example=self._reading.text(item, "placeholder"),
            is_delivered=env is not None,
        )
        return key

    def _property(self, name: str, item: Value) -> str:
        """The key of `config` for an input."""
        key = _KEY.sub("_", name).strip("_") or "value"
        reading = self._reading
        kind = _TYPES.get(reading.text(item, "format"), "string")
        made: dict[str, Any] = {"type": kind}
        if description := reading.text(item, "description"):
            made["description"] = description
        if choices := reading.texts(item, "choices"):
            made["enum"] = [text for text, _ in choices]
            made.pop("type")
        if (default := item.get("default")) is not None:
            made["default"] = _typed(plain(default), kind)
        if reading.flag(item, "isRepeated"):
            made = {"anyOf": [made, {"type": "array", "items": {k: v for k, v in made.items() if k != "default"}}]}
        if reading.flag(item, "isRequired") and item.get("default") is None:
            self.required.append(key)
        self.properties.setdefault(key, made)
        return key


def _typed(value: Any, kind: str) -> Any:
    """A default, which is always text there, as what it is."""
    if kind == "boolean" and str(value).lower() in {"true", "false"}:
        return str(value).lower() == "true"
    if kind == "number":
        try:
            return int(value) if str(value).lstrip("-").isdigit() else float(value)
        except ValueError:
            return value
    return value
