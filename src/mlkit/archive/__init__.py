"""FILES <-> BYTES. Tar, compression, ignore rules and the extractor. No OCI in here."""
