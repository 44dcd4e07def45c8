"""Records -> files: assembly (pure), spool, journal, receiver (loop)."""
