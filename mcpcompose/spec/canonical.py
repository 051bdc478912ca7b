"""
One text for one JSON value: RFC 8785, so that key order and white space make no difference and nothing else is lost.

Pure. In one thing stricter than the RFC: integers beyond 2^53 stay exact, so that no two of them look the same.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

_LARGEST_PLAIN: Final = 21
"""Up to 10^21 a number is written without an exponent, as ECMAScript does."""
_SMALLEST_PLAIN: Final = -7


def canonical(value: Any) -> str:
    """The JSON value *value* in its one form. Raises `ValueError` for what JSON cannot hold."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts)


def digest(value: Any) -> str:
    """`sha256:…` of the one form of *value*."""
    return "sha256:" + hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def _write(value: Any, parts: list[str]) -> None:
    match value:
        case str():
            parts.append(json.dumps(value, ensure_ascii=False))
        case bool() | None:
            parts.append(json.dumps(value))
        case int():
            parts.append(str(value))
        case float():
            parts.append(_number(value))
        case Mapping():
            _object(value, parts)
        case Sequence():
            _array(value, parts)
        case _:
            raise ValueError(f"JSON has no `{type(value).__name__}`")


def _object(value: Mapping[str, Any], parts: list[str]) -> None:
    separator = "{"
    for key in sorted(value, key=_in_utf_16):
        parts.append(f"{separator}{json.dumps(key, ensure_ascii=False)}:")
        _write(value[key], parts)
        separator = ","
    parts.append("}" if value else "{}")


def _array(value: Sequence[Any], parts: list[str]) -> None:
    separator = "["
    for item in value:
        parts.append(separator)
        _write(item, parts)
        separator = ","
    parts.append("]" if value else "[]")


def _in_utf_16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    """As ECMAScript writes a number."""
    if not math.isfinite(value):
        raise ValueError(f"JSON has no `{value}`")
    if value == 0:
        return "0"
    sign, digits, exponent = _parts(value)
    point = len(digits) + exponent
    if 0 < point <= _LARGEST_PLAIN:
        if exponent >= 0:
            return f"{sign}{digits}{'0' * exponent}"
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _SMALLEST_PLAIN < point - 1 < 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _parts(value: float) -> tuple[str, str, int]:
    """Sign, shortest digits without zeros around them, and the power of ten of the last."""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    bare = digits.rstrip("0")
    return "-" if value < 0 else "", bare, exponent + len(digits) - len(bare)
