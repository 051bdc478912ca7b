"""The audit log: append-only JSON lines with a hash chain."""
