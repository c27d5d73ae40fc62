"""Hosts and groups of an Ansible inventory, read by Ansible's own conventions; no host contacted.

Facts of the format: docs.ansible.com, "How to build your inventory" and the `ini` and `yaml`
inventory plugins. Templates, vaults, scripts and plug-ins are not evaluated.
"""
