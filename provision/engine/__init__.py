"""Plans the difference between wanted and found, and applies it under the hosts' guards."""
