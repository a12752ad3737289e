"""Lineage in the words of other tools. Nothing in here does I/O."""
