"""AI client applications: where their configuration is, what an entry looks like there, and how to edit it."""
