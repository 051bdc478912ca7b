"""
`mcp-compose run --stdio` without the command line's imports: a client application waits for it to start.

What this small reading of the arguments does not know is left to the command line, which explains it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcpcompose.cli.words import PROJECT, options, read

_BARE = frozenset({"run", "--stdio", "-q", "--quiet"})


def main(arguments: Sequence[str]) -> int | None:
    """Run the shim; None when the arguments are for the command line to explain."""
    bare: list[str] = []

    def is_bare(word: str) -> bool:
        if word in _BARE:
            bare.append(word)
        return word in _BARE

    said = read(arguments, {**PROJECT, "--client": "client"}.get, is_bare)
    if said is None or bare.count("run") != 1 or "--stdio" not in bare:
        return None
    from mcpcompose.actions.locate import locate
    from mcpcompose.actions.stdio import run
    from mcpcompose.errors import McpComposeError

    try:
        chosen = options(said)
        return run(locate(chosen), said.get("client", [None])[-1], chosen.profile)
    except McpComposeError as error:
        from mcpcompose.cli.output import standard_output
        from mcpcompose.cli.problems import show_error

        show_error(error, standard_output())
        return error.exit_code
    except KeyboardInterrupt:
        return 130
