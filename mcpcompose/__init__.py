"""Docker Compose for MCP servers: one file, running servers, one gateway."""
