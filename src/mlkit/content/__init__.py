"""THE STORE. Content-addressed storage, and what holds it on this machine."""
