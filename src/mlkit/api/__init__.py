"""THE COMPOSITION. Opens stores, registries and settings, and hands them to the rooms (ADR 0007).

The public Python API and the command line both call the functions in here, so that they cannot differ.
"""
