"""A STORE AS A REGISTRY. The OCI distribution protocol 1.1 over any local layout, on loopback.

There is one store behind all repositories and nobody is asked who he is: it serves one person, one CI job or one
air-gapped room. Beyond that, use a registry that is made for it and let mlkit be its client.
"""

from mlkit.server.running import RunningRegistry, application, serve

__all__ = ["RunningRegistry", "application", "serve"]
