"""
Expressions in the Common Expression Language: read once, with every mistake that can be seen without a request.

The one importer of `cel`. Only its compiled part is loaded: the package would bring a command line with it.
"""

from __future__ import annotations

import re
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.expression_mistakes import unreadable

if TYPE_CHECKING:
    from types import ModuleType

    from cel import Program

LONGEST: Final = 4_096
MOST_STEPS: Final = 100_000
"""Values that are looked at, counted as often as `all` in `all` looks at them."""
_NAME: Final = "mcpcompose_cel.cel"
_MACRO: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_OPERATOR: Final = re.compile(r"[^A-Za-z]|@?(?:in|not_strictly_false)$")
FUNCTIONS: Final = frozenset(
    {
        "all", "bool", "bytes", "contains", "double", "duration", "dyn", "endsWith", "exists", "exists_one", "filter",
        "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds",
        "getMinutes", "getMonth", "getSeconds", "has", "int", "map", "matches", "size", "startsWith", "string",
        "timestamp", "type", "uint",
    }
)  # fmt: skip
"""What there is to call."""
_TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
"""Names of the language's own: `type(arguments.x) == string`."""


class ExpressionError(McpComposeError):
    """It cannot be read, or has no value for this request."""


class Expression:
    """One that is true or false. *names* are the variables there are."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        if len(text) > LONGEST:
            raise ExpressionError(f"an expression has at most {LONGEST} characters")
        self.text = text
        try:
            self._program: Program = _cel().compile(text)
        except ValueError as error:
            message, hint = unreadable(text, str(error))
            raise ExpressionError(message, hint=hint) from error
        bound = _MACRO.findall(text)
        self.names = frozenset(self._program.variables()) - frozenset(bound)
        self._depth = _depth(text)
        self.names -= _TYPES
        for name in sorted(self.names - names):
            raise ExpressionError(f"there is no `{name}`", hint=f"there are {', '.join(sorted(names))}")
        for name in sorted(self._program.functions()):
            if name not in FUNCTIONS and not _OPERATOR.search(name):
                raise ExpressionError(
                    f"there is no function `{name}`", hint=f"there are {', '.join(sorted(FUNCTIONS))}"
                )

    def holds(self, values: dict[str, Any]) -> bool:
        """Whether it is true of *values*. Raises `ExpressionError`; what is neither true nor false is an error, too."""
        used = {name: values[name] for name in self.names if name in values}
        if _weight(used) ** self._depth > MOST_STEPS:
            raise ExpressionError("the request is too large to be judged")
        try:
            found = self._program.execute(used)
        except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
            raise ExpressionError(f"`{self.text}` has no value here: {_said(error)}") from error
        if not isinstance(found, bool):
            raise ExpressionError(f"`{self.text}` is neither true nor false")
        return found


def _depth(text: str) -> int:
    """How many macros stand within one another; one when there is none."""
    opened: list[bool] = []
    deepest = 1
    macros = {found.start(1) for found in _MACRO.finditer(text)}
    for at, character in enumerate(text):
        if character == "(":
            opened.append(any(start in macros for start in range(at + 1, at + 1 + _gap(text, at))))
            deepest = max(deepest, sum(opened))
        elif character == ")" and opened:
            opened.pop()
    return deepest


def _gap(text: str, at: int) -> int:
    """From a parenthesis to what stands in it, blanks and all."""
    inside = text[at + 1 :]
    return len(inside) - len(inside.lstrip()) + 1


def _weight(value: Any) -> int:
    """How many values are in *value*."""
    total, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        total += 1
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return total


def _said(error: Exception) -> str:
    """The first line, without the text it is about."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return first.rpartition("ERROR: ")[2][:200]


def _cel() -> ModuleType:
    loaded = sys.modules.get(_NAME)
    if loaded is None:
        package = find_spec("cel")
        folders = package.submodule_search_locations if package is not None else None
        files = [Path(folder, f"cel{suffix}") for folder in folders or () for suffix in EXTENSION_SUFFIXES]
        file = next((one for one in files if one.is_file()), None)
        if file is None:
            raise ExpressionError("`common-expression-language` is not installed")
        spec = spec_from_file_location(_NAME, file, loader=ExtensionFileLoader(_NAME, str(file)))
        if spec is None or spec.loader is None:
            raise ExpressionError("`common-expression-language` cannot be loaded")
        loaded = module_from_spec(spec)
        spec.loader.exec_module(loaded)
        sys.modules[_NAME] = loaded
    return loaded
