"""
The JSON contract, version 1: what programs, webhooks, containers and Python functions are told, and may answer.

The structures here are the one source: the committed JSON Schema is made of them. An answer is read strictly, so that
what is misspelt or too much is a failure and not a yes. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from mcpcompose.interceptors.base import (
    TO_SERVER,
    AskPerson,
    Change,
    Decision,
    Exchange,
    InterceptorFailed,
    Refuse,
    Respond,
    Warn,
)

VERSION: Final = 1
CALL: Final = "tools/call"
BEFORE: Final = "before"
AFTER: Final = "after"
Phase = Literal["before", "after"]
Message = Annotated[str, Meta(min_length=1, max_length=16_384)]
RuleName = Annotated[str, Meta(min_length=1, max_length=200)]
Label = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
_FIXED: Final = ("name", "uri", "ref", "taskId", "task")
"""Members of the params that say where a request goes."""
_SHOWN: Final = 200


class SessionTold(Struct, frozen=True):
    """The governed session: what the client has read so far (labels), and what it is pinned to."""

    id: str
    labels: dict[str, str]
    pins: dict[str, str]


class Question(Struct, frozen=True):
    """What an interceptor is told of one request: before it goes on, or after its result came."""

    version: Literal[1]
    id: str
    """Of this question; in a line protocol the answer repeats it."""
    request: str
    """Of the request: the same before and after."""
    phase: Phase
    direction: Literal["to_server", "to_client"]
    """`to_client`: the server asks the client something (elicitation, sampling, roots)."""
    method: str
    server: str
    name: str | None
    """The server's own name of the tool or prompt, or the resource's URI."""
    exposed: str | None
    """The client's name for it."""
    params: Raw
    tool: dict[str, Any] | None
    """The whole definition of the tool that is called."""
    client: str
    has_token: bool
    """Whether the client has a token of its own."""
    profile: str
    session: SessionTold
    result: Raw | UnsetType = UNSET
    """After the call: what came, unless it was an error."""
    error: Raw | UnsetType = UNSET
    """After the call: the JSON-RPC error that came."""


class _Answer(Struct, frozen=True, forbid_unknown_fields=True, tag_field="decision"):
    version: Literal[1] = 1
    id: str | None = None
    """Of the question; needed in a line protocol."""
    labels: Annotated[list[Label], Meta(max_length=16)] = []
    """What the client's session has read by this; labels only accumulate."""


class Allow(_Answer, frozen=True, forbid_unknown_fields=True, tag="allow"):
    """Let it through as it is."""


class Deny(_Answer, frozen=True, forbid_unknown_fields=True, tag="deny", kw_only=True):
    """Refuse it; the model reads the message."""

    message: Message
    rule: RuleName | None = None


class Changed(_Answer, frozen=True, forbid_unknown_fields=True, tag="change", kw_only=True):
    """Go on with something else: exactly one of params and arguments before the call, of result and error after it."""

    params: dict[str, Any] | UnsetType = UNSET
    """The whole params; who is asked for what cannot be changed."""
    arguments: dict[str, Any] | UnsetType = UNSET
    """The arguments alone."""
    result: dict[str, Any] | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET
    rule: RuleName | None = None
    note: str | None = None
    """For the audit log."""


class Responded(_Answer, frozen=True, forbid_unknown_fields=True, tag="respond", kw_only=True):
    """Answer in the server's place; before the call only."""

    result: dict[str, Any]
    rule: RuleName | None = None


class Asked(_Answer, frozen=True, forbid_unknown_fields=True, tag="ask", kw_only=True):
    """Ask the person at the client; without a yes it is refused with the message."""

    question: Message
    message: Message
    rule: RuleName | None = None


class Warned(_Answer, frozen=True, forbid_unknown_fields=True, tag="warn", kw_only=True):
    """Let it through, and write it into the audit log."""

    note: Message
    rule: RuleName | None = None


class Failed(_Answer, frozen=True, forbid_unknown_fields=True, tag="fail", kw_only=True):
    """It cannot be decided; `on_failure` says what becomes of the request."""

    message: Message


Answered = Allow | Deny | Changed | Responded | Asked | Warned | Failed
_decode_answer: Final = msgspec.json.Decoder(Answered).decode
_encode: Final = msgspec.json.Encoder().encode


def question(exchange: Exchange, phase: Phase, id_: str) -> bytes:
    """One line of JSON about *exchange*. Raises `InterceptorFailed` for what JSON cannot say."""
    session = exchange.session
    told = Question(
        version=VERSION,
        id=id_,
        request=exchange.id,
        phase=phase,
        direction="to_client" if exchange.direction == "to_client" else "to_server",
        method=exchange.method,
        server=exchange.server,
        name=exchange.name,
        exposed=exchange.exposed,
        params=Raw(encoded(exchange.params)),
        tool=dict(exchange.tool) if exchange.tool is not None else None,
        client=exchange.client,
        has_token=exchange.has_token,
        profile=exchange.profile,
        session=SessionTold(session.id, session.labels, session.pins),
        result=Raw(one_line(exchange.result)) if phase == AFTER and exchange.result is not None else UNSET,
        error=Raw(one_line(exchange.error)) if phase == AFTER and exchange.error is not None else UNSET,
    )
    return encoded(told)


def answer(raw: bytes, exchange: Exchange, phase: Phase) -> Decision | None:
    """What *raw* decides about *exchange*. Raises `InterceptorFailed` for anything that is not plainly an answer."""
    return decision(read(raw), exchange, phase)


