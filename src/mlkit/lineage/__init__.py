"""WHERE IT CAME FROM. `graph` holds the nouns and is pure; `index` is a cache of them that can be deleted.

`run` is for training scripts: `with mlkit.lineage.run("train") as run: run.uses(...); run.produces(...)`.
"""

from mlkit.lineage.recording import Run, run

__all__ = ["Run", "run"]
