"""
Text with references: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${secret:name}`, `$$`.

The grammar is the Compose specification's interpolation, with `${secret:name}` added. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


class TemplateError(ValueError):
    """A reference that is malformed or has no value; *offset* counts characters from the text's start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${…}`: *operator* is one of ``""``, ``:-``, ``-``, ``:?``, ``?``, ``:+``, ``+``; *operand* may nest."""

    name: str
    operator: str
    operand: str
    offset: int
    is_secret: bool = False


MAX_LENGTH = 1 << 18
"""Characters a text may have once its references are replaced; no variable of a process can be longer."""
_MAX_NESTING = 16
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


def parse(text: str) -> Iterator[str | Reference]:
    """
    Split *text* into literal strings and references, `$$` already undone.

    Raises `TemplateError` for an unclosed brace, an empty or malformed name.
    """
    start = 0
    while (dollar := text.find("$", start)) >= 0:
        if dollar > start:
            yield text[start:dollar]
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            yield "$"
            start = dollar + 2
        elif following == "{":
            end = _closing_brace(text, dollar)
            yield _reference(text[dollar + 2 : end], dollar)
            start = end + 1
        elif following.isascii() and (following.isalpha() or following == "_"):
            end = _name_end(text, dollar + 1)
            yield Reference(text[dollar + 1 : end], "", "", dollar)
            start = end
        else:
            raise TemplateError("a lone `$`; write `$$` for a dollar sign", dollar)
    if start < len(text):
        yield text[start:]


def expand(text: str, variable: Callable[[str], str | None], secret: Callable[[str], str]) -> str:
    """
    Replace every reference of *text*; an unset variable without a default is the empty string, as in Compose.

    Raises `TemplateError` for `:?` and `?` references that are unset and for what becomes longer than `MAX_LENGTH`,
    and what *secret* raises.
    """
    parts: list[str] = []
    length = 0
    for part in parse(text):
        value = part if isinstance(part, str) else _value(part, variable, secret)
        length += len(value)
        if length > MAX_LENGTH and not isinstance(part, str):
            raise TemplateError("the text is too long once its references are replaced", part.offset)
        parts.append(value)
    return "".join(parts)


def expand_variables(text: str, variables: Mapping[str, str]) -> str:
    """Replace the `${VAR}` references of *text*; a `${secret:…}` in it raises `TemplateError`."""

    def refuse(name: str) -> str:
        raise TemplateError(f"a secret (`{name}`) cannot be used here", 0)

    return expand(text, variables.get, refuse)


def references(text: str) -> Iterator[Reference]:
    """All references of *text*, nested ones in defaults included."""
    for part in parse(text):
        if isinstance(part, Reference):
            yield part
            if part.operand:
                yield from references(part.operand)


def secret_names(text: str) -> frozenset[str]:
    """The names of the secrets that *text* refers to."""
    return frozenset(reference.name for reference in references(text) if reference.is_secret)


def variable_names(text: str) -> frozenset[str]:
    """The names of the variables that *text* refers to."""
    return frozenset(reference.name for reference in references(text) if not reference.is_secret)


def _closing_brace(text: str, dollar: int) -> int:
    depth = 0
    index = dollar
    while index < len(text):
        if text.startswith("${", index):
            depth += 1
            if depth > _MAX_NESTING:
                raise TemplateError(f"references nested deeper than {_MAX_NESTING}", dollar)
            index += 2
            continue
        if text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    raise TemplateError("`${` is never closed", dollar)


def _name_end(text: str, start: int) -> int:
    end = start
    while end < len(text) and (text[end].isascii() and (text[end].isalnum() or text[end] == "_")):
        end += 1
    return end


def _reference(body: str, offset: int) -> Reference:
    if body.startswith("secret:"):
        name = body.removeprefix("secret:")
        if not name or not all(c.isascii() and (c.isalnum() or c in "_.-") for c in name):
            raise TemplateError(f"`${{{body}}}` is not a secret reference; write `${{secret:name}}`", offset)
        return Reference(name, "", "", offset, is_secret=True)
    end = _name_end(body, 0)
    name, rest = body[:end], body[end:]
    if not name or name[0].isdigit():
        raise TemplateError(f"`${{{body}}}` is not a variable reference", offset)
    if not rest:
        return Reference(name, "", "", offset)
    for operator in _OPERATORS:
        if rest.startswith(operator):
            return Reference(name, operator, rest.removeprefix(operator), offset)
    raise TemplateError(f"`${{{body}}}` is not a variable reference", offset)


def _value(reference: Reference, variable: Callable[[str], str | None], secret: Callable[[str], str]) -> str:
    if reference.is_secret:
        return secret(reference.name)
    value = variable(reference.name)
    missing = not value if reference.operator.startswith(":") else value is None
    match reference.operator.removeprefix(":"):
        case "-":
            return expand(reference.operand, variable, secret) if missing else (value or "")
        case "?":
            if missing:
                raise TemplateError(
                    f"variable `{reference.name}` is not set" + (f": {reference.operand}" if reference.operand else ""),
                    reference.offset,
                )
            return value or ""
        case "+":
            return "" if missing else expand(reference.operand, variable, secret)
        case _:
            return value or ""
