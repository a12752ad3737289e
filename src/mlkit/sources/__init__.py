"""Where parts of kits come from that are in no registry."""
