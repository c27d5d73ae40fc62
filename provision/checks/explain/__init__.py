"""The path of one probe through the hosts, hop by hop, and the cause if it does not arrive."""
