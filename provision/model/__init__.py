"""The inventory: its values, documents and errors, and the syntax of each value."""