def read(raw: bytes) -> Answered:
    """The answer that *raw* is. Raises `InterceptorFailed`."""
    if not raw.strip():
        raise InterceptorFailed('it answered nothing; to let a request through it answers `{"decision": "allow"}`')
    try:
        answered: Answered = _decode_answer(raw)
        refuse_twins(raw)
    except (ValueError, RecursionError) as error:  # of which msgspec's are some
        raise InterceptorFailed(f"it answered what is not in the contract: {str(error)[:_SHOWN]}") from None
    return answered


def decision(answered: Answered, exchange: Exchange, phase: Phase) -> Decision | None:
    """What *answered* decides about *exchange*, checked. Raises `InterceptorFailed`, `OSError` for labels not kept."""
    found = _decided(answered, exchange, phase)
    for label in answered.labels:
        exchange.session.label(label, f"{exchange.server}/{exchange.name or exchange.method}")
    return found


def _decided(answered: Answered, exchange: Exchange, phase: Phase) -> Decision | None:
    match answered:
        case Allow():
            return None
        case Deny(message=message, rule=rule):
            return Refuse(message, rule)
        case Asked(question=text, message=message, rule=rule):
            return AskPerson(text, message, rule)
        case Warned(note=note, rule=rule):
            return Warn(note, rule)
        case Failed(message=message):
            raise InterceptorFailed(f"it says: {message}")
        case Responded(result=result, rule=rule):
            if phase == AFTER:
                raise InterceptorFailed("it answered `respond` after the call; there it is `change` with a `result`")
            return Respond(usable(result, exchange), rule)
        case Changed():
            return _change_before(answered, exchange) if phase == BEFORE else _change_after(answered, exchange)


def _change_before(change: Changed, exchange: Exchange) -> Change:
    if (
        change.result is not UNSET
        or change.error is not UNSET
        or (change.params is UNSET) is (change.arguments is UNSET)
    ):
        raise InterceptorFailed("before the call, `change` has either `params` or `arguments`, and nothing else")
    if change.arguments is not UNSET:
        params = {**exchange.params, "arguments": change.arguments}
    else:
        params = change.params if change.params is not UNSET else {}
    encoded(params)  # what cannot be sent is a failure here, not on the way
    before = exchange.params
    arguments = params.get("arguments", {})
    if arguments != before.get("arguments", {}) and not isinstance(arguments, dict):
        raise InterceptorFailed("`arguments` of its `params` is no object")  # which others would not look into
    for key in _FIXED:
        if params.get(key) != before.get(key) or (key in params) is not (key in before):
            raise InterceptorFailed(f"it tried to change `{key}`, which says where the request goes")
    return Change(params=params, rule=change.rule, note=change.note)


def _change_after(change: Changed, exchange: Exchange) -> Change:
    if (
        change.params is not UNSET
        or change.arguments is not UNSET
        or (change.result is UNSET) is (change.error is UNSET)
    ):
        raise InterceptorFailed("after the call, `change` has either a `result` or an `error`, and nothing else")
    if change.result is not UNSET:
        return Change(result=usable(change.result, exchange), rule=change.rule, note=change.note)
    error = change.error if change.error is not UNSET else {}
    if not isinstance(error.get("code"), int) or not isinstance(error.get("message"), str):
        raise InterceptorFailed("an `error` has a `code` (a number) and a `message`")
    return Change(error=encoded(error), rule=change.rule, note=change.note)


def usable(result: Mapping[str, Any], exchange: Exchange) -> bytes:
    """*result* as bytes. Raises `InterceptorFailed` when no client could read it, or it would begin something else."""
    if result.get("resultType", "complete") != "complete":
        raise InterceptorFailed("its `result` is not a complete one (`resultType`)")
    if exchange.method == CALL and exchange.direction == TO_SERVER:
        content = result.get("content")
        if not isinstance(content, list) or not all(map(_is_block, content)):
            raise InterceptorFailed("a tool's `result` has `content`, a list of blocks with a `type`")
        if not isinstance(result.get("isError", False), bool):
            raise InterceptorFailed("`isError` of a tool's `result` is true or false")
    return encoded(result)


def _is_block(block: object) -> bool:
    return isinstance(block, dict) and isinstance(block.get("type"), str)


def refuse_ambiguous(raw: bytes | None) -> None:
    """
    Raise `InterceptorFailed` when an object of *raw* has two members of one name: who is asked would see one of them,
    and the client perhaps the other.
    """
    try:
        refuse_twins(raw or b"null")
    except (ValueError, RecursionError) as error:
        raise InterceptorFailed(f"the server's answer cannot be judged: {str(error)[:_SHOWN]}") from None


def refuse_twins(raw: bytes) -> None:
    """Raise `ValueError` when an object of *raw* has two members of one name, `RecursionError` for one too deep."""
    json.loads(raw, object_pairs_hook=_members)


def _members(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) != len({name for name, _ in pairs}):
        raise ValueError("an object has two members of one name")


def one_line(raw: bytes) -> bytes:
    """JSON without line breaks: between its tokens they are white space, and within them there are none."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in raw or b"\r" in raw else raw


def encoded(value: Any) -> bytes:
    """*value* as JSON on one line. Raises `InterceptorFailed` for what JSON cannot say."""
    try:
        try:
            return _encode(value)
        except OverflowError:  # integers beyond 64 bits
            plain = msgspec.to_builtins(value, builtin_types=(Raw,)) if isinstance(value, Struct) else value
            return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_raw).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InterceptorFailed(f"what JSON cannot say: {str(error)[:_SHOWN]}") from None


def _raw(value: Any) -> Any:
    if isinstance(value, Raw):
        return json.loads(bytes(value))
    raise TypeError(f"`{type(value).__name__}` is not JSON")
