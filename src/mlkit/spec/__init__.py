"""THE NOUNS. Values and their wire forms. No I/O, no clock, no environment."""
