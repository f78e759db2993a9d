"""Connectors: one package a vendor, found by entry points."""

__all__: list[str] = []
