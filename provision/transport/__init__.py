"""Transports: send one script to a host, get its output back."""
