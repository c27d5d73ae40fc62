"""What the values of an inventory mean to each other: one module a section."""
