"""Drawings of what hosts are found to be."""
