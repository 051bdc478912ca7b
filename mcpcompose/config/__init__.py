"""Read compose files: YAML with positions in, a checked `Project` or all problems out."""
