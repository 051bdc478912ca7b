"""Known and approved servers: reading catalogs from files, the web, image registries and the MCP registry."""
