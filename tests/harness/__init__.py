"""What the scenarios share: a project of its own per test, real clients, and a view on the engine."""
