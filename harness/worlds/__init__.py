"""Whole worlds: the service with everything around it, stepped by one thread under a clock of its own (docs/worlds.md)."""
