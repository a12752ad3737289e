"""What files could do to whoever loads them, found without loading them. No library of machine learning is imported.

`sandbox` starts a process of its own for hostile bytes; everything else here runs inside of it, on a `Source`.
"""
