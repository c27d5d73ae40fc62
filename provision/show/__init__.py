"""The state of hosts as tables, JSON and drawings."""
