"""What a host is, as one snapshot of it shows."""
