"""The command `mcp-compose`. What clients spawn and what `up -d` spawns starts without the command line's imports."""

from __future__ import annotations

import gc
import sys
from typing import Final

_COLLECT_AFTER: Final = 20_000
"""Objects made until garbage is looked for: what is imported is none, and looking for it takes a tenth of a start."""
_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line; the exit code is the action's own."""
    gc.set_threshold(_COLLECT_AFTER, 10, 10)
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while it is still being loaded
        code = _INTERRUPTED
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments[:2] == ["gateway", "serve"]:
        from mcpcompose.actions.serve import main as serve  # noqa: PLC0415  the detached gateway needs no command line

        return serve(arguments[2:])
    if "run" in arguments and "--stdio" in arguments:
        from mcpcompose.cli.shim import main as shim  # noqa: PLC0415  clients wait for this to start

        if (code := shim(arguments)) is not None:
            return code
    if "up" in arguments and not {"-d", "--detach"}.isdisjoint(arguments):
        from mcpcompose.cli.early import begin  # noqa: PLC0415  the gateway starts beside the command line

        begin(arguments)
    from mcpcompose.cli.main import main as command_line  # noqa: PLC0415  the others come first

    return command_line(arguments)


if __name__ == "__main__":
    main()
