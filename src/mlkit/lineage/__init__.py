"""WHERE IT CAME FROM. `graph` holds the nouns and is pure; `index` is a cache of them that can be deleted."""
