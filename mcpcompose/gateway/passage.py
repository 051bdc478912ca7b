"""
One request on its way through the interceptors, and its result on the way back.

Before: from the outermost to the innermost, then to the server. After: back from the innermost. An interceptor that
answers at once costs no task; one that waits gets a task that this request owns and ends with it. Nothing leaves
before every interceptor has let it, and before the audit log has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.gateway.asking import OpenQuestion, said_yes
from mcpcompose.gateway.chain import Edge, Link, Raised, isawaitable
from mcpcompose.gateway.inputs import UNREADABLE, Inputs, Said, is_more
from mcpcompose.gateway.verdict import broken, is_same_way, refusal, written
from mcpcompose.interceptors.base import (
    AskPerson,
    Change,
    Decision,
    Exchange,
    InterceptorFailed,
    Refuse,
    Respond,
    Warn,
)
from mcpcompose.upstream.call import Ask, Call, Reply

if TYPE_CHECKING:
    from mcpcompose.gateway.governance import Governance

_NOTHING: Final = Reply()


class Passage:
    """
    *call*'s way through *chain*; *submit* sends it on. It is the call's guard until the answer is there.

    The same for what a server asks a client: *call* stands for the question then, *submit* shows it, *deliver* takes
    the answer in the place of the call, and *show* puts a question of an interceptor to the client. Of *chain* only
    the first *ahead* are asked before, and all after.
    """

    __slots__ = ("_after", "_ahead", "_asking", "_begun", "_decisions", "_deliver", "_done", "_is_kept", "_outcome",
                 "_ready", "_reply", "_show", "_since", "_submit", "_task", "call", "chain", "exchange",
                 "governance")  # fmt: skip

    def __init__(  # noqa: PLR0917  what goes where, and who hears of it
        self,
        governance: Governance,
        chain: tuple[Link, ...],
        exchange: Exchange,
        call: Call,
        submit: Callable[[Call], None],
        deliver: Callable[[Reply], None] | None = None,
        show: Callable[[Ask], None] | None = None,
        ahead: int | None = None,
    ) -> None:
        self.governance = governance
        self.chain = chain
        self.exchange = exchange
        self.call = call
        self._submit = submit
        self._deliver = deliver
        self._show = show
        self._ahead = len(chain) if ahead is None else ahead
        self._task: asyncio.Task[None] | None = None
        self._asking: OpenQuestion | None = None
        self._decisions: list[dict[str, Any]] = []
        self._outcome = "ok"
        self._since = time.monotonic()
        self._after = -1
        """How far the way back is: the interceptor that is asked next; -1 while it has not begun."""
        self._done = False
        self._is_kept = False
        """Whether the audit log is told."""
        self._begun = False
        """Whether its beginning is written down, where that is kept."""
        self._ready = False
        """Whether every interceptor let it through."""
        self._reply = _NOTHING

    # --- before -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Write it down, and ask the first interceptor. Never raises."""
        self.call.guard = self
        for link in self.chain:
            link.users += 1
        self.exchange.session.users += 1
        self._is_kept = self.governance.ledger.began(self.exchange, self._written)
        self._begun = not self._is_kept
        self._before(0)

    def _written(self, refused: Reply | None) -> None:
        """Its beginning is in the audit log; or cannot be, so that it ends here."""
        if self._done:
            return
        if refused is not None:
            self._stop()
            self._done = True
            self._release()
            self._reply = refused
            self._leave(None)
            return
        self._begun = True
        if self._ready:
            with Edge() as edge:
                self._dispatch()
            if edge.error is not None:
                self._finish(broken(edge.error))

    def _before(self, at: int) -> None:
        chain = self.chain
        while at < self._ahead:
            link = chain[at]
            answer = link.ask(self.exchange, before=True)
            if answer is not None:
                if isinstance(answer, Raised):
                    answer = self._failed(link, answer.error)
                elif isawaitable(answer):
                    self._wait(link, answer, partial(self._go_on_before, at))
                    return
                if answer is not None and not self._decided_before(at, answer):
                    return
            at += 1
        if self._begun:
            self._dispatch()
        else:
            self._ready = True

    def _go_on_before(self, at: int, decision: Decision | None) -> None:
        if decision is None or self._decided_before(at, decision):
            self._before(at + 1)

    def _decided_before(self, at: int, decision: Decision) -> bool:
        """Whether the request goes on to the next interceptor."""
        link = self.chain[at]
        match decision:
            case Warn():
                self._note(link, "warned", decision.rule, decision.note)
                return True
            case Change(params=dict() as params) if is_same_way(self.exchange.params, params):
                self._note(link, "changed", decision.rule, decision.note)
                self.exchange.params = params
                return True
            case Refuse():
                self._refused(link, decision.message, decision.rule, at - 1)
            case Respond():
                self._note(link, "answered", decision.rule)
                self._outcome = "answered"
                self._come_back(Reply(result=decision.result), at - 1)
            case AskPerson():
                self._ask(link, decision, lambda: self._before(at + 1), at - 1)
            case _:
                failed = self._failed(link, TypeError("it answered what is not possible before a call"))
                return failed is None or self._decided_before(at, failed)
        return False

    def _dispatch(self) -> None:
        call = self.call
        if call.params is not self.exchange.params:
            call.params = dict(self.exchange.params)
        self._submit(call)

    # --- after ------------------------------------------------------------------------------------------------------

    def take(self, reply: Reply) -> None:
        """The last word of the server, or ours in its place; the first one counts."""
        if self._after < 0:
            if self._task is not None or self._asking is not None:
                self._stop()
            if reply.error is not None and self._outcome == "ok":
                self._outcome = "error"
            if reply.result is not None and (is_more(reply) or "task" in self.exchange.params):
                self._came(reply)
            else:
                self._come_back(reply, len(self.chain) - 1)

    def _came(self, reply: Reply) -> None:
        """A result that may be no last word: a task, or questions to the client."""
        said, exchange, last = Said(reply), self.exchange, len(self.chain) - 1
        if said.task is not None and exchange.method == "tools/call" and exchange.name is not None:
            self.governance.began_task(exchange.server, said.task, exchange.name)
        if said.asks:
            self._after = max(last, 0)
            self._task = asyncio.get_running_loop().create_task(self._govern_inputs(said))
        else:
            self._come_back(said.reply, last)

    async def _govern_inputs(self, said: Said) -> None:
        """What a modern server asks of a modern client is in its result; each question passes as one would."""
        changed: bytes | Reply = UNREADABLE
        with Edge():
            changed = await Inputs(self.governance, self.exchange, self.call.origin).passed(said.questions)
        self._task = None
        if self._done:
            return
        if isinstance(changed, bytes):
            reply = said.asking(changed)
        else:
            self._outcome = "refused"
            reply = changed
        self._come_back(reply, len(self.chain) - 1)

    def gave_up(self, reply: Reply) -> None:
        """Nobody waits for it any more, or its time is over: *reply* has been given."""
        self._stop()
        self._outcome = "cancelled"
        self._close(reply)

    def _come_back(self, reply: Reply, at: int) -> None:
        self._after = max(at, 0)
        exchange = self.exchange
        exchange.result, exchange.error = reply.result, reply.error
        while at >= 0:
            link = self.chain[at]
            answer = link.ask(exchange, before=False)
            if answer is not None:
                if isinstance(answer, Raised):
                    answer = self._failed(link, answer.error)
                elif isawaitable(answer):
                    self._wait(link, answer, partial(self._go_on_after, at, reply))
                    return
                changed = reply if answer is None else self._decided_after(at, answer, reply)
                if changed is None:
                    return
                reply = changed
            at -= 1
        self._finish(reply)

    def _go_on_after(self, at: int, reply: Reply, decision: Decision | None) -> None:
        changed = reply if decision is None else self._decided_after(at, decision, reply)
        if changed is not None:
            self._come_back(changed, at - 1)

    def _decided_after(self, at: int, decision: Decision, reply: Reply) -> Reply | None:
        """The reply that goes on to the next interceptor; None when it does not, for now."""
        link = self.chain[at]
        match decision:
            case Warn():
                self._note(link, "warned", decision.rule, decision.note)
                return reply
            case Change(result=bytes() as result):
                self._note(link, "changed", decision.rule, decision.note)
                changed = Reply(result=result, era=reply.era)
            case Change(error=bytes() as error):
                self._note(link, "changed", decision.rule, decision.note)
                changed = Reply(error=error, era=reply.era)
            case Refuse():
                self._note(link, "refused", decision.rule, decision.message)
                self._outcome = "refused"
                changed = refusal(self.exchange.method, link.label, decision.message, decision.rule)
            case AskPerson():
                self._ask(link, decision, lambda: self._come_back(reply, at - 1), at - 1)
                return None
            case _:
                failed = self._failed(link, TypeError("it answered what is not possible after a call"))
                return reply if failed is None else self._decided_after(at, failed, reply)
        self.exchange.result, self.exchange.error = changed.result, changed.error
        return changed

    def _finish(self, reply: Reply) -> None:
        """Write it down and answer; what cannot be written down is not answered."""
        if not self._done:
            if self._task is not None or self._asking is not None:
                self._stop()
            self._done = True
            self._release()
            self._reply = reply
            if self._is_kept:
                self._ended(reply, self._leave)
            else:
                self._leave(None)

    def _leave(self, refused: Reply | None) -> None:
        """The answer leaves; *refused* in its place."""
        reply = refused or self._reply
        self.call.guard = self.call.driver = None
        self.call.finish(reply)
        if self._deliver is not None:
            self._deliver(reply)

    def _close(self, reply: Reply) -> None:
        if not self._done:
            self._done = True
            self._release()
            if self._is_kept:
                self._ended(reply, None)

    def _ended(self, reply: Reply, then: Callable[[Reply | None], None] | None) -> None:
        seconds = time.monotonic() - self._since
        self.governance.ledger.ended(self.exchange, self._outcome, self._decisions, seconds, reply, then)

    def _release(self) -> None:
        for link in self.chain:
            link.users -= 1
            if link.retired:
                link.freed()
        self.governance.sessions.let_go(self.exchange.session)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _wait(self, link: Link, answer: Awaitable[Decision | None], then: Callable[[Decision | None], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._waited(link, answer, then))

    async def _waited(
        self, link: Link, answer: Awaitable[Decision | None], then: Callable[[Decision | None], None]
    ) -> None:
        decision = None
        with Edge() as edge:
            try:
                decision = await link.wait(answer)
            except asyncio.CancelledError as error:
                if self._done or (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                raise InterceptorFailed("what it waits for was cancelled") from error
        if edge.error is not None:
            decision = self._failed(link, edge.error)
        self._task = None
        if not self._done:
            with Edge() as edge:
                then(decision)
            if edge.error is not None:
                self._finish(broken(edge.error))

    def _ask(self, link: Link, decision: AskPerson, then: Callable[[], None], refused_from: int) -> None:
        """Ask the person at the client, for as long as a server's question may wait."""

        def answered(reply: Reply) -> None:
            self._asking = None
            if self._done or (asking.ask.abandoned and self._show is None):  # given up: `gave_up` comes next
                return
            if not said_yes(reply):
                self._refused(link, decision.refusal, decision.rule, refused_from)
                return
            self._note(link, "asked", decision.rule, "the person said yes")
            with Edge() as edge:
                if decision.accepted is not None:
                    decision.accepted()
            failed = self._failed(link, edge.error) if edge.error is not None else None
            if isinstance(failed, Refuse):
                self._refused(link, failed.message, failed.rule, refused_from)
            else:
                then()

        self._asking = asking = OpenQuestion(decision.question, self.call.allowance.parked, answered)
        if self._show is not None:
            self._show(asking.ask)
        else:
            self.call.show(asking.ask, time.monotonic())

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._asking is not None:
            asking, self._asking = self._asking, None
            asking.withdraw()

    # --- what is decided --------------------------------------------------------------------------------------------

    def _failed(self, link: Link, error: Exception) -> Decision | None:
        """What becomes of a request whose interceptor failed."""
        said = link.failed(error)
        self._note(link, "failed", None, said)
        self.governance.reported(link)
        if link.spec.on_failure == "allow":
            return None
        return Refuse(
            f"the interceptor `{link.label}` failed ({said}), so this was refused; tell the person", "failure"
        )

    def _refused(self, link: Link, message: str, rule: str | None, at: int) -> None:
        self._note(link, "refused", rule, message)
        self._outcome = "refused"
        self._come_back(refusal(self.exchange.method, link.label, message, rule), at)

    def _note(self, link: Link, what: str, rule: str | None, text: str | None = None) -> None:
        self._decisions.append(written(link.label, what, rule, text))

    # --- what the server says before its answer ----------------------------------------------------------------------

    def asked(self, ask: Ask, now: float) -> None:
        """The server asks the client something."""
        exchange, show = self.exchange, partial(self.call.show, now=now)
        self.governance.asked(exchange.server, self.call.origin, ask, show, exchange.profile)

    def noted(self, method: str, params: bytes) -> bytes | None:
        """The server says something; returns what is passed on of it."""
        return self.governance.said(self.exchange.server, self.call.origin, method, params, self.exchange.profile)
