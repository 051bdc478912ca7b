"""Serve over stdio, or over streamable HTTP with `--http PORT`."""

from __future__ import annotations

import argparse
from functools import partial

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from conformance.everything.app import build
from conformance.everything.eras import ERAS, OneEra, serve_stdio
from conformance.everything.events import Events

RETRY_MS = 100


def serve_http(host: str, port: int, era: str) -> None:
    """Serve both eras, or one of them, on one endpoint that only answers to names of this machine."""
    names = ["127.0.0.1:*", "localhost:*", "[::1]:*"]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=names,
        allowed_origins=[f"http://{name}" for name in names],
    )
    app: ASGIApp = build().streamable_http_app(
        host=host, event_store=Events(), retry_interval=RETRY_MS, transport_security=security
    )
    if era != "both":
        app = OneEra(app, era)
    # httptools would leave the blanks around header values, which HTTP says mean nothing.
    uvicorn.run(app, host=host, port=port, log_level="warning", ws="none", http="h11")


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve over HTTP on this port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--era", choices=ERAS, default="both")
    chosen = parser.parse_args()
    if chosen.http is None:
        anyio.run(partial(serve_stdio, build(), chosen.era))
    else:
        serve_http(chosen.host, chosen.http, chosen.era)


if __name__ == "__main__":
    main()
