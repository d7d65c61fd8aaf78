"""What an adapter raises on purpose."""

from __future__ import annotations


class CredentialUnusable(Exception):
    """Key material that can't sign (a broken PEM, an odd length). The text says what is wrong, never the material."""
