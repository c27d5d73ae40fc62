"""What an inventory is: its values, documents and errors, and the form of each value."""
