"""Connectors: one package a vendor, found by entry points."""
