"""Real hosts on this machine, to try things on: systemd-nspawn machines with sshd and Docker.

`commands` is `provision lab …`; tests use `place.Place`, `bringup.up`, `power` and
`teardown.down`. Knows nothing of inventories and methods.
"""
