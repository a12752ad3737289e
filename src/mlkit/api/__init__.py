"""THE COMPOSITION. Opens stores, registries and settings, and hands them to the rooms; the public API and the command line call this."""
