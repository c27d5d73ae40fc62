"""What hosts are found to be, for people and for machines."""
