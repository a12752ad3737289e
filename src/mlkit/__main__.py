"""`python -m mlkit` is the console script."""

from mlkit.cli.main import run

run()
