"""Read an inventory file: frozen values, or all findings with their positions."""
