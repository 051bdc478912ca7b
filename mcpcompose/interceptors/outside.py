"""
What interceptors outside of this program have in common: the request is told as JSON, and the answer read strictly.

Notifications are not told: nothing waits for an answer about them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from mcpcompose.interceptors import contract, docker_format
from mcpcompose.interceptors.base import Around, Decision, Exchange, InterceptorFailed, Quiet
from mcpcompose.interceptors.contract import AFTER, BEFORE, Phase
from mcpcompose.spec.interceptor import Interceptor as Spec
from mcpcompose.spec.template import secret_names

_NOTIFICATIONS: Final = "notifications/"
_SMALL: Final = 32 << 10
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Outside(Quiet):
    """Asks somebody else; *ask* of a subclass sends one question and returns the answer's bytes."""

    def __init__(self, spec: Spec, around: Around) -> None:
        self.spec = spec
        self.around = around
        self.docker = spec.format == "docker"
        if self.docker and spec.keep:
            raise InterceptorFailed(
                "`format: docker` does not go with `keep: true`: its replies do not say which request they are for"
            )
        self._numbers = itertools.count(1)

    def follow(self, around: Around) -> None:
        """The file was read again, and says the same of this one; what is around it may be new."""
        self.around = around

    async def ask(self, payload: bytes, id_: str) -> bytes:
        """The answer to one question. Raises `InterceptorFailed`."""
        raise NotImplementedError

    def before(self, exchange: Exchange) -> Any:
        """Ask before the request goes on."""
        return self._asked(exchange, BEFORE)

    def after(self, exchange: Exchange) -> Any:
        """Ask after the result came."""
        return self._asked(exchange, AFTER)

    def _asked(self, exchange: Exchange, phase: Phase) -> Any:
        if exchange.method.startswith(_NOTIFICATIONS) or (self.docker and not docker_format.asks(exchange)):
            return None
        return self._decided(exchange, phase, str(next(self._numbers)))

    async def _decided(self, exchange: Exchange, phase: Phase, id_: str) -> Decision | None:
        came = exchange.result if exchange.result is not None else exchange.error or b""
        payload = await _beside(len(came) if phase == AFTER else 0, self._question, exchange, phase, id_)
        raw = await self.ask(payload, id_)
        if len(raw) > self.spec.output:
            raise too_much(self.spec.output)
        if self.docker:
            return await _beside(len(raw), docker_format.answer, raw, exchange, phase)
        answered = await _beside(len(raw), contract.read, raw)
        if answered.id not in {None, id_}:
            raise InterceptorFailed("it answered another question: the `id` is not the one it was asked with")
        return contract.decision(answered, exchange, phase)

    def _question(self, exchange: Exchange, phase: Phase, id_: str) -> bytes:
        if phase == AFTER:
            contract.refuse_ambiguous(exchange.result if exchange.result is not None else exchange.error)
        return docker_format.question(exchange, phase) if self.docker else contract.question(exchange, phase, id_)


async def _beside(size: int, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """*work*, in a thread when it is about so much that everybody else would have to wait."""
    if size > _SMALL:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)


def too_much(limit: int) -> InterceptorFailed:
    """It answered more than it may."""
    return InterceptorFailed(f"it answered more than {limit} bytes, which is its `output` limit")


def line_id(line: bytes) -> str | None:
    """Which question a line answers; None when that cannot be told."""
    try:
        return _read_id(line).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _WithId(msgspec.Struct, gc=False):
    id: str


_read_id: Final = msgspec.json.Decoder(_WithId).decode


def refuse_secrets(kind: str, words: Iterable[str]) -> None:
    """Raise `InterceptorFailed` when a word that everybody on this machine can read would hold a secret."""
    for word in words:
        if names := secret_names(word):
            raise InterceptorFailed(
                f"`{kind}` holds the secret `{min(names)}`, which every process of this machine could read",
                hint="give it as a variable: `secrets: [{source: NAME, env: VARIABLE}]`",
            )


class Variables:
    """The environment variables of one interceptor: what it lists, and nothing else; *around* is what is there now."""

    def __init__(self, spec: Spec, around: Callable[[], Around]) -> None:
        self._label, self._around = spec.label, around
        self._templates = {key: f"${{{key}}}" if text is None else text for key, text in spec.environment.items()}
        for use in spec.secrets:
            if use.env is None:
                raise InterceptorFailed(
                    f"secret `{use.source}` has no `env`: interceptors get secrets as variables",
                    hint=f"say `secrets: [{{source: {use.source}, env: VARIABLE}}]`",
                )
            self._templates[use.env] = f"${{secret:{use.source}}}"

    async def values(self) -> dict[str, str]:
        """What they are now. Raises `McpComposeError` for a secret that is missing."""
        return {key: await self.text(template) for key, template in self._templates.items()}

    async def words(self, words: Iterable[str]) -> list[str]:
        """*words* with their variables."""
        return [await self.text(word) for word in words]

    async def text(self, template: str) -> str:
        """One text with the values of its references."""
        return await self._around().expand(self._label, template) if "$" in template else template
