"""Directory -> records: scan, watch, settle, ledger, transfer (pure), sender (loop)."""
