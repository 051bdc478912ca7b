"""What an instance is started with must be text that a system call can take. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mcpcompose.engine.base import Values
from mcpcompose.errors import EngineError


def refuse_unsendable(name: str, values: Values) -> None:
    """Raise `EngineError` for a NUL byte or text that is not Unicode in *values* of the instance *name*."""
    for what, text in _texts(values):
        if why := _wrong(text):
            raise EngineError(f"{what} of `{name}` {why}", hint="check where it comes from: the file, `.env`, a secret")
    for variable in values.environment:
        if not variable or "=" in variable:
            raise EngineError(f"`{variable}` of `{name}` cannot be the name of a variable", hint="check `environment`")


def _texts(values: Values) -> Iterator[tuple[str, str]]:
    for variable, value in values.environment.items():
        yield f"the name of a variable ({variable!a})", variable
        yield f"the variable `{variable}`", value
    for what, words in (("the command", values.command), ("the entrypoint", values.entrypoint)):
        for word in words or ():
            yield what, word


def _wrong(text: str) -> str | None:
    if "\0" in text:
        return "has a NUL character in it"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "is not valid Unicode text"
    return None
