"""Facts and state of a host, read from one snapshot."""
