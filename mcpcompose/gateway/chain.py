"""The interceptors of a project as the pipeline has them: made, counted, bounded, and what went wrong with each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, Final, Self

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import Answer, Around, Decision, Exchange, Interceptor, InterceptorFailed, Quiet
from mcpcompose.interceptors.registry import make
from mcpcompose.spec.interceptor import Interceptor as Spec
from mcpcompose.upstream.base import readable

_KEPT: Final = 400
_DEFINING: Final = frozenset({"sanitize", "annotate", "secret-scan"})


class Broken(Quiet):
    """Stands where an interceptor could not be made: every request fails there."""

    def __init__(self, why: str) -> None:
        self._why = why

    def before(self, exchange: Exchange) -> Answer:  # noqa: ARG002
        """Fail."""
        raise InterceptorFailed(self._why)

    def after(self, exchange: Exchange) -> Answer:  # noqa: ARG002
        """Fail."""
        raise InterceptorFailed(self._why)


class BrokenDefinitions(Broken):
    """In place of one that treats definitions: none is shown."""

    def item(self, server: str, kind: str, item: Any) -> Any:  # noqa: ARG002
        """Fail."""
        raise InterceptorFailed(self._why)


class Edge:
    """One interceptor's edge: whatever it raises is its failure, kept in *error*, and never the gateway's."""

    error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is None:
            return False
        if isinstance(error, Exception):
            self.error = error
        return self.error is not None


class Raised:
    """What an interceptor raised, in the place of its answer."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Link:
    """
    One interceptor in the chain.

    *problem* is the last thing that went wrong, *failures* how often something did; *problems* is told of changes.
    """

    __slots__ = ("_after", "_before", "_closer", "_slots", "failures", "interceptor", "label", "last", "problem",
                 "retired", "spec", "users")  # fmt: skip

    def __init__(self, spec: Spec, label: str, interceptor: Interceptor) -> None:
        self.spec = spec
        self.label = label
        self.interceptor = interceptor
        self.problem: str | None = None
        self.failures = 0
        self.last = 0.0
        self.users = 0
        """Requests that go through it, counted by whoever sends them; of a retired one `freed` is told of each end."""
        self.retired = False
        self._before = interceptor.before if spec.when != "after" else None
        self._after = interceptor.after if spec.when != "before" else None
        self._slots = asyncio.Semaphore(spec.concurrency)
        self._closer: Callable[[Link], None] | None = None

    @property
    def is_broken(self) -> bool:
        """It could not be made."""
        return isinstance(self.interceptor, Broken)

    def ask(self, exchange: Exchange, *, before: bool) -> Answer | Raised:
        """What it says at once; whatever it raises is its failure, and never the gateway's."""
        asked = self._before if before else self._after
        if asked is None:
            return None
        try:
            return asked(exchange)
        except Exception as error:  # noqa: BLE001  what it raises is an answer; `Edge` costs every call 1 µs
            return Raised(error)

    async def wait(self, answer: Awaitable[Decision | None]) -> Decision | None:
        """Its answer, within its time and with no more at once than it may have. Raises `TimeoutError` too."""
        try:
            async with asyncio.timeout(self.spec.timeout), self._slots:
                return await answer
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()  # of a coroutine that never began

    def failed(self, error: BaseException) -> str:
        """Remember what went wrong; returns it for people."""
        if isinstance(error, TimeoutError):
            said = f"no answer within {self.spec.timeout:g} s"
        elif isinstance(error, McpComposeError):
            said = error.message
        else:
            said = f"{type(error).__name__}: {error}"
        self.problem, self.last = readable(said)[:_KEPT], time.time()
        self.failures += 1
        return self.problem

    def freed(self) -> None:
        """A request is through; it ends after the last one."""
        if self.retired and not self.users and self._closer is not None:
            self._closer(self)

    def retire(self, closer: Callable[[Link], None]) -> None:
        """It is no longer in the file: *closer* is told when the last request is through."""
        self.retired, self._closer = True, closer
        if not self.users:
            closer(self)

    def as_json(self) -> dict[str, Any]:
        """For `ps`."""
        return {"name": self.label, "problem": self.problem, "count": self.failures, "last": self.last}


class Links:
    """All of a project, in the file's order; those that stay as they were are kept, with what they remember."""

    def __init__(self) -> None:
        self.all: tuple[Link, ...] = ()
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, specs: Sequence[Spec], around: Around) -> None:
        """The file says *specs* now. One that cannot be made fails every request that it should see."""
        kept = list(self.all)
        links: list[Link] = []
        names: dict[str, int] = {}
        for spec in specs:
            names[spec.label] = number = names.get(spec.label, 0) + 1
            label = spec.label if number == 1 else f"{spec.label}-{number}"
            same = next((one for one in kept if one.spec == spec and one.label == label and not one.is_broken), None)
            if same is not None:
                kept.remove(same)
                if (follow := getattr(same.interceptor, "follow", None)) is not None:
                    follow(around)
            links.append(same or _made(spec, label, around))
        self.all = tuple(links)
        for link in kept:
            link.retire(self._close)

    async def close(self) -> None:
        """End them all."""
        links, self.all = self.all, ()
        await asyncio.gather(*(link.interceptor.close() for link in links), *self._closing, return_exceptions=True)

    def _close(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(link.interceptor.close(), name=f"close {link.label}")
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()


def _made(spec: Spec, label: str, around: Around) -> Link:
    try:
        return Link(spec, label, make(spec, around))
    except (McpComposeError, ImportError, ValueError, TypeError) as error:
        said = error.message if isinstance(error, McpComposeError) else str(error)
        made = BrokenDefinitions if spec.use in _DEFINING else Broken
        link = Link(spec, label, made(f"it could not be made: {said}"))
        link.problem, link.last, link.failures = readable(said)[:_KEPT], time.time(), 1
        return link


__all__ = ["Edge", "Link", "Links", "Raised", "isawaitable"]
