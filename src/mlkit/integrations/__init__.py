"""Other people's interfaces over the public API and the rooms below: one module each, installed by an extra."""
