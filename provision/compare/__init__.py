"""Which way between hosts is how fast: every method in turn, measured against host to host."""
