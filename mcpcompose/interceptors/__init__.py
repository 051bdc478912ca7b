"""Code around MCP requests: built-in interceptors, and those of programs, webhooks, containers and Python functions."""
