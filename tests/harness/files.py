"""Compose files of a size that people have in the end."""

from __future__ import annotations


def many_servers(number: int) -> str:
    """A file of *number* servers with what servers usually say: references, secrets, volumes, filters, limits."""
    lines = ["name: many", "servers:"]
    for one in range(number):
        lines += [
            f"  server-{one}:",
            f"    image: ghcr.io/acme/server-{one}:1.{one}",
            "    command: [stdio, --verbose]",
            "    environment:",
            "      LOG_LEVEL: ${LOG:-info}",
            "      TOKEN_FILE: /run/secrets/token",
            "    secrets: [token]",
            f'    volumes: ["./data-{one}:/data:ro", "kept-{one}:/kept"]',
            '    tools: {allow: ["get_*", "search_*"], deny: ["delete_*"]}',
            "    mem_limit: 256m",
            "    timeouts: {call: 30s}",
        ]
    lines += ["secrets: {token: {environment: TOKEN}}", "profiles: {default: {servers: [server-1, server-2]}}"]
    return "\n".join(lines) + "\n"
