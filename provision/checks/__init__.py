"""Checks of what containers themselves see, run by pytest and testinfra."""
