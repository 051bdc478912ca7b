"""How the engine finds out whether a server is well."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from mcpcompose.spec.base import Model
from mcpcompose.spec.values import AlsoWritten, Duration, Flag
from mcpcompose.spec.written import TEXT, CheckTime, as_test


class HealthCheck(Model):
    """How the engine finds out whether a container is well, as in Compose; an image's own check is not run."""

    test: Annotated[tuple[str, ...], BeforeValidator(as_test), AlsoWritten(TEXT)] | None = None
    """The command, as text for a shell, or as `[CMD, program, …]`, `[CMD-SHELL, text]` or `[NONE]`; it ends with 0."""
    interval: CheckTime = 30.0
    """The time between two checks; the first one is as long after the start."""
    timeout: CheckTime = 30.0
    """How long one check may take."""
    retries: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many checks in a row must fail until it counts as unwell."""
    start_period: Duration = 0.0
    """How long after the start failing checks do not count."""
    start_interval: CheckTime | None = None
    """The time between two checks during `start_period`; needs Docker 25 or newer, older ones take `interval`."""
    disable: Flag = False
    """No check: undoes the one of an extended server or an earlier file."""

    @model_validator(mode="after")
    def _says_what_to_run(self) -> HealthCheck:
        if self.test is None and not self.disable:
            raise ValueError("`test` is missing; it is the command that checks")
        return self

    @property
    def command(self) -> tuple[str, ...] | None:
        """What the engine runs; None for no check."""
        return None if self.disable or self.test in {None, ("NONE",)} else self.test
