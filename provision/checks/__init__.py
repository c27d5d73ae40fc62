"""Checks from inside the containers' network namespaces, run by pytest and testinfra."""
