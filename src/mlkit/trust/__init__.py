"""Who says so, and does it hold. The only room that does cryptography."""
