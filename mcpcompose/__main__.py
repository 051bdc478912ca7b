"""The command `mcp-compose`. What clients spawn and what `up -d` spawns starts without the command line's imports."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the exit code is the action's own."""
    arguments = sys.argv[1:]
    if arguments[:2] == ["gateway", "serve"]:
        from mcpcompose.actions.serve import main as serve  # noqa: PLC0415  the detached gateway needs no command line

        sys.exit(serve(arguments[2:]))
    if "run" in arguments and "--stdio" in arguments:
        from mcpcompose.cli.shim import main as shim  # noqa: PLC0415  clients wait for this to start

        if (code := shim(arguments)) is not None:
            sys.exit(code)
    from mcpcompose.cli.main import main as command_line  # noqa: PLC0415  the others come first

    sys.exit(command_line(arguments))


if __name__ == "__main__":
    main()
