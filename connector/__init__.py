"""The engine: wanted state, sessions, sinks. Nothing starts at import time."""

VERSION = "0.1.0"
