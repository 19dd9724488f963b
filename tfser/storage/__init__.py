"""Storage: atomic file writes, the run directory, folders on S3."""
