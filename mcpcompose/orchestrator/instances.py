"""What the supervisor asks for between rounds: run an instance again, let it rest, start further ones."""

from __future__ import annotations

from collections.abc import Callable

from mcpcompose.engine.base import Endpoint
from mcpcompose.errors import InstanceMissing
from mcpcompose.orchestrator.restarts import Restart, Restarts
from mcpcompose.orchestrator.round import Ready
from mcpcompose.orchestrator.rounds import Rounds


class Instances:
    """
    The instances of what is to run now. All raise `McpComposeError`.

    *good* is the last good file, None while nothing is to run; *look* asks for a round.
    """

    def __init__(
        self,
        rounds: Rounds,
        restarts: Restarts,
        good: Callable[[], Ready | None],
        look: Callable[[], None],
    ) -> None:
        self._rounds, self._restarts = rounds, restarts
        self._good, self._look = good, look

    async def restart(self, server: str) -> Endpoint:
        """
        Run one server's instance again, also one that rests.

        An instance that is gone is made again; a server that is not declared or was stopped is refused.
        """
        return await self._restarts.run(server, self._run_again)

    async def start_copy(self, server: str) -> tuple[str, Endpoint]:
        """Start a further instance of *server* for somebody who needs one alone, and name it."""
        return await self._rounds.copies.start(server)

    async def stop_copy(self, server: str, copy: str) -> None:
        """Stop and remove a further instance; what is gone is success."""
        await self._rounds.copies.stop(server, copy)

    async def rest(self, server: str) -> None:
        """Stop a server that nobody uses; that is as it is to be until it is restarted."""
        await self._restarts.run(server, self._let_rest)

    async def _run_again(self, server: str, restart: Restart) -> Endpoint:
        ready, engine = self._to_run(server), self._rounds.engine
        spec = ready.instance(server)
        if spec is None or engine is None:
            return await ready.remote(server)
        rounds = self._rounds
        rounds.resting.discard(server)
        await engine.stop_instance(spec.name, spec.stop_grace_period)
        values = await ready.values(spec.name)
        try:
            endpoint = await engine.start_instance(spec.name, values)
        except InstanceMissing:
            rounds.attended.discard(server)
            self._look()
            raise
        if restart.is_unwanted or not self._is_to_run(server):
            await engine.stop_instance(spec.name, spec.stop_grace_period)
            rounds.attended.discard(server)
            self._look()
            raise InstanceMissing(f"server `{server}` is no longer to run")
        rounds.attended.add(server)
        rounds.errors.pop(server, None)
        return endpoint

    async def _let_rest(self, server: str, restart: Restart) -> None:
        rounds, spec = self._rounds, self._to_run(server).instance(server)
        if restart.is_unwanted or spec is None or rounds.engine is None:
            raise InstanceMissing(f"server `{server}` is not to rest")
        rounds.resting.add(server)
        try:
            await rounds.engine.stop_instance(spec.name, spec.stop_grace_period)
        except BaseException:
            rounds.resting.discard(server)
            raise

    def _to_run(self, server: str) -> Ready:
        good = self._good()
        if good is None or not self._is_to_run(server):
            raise InstanceMissing(f"server `{server}` is not to run")
        return good

    def _is_to_run(self, server: str) -> bool:
        good = self._good()
        return good is not None and server in good.project.servers and server not in self._rounds.stopped
