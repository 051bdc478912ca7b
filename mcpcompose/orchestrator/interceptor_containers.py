"""
Containers of `image` interceptors: `<project>-_<interceptor>-2`, `-3`, and so on, owned like a server's instances.

While this process holds one, rounds leave it alone; what a crashed run left behind is a stray like any other. No
network, nothing mounted, the hardened defaults: what such a container sees is what it is told.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable
from typing import Final

from mcpcompose.engine.base import ByteStream, Engine, InstanceSpec, RegistryImage, Stdio, StreamEndpoint
from mcpcompose.errors import EngineError, InstanceMissing, McpComposeError, NameTaken
from mcpcompose.log import fields
from mcpcompose.orchestrator.round import Ready
from mcpcompose.orchestrator.rounds import Rounds
from mcpcompose.orchestrator.signed import refuse_unsigned
from mcpcompose.spec.identity import HASH_LABEL, instance_name
from mcpcompose.spec.interceptor import Interceptor

_log: Final = logging.getLogger(__name__)
_FIRST: Final = 2
"""An instance with number 1 is a server's own, which rounds look after."""
_TAKEN: Final = 64
_PLAIN: Final = re.compile(r"[^a-z0-9-]+")


class InterceptorContainers:
    """Makes and removes them (`interceptors.container.Containers`); *good* is what is to run."""

    def __init__(self, rounds: Rounds, good: Callable[[], Ready | None]) -> None:
        self._rounds, self._good = rounds, good
        self._held: dict[str, Engine] = {}
        self._numbers = itertools.count(_FIRST)

    @property
    def names(self) -> frozenset[str]:
        """The names that are held."""
        return frozenset(self._held)

    async def prepare(self, spec: Interceptor) -> None:
        """Make its image be there. Raises `McpComposeError`."""
        ready, engine = await self._where()
        made = self._spec(ready, spec, 0)
        await refuse_unsigned(made, ready.verify)
        if isinstance(made.source, RegistryImage):
            await engine.ensure_image(made.source)

    async def start(self, spec: Interceptor) -> tuple[str, ByteStream]:
        """Start another one. Raises `McpComposeError`."""
        ready, engine = await self._where()
        for _ in range(_TAKEN):
            made = self._spec(ready, spec, next(self._numbers))
            self._held[made.name] = engine
            try:
                return made.name, await self._started(ready, engine, made)
            except NameTaken:
                del self._held[made.name]  # what is there is not ours to end
            except EngineError as error:
                if "another configuration" not in error.message:
                    await self.stop(made.name)
                    raise
                del self._held[made.name]  # a crashed run's, which the next round removes
            except BaseException:
                await self.stop(made.name)
                raise
        raise NameTaken(f"no name is free for a container of interceptor `{spec.label}`")

    async def stop(self, name: str) -> None:
        """Remove one, running or not; what cannot be removed now, a later round removes."""
        engine = self._held.get(name)
        if engine is None:
            return
        try:
            await engine.remove_instance(name)
        except (McpComposeError, OSError, ValueError) as error:
            _log.warning("container of an interceptor not removed", extra=fields(instance=name, reason=str(error)))
        finally:
            self._held.pop(name, None)

    async def _started(self, ready: Ready, engine: Engine, made: InstanceSpec) -> ByteStream:
        values = await ready.values_of(made)
        await engine.create_instance(made, values)
        endpoint = await engine.start_instance(made.name, values)
        if not isinstance(endpoint, StreamEndpoint):
            raise EngineError(f"`{made.name}` has no standard streams")
        return endpoint.stream

    async def _where(self) -> tuple[Ready, Engine]:
        ready, engine = self._good(), self._rounds.engine
        if ready is None or engine is None:
            raise InstanceMissing("nothing runs now")
        return ready, engine

    def _spec(self, ready: Ready, spec: Interceptor, number: int) -> InstanceSpec:
        label = f"_{_PLAIN.sub('-', spec.label.lower()).strip('-')}"
        environment = {key: f"${{{key}}}" if text is None else text for key, text in spec.environment.items()}
        secrets = {use.env: f"${{secret:{use.source}}}" for use in spec.secrets if use.env is not None}
        name = instance_name(ready.project.name, label, number)
        return InstanceSpec(
            name=name,
            server=label,
            source=RegistryImage(spec.image or ""),
            transport=Stdio(),
            labels=tuple(sorted({**ready.owner.labels(label), HASH_LABEL: f"{name}:{id(self)}"}.items())),
            command=spec.command,
            environment=tuple({**environment, **secrets}.items()),
            network=spec.network,
            signers=ready.project.signers,
            stop_grace_period=0.0,
        )
