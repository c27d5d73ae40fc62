"""One script to a host, its output back."""
