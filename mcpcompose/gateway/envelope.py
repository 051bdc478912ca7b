"""
Read what clients send: one strict parse at the edge, from which everything is decided and sent on.

Refused: duplicate keys, NaN and infinities, lone surrogates, more than 64 levels, a byte order mark.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec

from mcpcompose.upstream.wire import DEEPEST, deeper, encode

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
RESOURCE_NOT_FOUND: Final = -32002
"""Of the handshake revisions; later `INVALID_PARAMS`."""

ERROR_STATUS: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
"""The HTTP status of an error on the modern wire; others are 200."""

RequestId = int | str


class Result(msgspec.Struct, frozen=True, gc=False):
    """A result, as JSON bytes."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """An error."""

    code: int
    message: str
    data: Any = None

    def fields(self) -> dict[str, Any]:
        """The `error` member."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        return error if self.data is None else error | {"data": self.data}


Answer = Result | Failure


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request of a client."""

    id: RequestId
    method: str
    params: dict[str, Any]


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A notification of a client."""

    method: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """A client's answer to a request of ours: *result* or *error* as JSON bytes."""

    id: RequestId | None
    result: bytes | None = None
    error: bytes | None = None


class Malformed(ValueError):  # noqa: N818  what the message is
    """What a client sent cannot be read; *failure* is the answer, *id* the request's where it is known."""

    def __init__(self, code: int, message: str, id_: RequestId | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)
        self.id = id_


def parse(body: bytes) -> Any:
    """The JSON value in *body*. Raises `Malformed`."""
    value = _plain(body)
    if value is _NOT_PLAIN:
        value = _strict(body)
    if body.count(b"{") + body.count(b"[") > DEEPEST and deeper(value, DEEPEST):
        raise Malformed(PARSE_ERROR, f"not JSON that we read: more than {DEEPEST} levels")
    return value


def _plain(body: bytes) -> Any:
    """
    The value, when writing it again gives *body*, whitespace aside: then there is one way to read it, and it is this.

    A key that came twice, a number that was changed, a surrogate that was replaced would all show. Many times faster.
    """
    try:
        value = _read(body)
        written = _write(value)
        same = written == body or msgspec.json.format(body, indent=-1) == written
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return _NOT_PLAIN
    return value if same else _NOT_PLAIN


def _strict(body: bytes) -> Any:
    try:
        value = _DECODER.decode(body.decode())
        if b"\\u" in body:
            encode(value)
    except UnicodeEncodeError as error:
        raise Malformed(PARSE_ERROR, "not JSON: a lone surrogate") from error
    except (ValueError, RecursionError) as error:
        raise Malformed(PARSE_ERROR, f"not JSON: {_short(error)}") from error
    return value


def message(value: Any) -> Request | Notification | Response:
    """The message that *value* is. Raises `Malformed`."""
    if not isinstance(value, dict):
        raise Malformed(INVALID_REQUEST, "the body is not one JSON-RPC message")
    id_ = value.get("id")
    known = id_ if isinstance(id_, (int, str)) and not isinstance(id_, bool) else None
    if value.get("jsonrpc") != "2.0":
        raise Malformed(INVALID_REQUEST, '`jsonrpc` is not "2.0"', known)
    method = value.get("method")
    if method is None and "method" not in value and ("result" in value or "error" in value):
        if "error" in value:
            return Response(known, error=encode(value["error"]))
        return Response(known, result=encode(value["result"]))
    params = value.get("params", _NOTHING)
    if not isinstance(method, str):
        raise Malformed(INVALID_REQUEST, "`method` is not a string", known)
    if not isinstance(params, dict):
        raise Malformed(INVALID_PARAMS, "`params` is not an object", known)
    if "id" not in value:
        return Notification(method, params)
    if known is None:
        raise Malformed(INVALID_REQUEST, "`id` is neither a string nor an integer")
    return Request(known, method, params)


def answer_bytes(id_: RequestId | None, answer: Answer) -> bytes:
    """The whole response; a result's bytes are spliced in as they are."""
    if isinstance(answer, Result):
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (encode(id_), answer.raw)
    return encode({"jsonrpc": "2.0", "id": id_, "error": answer.fields()})


def request_bytes(id_: RequestId, method: str, params: bytes) -> bytes:
    """A request of ours to a client, with params as they came."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b%b}' % (
        encode(id_),
        encode(method),
        b',"params":' + params if params else b"",
    )


def notification_bytes(method: str, params: bytes) -> bytes:
    """A notification with params as they came."""
    return b'{"jsonrpc":"2.0","method":%b%b}' % (encode(method), b',"params":' + params if params else b"")


_NOTHING: Final[dict[str, Any]] = {}
_NOT_PLAIN: Final = object()
_read: Final = msgspec.json.Decoder().decode
_write: Final = msgspec.json.Encoder().encode


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key twice in one object")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number that is too large")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"`{text}` is no number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
