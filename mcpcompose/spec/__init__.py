"""The desired state: frozen models of the compose file, and what is derived from them without I/O."""
