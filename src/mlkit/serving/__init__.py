"""How it runs: which program serves a kit, and how it is started, asked, measured and stopped."""
