"""Rules between the values of an inventory, a module for each section of the file."""
