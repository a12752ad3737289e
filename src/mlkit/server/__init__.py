"""A STORE AS A REGISTRY. The OCI distribution protocol over any local layout, on loopback."""
