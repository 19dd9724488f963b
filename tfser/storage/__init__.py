"""Storage: files that are written whole or not at all, the run directory, folders on S3."""
