"""What several kinds of resources share: Docker's API, OVSDB, networkd files, shell helpers."""
