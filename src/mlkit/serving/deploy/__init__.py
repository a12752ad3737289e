"""HOW IT RUNS IN A CLUSTER: documents for the tools that run containers, from one value. Nothing in here does I/O."""
