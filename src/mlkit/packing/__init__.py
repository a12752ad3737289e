"""KITFILE <-> KIT. Deciding is pure (`plan`, `select`, `diff`); doing is a thin shell (`pack`, `unpack`)."""
