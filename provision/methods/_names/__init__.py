"""Names of a network's containers: a DNS server on each host, and the records that it answers."""
