"""What runs where: channels, their history, checks, and the way back. Decides; registries and keys are handed in."""
