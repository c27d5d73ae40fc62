"""What will hurt the network of the hosts, applied or not."""
