"""FastMCP's own proxy for one command, over HTTP: `fastmcp_proxy.py PORT COMMAND…`. Runs in FastMCP's environment."""

from __future__ import annotations

import os
import sys

from fastmcp.client.transports import StdioTransport
from fastmcp.server import create_proxy

_, port, command, *arguments = sys.argv
proxy = create_proxy(StdioTransport(command=command, args=arguments, env=dict(os.environ)), name="measured")
proxy.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False, log_level="ERROR")
