"""The form of each value of an inventory: addresses, names, ports, images, keys."""
