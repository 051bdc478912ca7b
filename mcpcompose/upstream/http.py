"""
Speak streamable HTTP to a server: one exchange per request over one client, nothing shared between exchanges.

Redirects are not followed, answers and their decompression are bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx2

from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.spec.limits import exceeded, size
from mcpcompose.upstream.allowance import Allowance, default_allowance
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.body import BodyTooLarge, advice, whole
from mcpcompose.upstream.call import INVALID_PARAMS, Call, Origin, Reply, failure, unavailable
from mcpcompose.upstream.connection import Watcher, wording
from mcpcompose.upstream.events import Events, brings_events
from mcpcompose.upstream.headers import Annotations, annotated, outgoing
from mcpcompose.upstream.http_client import HttpClient, http_client
from mcpcompose.upstream.incoming import Incoming
from mcpcompose.upstream.own_stream import OwnStream
from mcpcompose.upstream.presence import look_after, why_gone
from mcpcompose.upstream.session import greeted_again, session_id
from mcpcompose.upstream.wire import (
    HANDSHAKE_VERSIONS,
    Message,
    initialize_params,
    notification,
    read_message,
    request,
    request_params,
)

LOOK: Final = 3.0
"""Seconds between looks whether an instance still listens."""
_MISMATCH: Final = b"-32020"
"""`HeaderMismatch` of 2026-07-28."""
_RELEARN_SECONDS: Final = 5.0
_JSON: Final = "application/json"


class HttpConnection:
    """
    A server at a URL.

    *client* is one that several connections share, whose owner closes it. With *origin* the conversation is for that
    client alone: it shakes hands with its capabilities, and others look whether the instance is still there.
    """

    def __init__(
        self,
        server: str,
        endpoint: HttpEndpoint,
        watcher: Watcher,
        *,
        allowance: Allowance | None = None,
        client: HttpClient | None = None,
        origin: Origin | None = None,
        connect: float = 10.0,
        remote: bool = False,
        look: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.era = Era.LEGACY
        self.version = HANDSHAKE_VERSIONS[-1]
        self.pending: dict[str, Call] = {}
        self.unreachable: str | None = None
        self.is_away = False
        self._server = server
        self._url = endpoint.url
        self._target = httpx2.URL(endpoint.url)
        self._watcher = watcher
        self._allowance = allowance or default_allowance(server)
        self._clock = clock
        self._session: str | None = None
        self._number = 0
        self._header_arguments: dict[str, Annotations] = {}
        self._learned = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[Any]] = set()
        self._notified: asyncio.Task[Any] | None = None
        self._reopening = asyncio.Lock()
        self._greeted = False
        self._checking: asyncio.Task[Any] | None = None
        self._listening: asyncio.Task[Any] | None = None
        self._look = LOOK if look is None else look
        self._remote = remote
        self._origin = origin
        self._incoming = Incoming(watcher, lambda answer: self._tell(answer, ""), clock)
        self._shares_client = client is not None
        self._client = client or http_client(endpoint.headers, connect=connect, remote=remote)
        self._stream = OwnStream(
            self._client,
            self._url,
            lambda: self._headers("", {}),
            lambda message: self._take_other("", None, message),
            self._doubt,
        )

    # --- calls ------------------------------------------------------------------------------------------------------

    def begin(self, call: Call) -> None:
        """Start the exchange."""
        self._number += 1
        id_ = f"gw-{self._number}"
        self.pending[id_] = call
        call.began(self._clock(), lambda _call, reason: self._forget(id_, reason))
        self._tasks[id_] = asyncio.create_task(self._exchange(id_, call))

    def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Post a notification; requests begun later wait for it."""
        self._notified = self._tell(notification(method, params), method)

    def expire(self, call: Call) -> None:
        """Its time is over."""
        text = f"server `{self._server}` did not answer in time"
        call.give_up(unavailable(self._server, text, reason="timeout"), "timeout")

    def greeted(self, era: Era, version: str) -> None:
        """The handshake is done, or tried with this era."""
        self.era = era
        self.version = version

    def learned(self, lists: ServerLists) -> None:
        """Remember which arguments go into headers; listen for changes (legacy)."""
        self._header_arguments = annotated(lists.tools)
        self._learned.set()
        if not self._greeted:
            self._greeted = True
            if self.era is Era.LEGACY and self._origin is None:
                self.hear()
            if not self._remote and self._origin is None:
                self._spawn(look_after(self._url, self._look, self._is_silent, self._doubt))

    @property
    def is_stateless(self) -> bool:
        """Whether the server remembers nothing of a conversation: one serves all clients then."""
        return self._session is None

    def hear(self) -> None:
        """Listen to what a legacy server says outside of exchanges, if it does."""
        if self._listening is None:
            self._listening = self._spawn(self._stream.listen(self._allowance.result))

    def gone(self, reason: str) -> None:
        """Its instance has ended, which an exchange may not notice for long."""
        self._session = None
        for id_ in tuple(self.pending):
            self._fail(id_, f"went away during the call: {reason}")
        self._watcher.lost(reason)

    async def close(self, reason: str) -> None:
        """End exchanges and the server's session."""
        self._incoming.questions.close()
        calls, self.pending = self.pending, {}
        for call in calls.values():
            call.finish(unavailable(self._server, f"server `{self._server}` went away during the call: {reason}"))
        tasks = [*self._tasks.values(), *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._client.end_session(self._url, self._headers("", {}))
        if not self._shares_client:
            await self._client.aclose()

    def _forget(self, id_: str, reason: str) -> None:
        """Closing the exchange says it to a modern server; a legacy one is told."""
        self.pending.pop(id_, None)
        task = self._tasks.get(id_)
        if task is not None:
            task.cancel()
        if self.era is Era.LEGACY:
            message = notification("notifications/cancelled", {"requestId": id_, "reason": reason})
            self._tell(message, "notifications/cancelled")

    # --- one exchange -----------------------------------------------------------------------------------------------

    async def _exchange(self, id_: str, call: Call) -> None:
        """Whatever happens, the call is finished at the end."""
        try:
            if self._notified is not None and not self._notified.done():
                await asyncio.wait({self._notified})
            session = self._session
            if not await self._post(id_, call):
                if failed := await asyncio.shield(self._spawn(self._reopen(session))):
                    self._fail(id_, failed)
                else:
                    await self._post(id_, call)
            self._fail(id_, "ended its answer without a result")
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self.is_away = True
            self._break(id_, f"cannot be reached: {wording(error)}")
        except (httpx2.TransportError, httpx2.StreamError) as error:
            self._break(id_, f"broke the exchange off: {wording(error)}")
        except BodyTooLarge as error:
            self._fail(id_, f"{wording(error)} (`{self._allowance.result_key}`)")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            self._fail(id_, wording(error))
        except (ValueError, TypeError, RecursionError) as error:
            if self.pending.pop(id_, None) is not None:
                call.finish(failure(INVALID_PARAMS, f"the request cannot be sent: {error}"))
        finally:
            self._fail(id_, "broke the exchange off")
            self._tasks.pop(id_, None)

    def _fail(self, id_: str, what: str) -> None:
        """Answer in the server's place, unless it has answered: the call may be elsewhere by now."""
        call = self.pending.pop(id_, None)
        if call is not None:
            call.finish(unavailable(self._server, f"server `{self._server}` {what}"))

    def _break(self, id_: str, what: str) -> None:
        self.unreachable = what
        self._fail(id_, what)
        self._doubt()

    def _doubt(self) -> None:
        """Look whether it is still there."""
        if self._greeted and (self._checking is None or self._checking.done()):
            self._checking = self._spawn(self._check())

    async def _check(self) -> None:
        """One call that fails costs no other; the server is lost when it cannot be connected to several times."""
        if why := await why_gone(self._client, self._url, self._headers("", {})):
            self.unreachable = why
            self._watcher.lost(why)

    async def _post(self, id_: str, call: Call) -> bool:
        """Send it and take the answer. False when the server does not know our session any more."""
        params = request_params(call, id_, self.era, self.version)
        content = request(id_, call.method, params)
        most = self._allowance.limits.body
        if most is not None and len(content) > most:
            raise ValueError(exceeded("it is too large", size(most), self._allowance.key("body")))
        headers = self._headers(call.method, params)
        seen = {} if self._greeted else {"trace": self._connected}
        response = await self._client.exchange(self._target, headers, content, seen)
        try:
            if response.status_code == httpx2.codes.NOT_FOUND and "mcp-session-id" in headers:
                return False
            if call.method == "initialize" and response.is_success:
                self._session = session_id(response)
            rest = await self._take(id_, call, response)
        finally:
            await response.aclose()
        if rest is not None:
            await self._go_on(id_, call, rest)
        return True

    async def _connected(self, event: str, _details: object) -> None:
        """A server that takes the request and is silent can be reached."""
        if event.endswith("send_request_headers.started"):
            self.unreachable = None
            self.is_away = False

    async def _take(self, id_: str, call: Call, response: httpx2.Response) -> Events | None:
        """Take the answer; returns what to go on with when only its beginning came."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.is_redirect:
            self._fail(id_, "redirects to another address, which is not followed")
        elif brings_events(response):
            events = Events(self._allowance.result)
            if not await self._take_events(id_, call, response, events):
                return events
        else:
            body = await whole(response, self._allowance.result)
            message = read_message(body) if kind == _JSON else None
            if message is None or not self._settle(id_, call, message, alone=True):
                self._fail(id_, f"answered with HTTP status {response.status_code}{advice(response.status_code)}")
        return None

    async def _take_events(self, id_: str, call: Call, response: httpx2.Response, events: Events) -> bool:
        """Whether the answer was among them; a stream that is broken off is closed too early, too."""
        try:
            async for message in events.messages(response):
                if message.method is not None:
                    self._take_other(id_, call, message)
                    await self._incoming.answered()
                elif self._settle(id_, call, message):
                    return True
        except (httpx2.TransportError, httpx2.StreamError):
            if self.era is Era.MODERN or not events.goes_on:
                raise
            self._doubt()
        else:
            if self.era is Era.LEGACY and events.goes_on:
                call.paused(events.retry, self._clock())
        return False

    async def _go_on(self, id_: str, call: Call, events: Events) -> None:
        """Ask for the rest of an answer, when the server wants to be asked."""
        while self.era is Era.LEGACY and events.goes_on and id_ in self.pending:
            await asyncio.sleep(events.retry / 1000)
            headers = self._headers("", {}) | events.headers
            async with self._client.stream("GET", self._url, headers=headers) as response:
                if not brings_events(response):
                    self._fail(id_, f"did not go on with its answer: HTTP status {response.status_code}")
                elif await self._take_events(id_, call, response, events):
                    return

    def _settle(self, id_: str, call: Call, message: Message, *, alone: bool = False) -> bool:
        """Take an answer; an error that is alone in a body may have no id."""
        result, error = bytes(message.result), bytes(message.error)
        if error and (message.id == id_ or (alone and message.id is None)):
            reply = Reply(error=error, era=self.era)
        elif result and message.id == id_:
            reply = Reply(result=result, era=self.era)
        else:
            return False
        self.pending.pop(id_, None)
        if error and self.era is Era.MODERN and _MISMATCH in error and not call.repeated:
            call.repeated = True
            self._spawn(self._once_more(call))
        else:
            call.finish(reply)
        return True

    async def _once_more(self, call: Call) -> None:
        """The server misses headers, which its tool list names: read it, then try again (transports, 2026-07-28)."""
        self._learned.clear()
        self._watcher.notified("notifications/tools/list_changed", b"")
        try:
            async with asyncio.timeout(_RELEARN_SECONDS):
                await self._learned.wait()
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            call.finish(unavailable(self._server, f"server `{self._server}` went away during the call"))
            raise
        if call.reply is None:
            self.begin(call)

    def _take_other(self, id_: str, call: Call | None, message: Message) -> None:
        """What comes on the stream of *call*, or of none, and is no answer."""
        own = self._origin is not None or self.is_stateless
        if call is None and message.id is not None and self._origin is not None and self._watcher.asked is None:
            theirs = (one for one in reversed(self.pending.values()) if one.origin is not None)
            call = next(theirs, None)  # a client without a session can be asked within a call only
        self._incoming.take(message, call, id_, own=own)

    # --- around exchanges -------------------------------------------------------------------------------------------

    def _headers(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        return outgoing(self.era, self.version, method, params, session=self._session, tools=self._header_arguments)

    def _tell(self, content: bytes, method: str) -> asyncio.Task[Any]:
        """Post what has no answer."""
        return self._spawn(self._client.post_quietly(self._target, self._headers(method, {}), content))

    def _is_silent(self) -> bool:
        return not (self.pending or self._stream.is_open)

    async def _reopen(self, gone: str | None) -> str | None:
        """
        Shake hands again, once for all calls that found the session gone. The refused calls were not carried out.

        Returns what went wrong; the connection is lost then, so that the handshake is tried again from the start.
        """
        async with self._reopening:
            if self._session != gone:
                return None
            id_ = f"gw-again-{self._number}"
            call = Call("initialize", {**initialize_params(self._origin), "protocolVersion": self.version})
            self.pending[id_] = call
            try:
                lost = await greeted_again(call, self._post(id_, call))
            finally:
                self.pending.pop(id_, None)
            if lost is not None:
                self._session = gone
                self._watcher.lost(lost)
                return lost
            await self._tell(notification("notifications/initialized"), "notifications/initialized")
        self._renewed()
        return None

    def _renewed(self) -> None:
        """What a new session offers may be something else, and its stream is another one."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = self._spawn(self._stream.listen(self._allowance.result))
        for kind in ("tools", "prompts", "resources"):
            self._watcher.notified(f"notifications/{kind}/list_changed", b"")
        self._watcher.renewed()

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task
