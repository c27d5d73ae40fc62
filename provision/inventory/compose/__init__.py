"""`compose`: the services of Compose files, placed on hosts as containers of the inventory.

The files are read here rather than by a package of PyPI: docker-compose 1.29 is archived and needs
PyYAML 5, podman-compose is a program, python-on-whales needs Docker on the controller, and
compose-spec is a binary without interpolation. None of them tells the lines of values.
"""
