"""
What begins and ends is written down before it counts: together, once in a turn of the event loop.

One write for all that a turn brought costs a fraction of one for each, and making their records one after the other
less than making each between other things. Nobody goes on before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.chain import Edge
from mcpcompose.interceptors.base import Exchange
from mcpcompose.upstream.batch import after_batch
from mcpcompose.upstream.call import INTERNAL_ERROR, Reply, failure

if TYPE_CHECKING:
    from mcpcompose.audit.log import AuditLog

_Ending = tuple[str, Sequence[Mapping[str, Any]], float, Reply | None]
_Entry = tuple[Exchange, Mapping[str, Any] | None, _Ending | None]
"""A request with the parameters it began with, or with its outcome, decisions, seconds and answer."""
Then = Callable[[Reply | None], None]
"""Told that all is written, or given the answer in the place of a request that cannot be written down."""


class Ledger:
    """Writes into *audit* while it *keeps*; None never does."""

    def __init__(self, audit: AuditLog | None = None) -> None:
        self.audit = audit
        self.keeps = False
        self._gathered: list[_Entry] = []
        self._waiting: list[Then] = []
        self._is_due = False
        self._is_closed = False

    def began(self, exchange: Exchange, then: Then) -> bool:
        """A request begins; *then* is told when that is written. Whether it is: otherwise *then* is never told."""
        if not self.keeps or self.audit is None:
            return False
        if not self._is_due:
            self._due()
        self._gathered.append((exchange, exchange.params, None))
        self._waiting.append(then)
        return True

    def ended(  # noqa: PLR0917  the whole of an ending
        self,
        exchange: Exchange,
        outcome: str,
        decisions: Sequence[Mapping[str, Any]],
        seconds: float,
        reply: Reply | None,
        then: Then | None,
    ) -> None:
        """A request that `began` kept is over; *then* is told when that is written."""
        if self._is_closed:
            if then is not None:
                then(None)
            return
        if not self._is_due:
            self._due()
        self._gathered.append((exchange, None, (outcome, decisions, seconds, reply)))
        if then is not None:
            self._waiting.append(then)

    def write(self) -> None:
        """Write now; who waits is told in the next turn."""
        refused = self._written()
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            asyncio.get_running_loop().call_soon(_tell, waiting, refused)

    def close(self) -> None:
        """The gateway ends: what was gathered is written, and what began in this turn goes no further."""
        self._written()
        self.keeps, self._is_closed = False, True
        waiting, self._waiting = self._waiting, []
        _tell(waiting, failure(INTERNAL_ERROR, "the gateway ends", {"retryable": True}))
        if self.audit is not None:
            self.audit.close()

    def _due(self) -> None:
        asyncio.get_running_loop().call_soon(self._turn)
        self._is_due = True
        after_batch(self._turn)

    def _turn(self) -> None:
        if not self._is_due:  # what a server's output brought was written when all of it was read
            return
        self._is_due = False
        refused = self._written()
        waiting, self._waiting = self._waiting, []
        _tell(waiting, refused)

    def _written(self) -> Reply | None:
        """None, or what everybody who waits is answered: it is written as a whole or not at all."""
        gathered, self._gathered = self._gathered, []
        if self.audit is None or not gathered:
            return None
        with Edge() as edge:
            _write(self.audit, gathered)
        if edge.error is None:
            return None
        self.audit.forget()
        error = edge.error
        return _unwritten(error.message if isinstance(error, McpComposeError) else f"{type(error).__name__}: {error}")


def _write(audit: AuditLog, gathered: Sequence[_Entry]) -> None:
    for exchange, params, ending in gathered:
        if ending is not None:
            outcome, decisions, seconds, reply = ending
            audit.ended(
                id=exchange.id,
                outcome=outcome,
                decisions=decisions,
                seconds=seconds,
                error=_message(reply.error) if reply is not None and reply.error is not None else None,
                result=reply.result if reply is not None else None,
            )
        elif params is not None:
            arguments = params.get("arguments")
            audit.began(
                id=exchange.id,
                client=exchange.client,
                profile=exchange.profile,
                session=exchange.session.id,
                server=exchange.server,
                method=exchange.method,
                name=exchange.name,
                arguments=arguments if isinstance(arguments, dict) else None,
                modern=exchange.modern,
                direction=exchange.direction,
            )
    audit.write()


def _tell(waiting: Sequence[Then], refused: Reply | None) -> None:
    """Tell all of them; one that fails is its own failure, and the loop's to report."""
    told = 0
    try:
        for told, then in enumerate(waiting, 1):  # noqa: B007  how many, also after a failure
            then(refused)
    finally:
        if told < len(waiting):
            asyncio.get_running_loop().call_soon(_tell, waiting[told:], refused)


def _unwritten(why: str) -> Reply:
    return failure(
        INTERNAL_ERROR,
        "the audit log cannot be written, so the request is refused; tell the person to look at `mcp-compose ps`",
        {"retryable": True, "reason": why[:200]},
    )


def _message(error: bytes) -> str:
    try:
        return str(msgspec.json.decode(error).get("message", ""))[:4096]
    except (msgspec.MsgspecError, ValueError, AttributeError, RecursionError):
        return ""
