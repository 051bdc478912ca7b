"""Ask the engine for one snapshot of what this owner has, and of what stands in its way."""

from __future__ import annotations

from mcpcompose.engine.base import Engine, ObservedState
from mcpcompose.errors import NameTaken
from mcpcompose.orchestrator.desired import Desired
from mcpcompose.spec.identity import Owner


async def observe(engine: Engine, owner: Owner, desired: Desired) -> ObservedState:
    """One snapshot. Raises `NameTaken` when a name that *desired* takes is another owner's; nothing is touched yet."""
    observed = await engine.observe(owner, desired.names, desired.references)
    if taken := sorted(set(observed.foreign) & desired.names):
        names = ", ".join(f"`{name}`" for name in taken)
        raise NameTaken(
            f"{names} on the engine belong{'s' if len(taken) == 1 else ''} to another project, directory or user",
            hint="give this project a name of its own with `--project-name NAME` (or `name:` in the file)",
        )
    return observed
