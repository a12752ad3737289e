"""FILES <-> BYTES. Tar, compression, ignore rules, the extractor, and the headers of weights. No OCI in here."""
