"""A lab of booted hosts on this machine: systemd-nspawn machines with sshd and Docker.

`commands` is `provision lab …`; tests call `layout.Lab`, `bringup.up`, `power` and
`teardown.down`. This folder knows nothing of inventories and methods.
"""
