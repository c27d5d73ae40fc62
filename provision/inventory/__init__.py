"""Reads an inventory file: frozen values, or every finding with its line."""
