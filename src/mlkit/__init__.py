"""mlkit packs model weights, datasets, parameters and deployment config into one versioned OCI artifact, a kit."""
