"""The keys of Compose that containers of the inventory do not have, and the reasons. Pure."""

from __future__ import annotations

MOST_REPLICAS = 1000

_DNS = "containers have the DNS server that their host gives them"
_NAMES = "containers of several hosts cannot be linked"
REASONS: dict[str, tuple[str, str]] = {
    "build": (
        "provision builds no images",
        "build it, push it to a registry or save it, and write image: NAME",
    ),
    "extends": ("a service is read from one place", "write its keys out, or use a YAML anchor"),
    "links": (_NAMES, "remove it, and use addresses or the names of the inventory's network"),
    "external_links": (_NAMES, "remove it"),
    "secrets": ("hosts get no files of the project", "use env_file or a volume"),
    "configs": ("hosts get no files of the project", "use a volume with a folder of the host"),
    "volumes_from": ("volumes of another container have no names", "name the volumes"),
    "dns": (_DNS, "remove it"),
    "dns_search": (_DNS, "remove it"),
    "dns_opt": (_DNS, "remove it"),
    "domainname": ("it names a domain of NIS", "write it into hostname"),
    "platform": ("a host pulls images for its own platform", "remove it"),
    "pid": ("namespaces of the host stay its own", "remove it"),
    "ipc": ("namespaces of the host stay its own", "remove it"),
    "uts": ("namespaces of the host stay its own", "remove it"),
    "userns_mode": ("dockerd decides it for all containers", "remove it"),
    "cgroup": ("dockerd decides it for all containers", "remove it"),
    "cgroup_parent": ("dockerd decides it for all containers", "remove it"),
    "runtime": ("containers use the default runtime of dockerd", "remove it"),
    "isolation": ("it is for Windows", "remove it"),
    "credential_spec": ("it is for Windows", "remove it"),
    "storage_opt": ("dockerd decides it for all containers", "remove it"),
    "gpus": ("devices are given by their path", "use devices"),
    "device_cgroup_rules": ("devices are given by their path", "use devices"),
    "develop": ("provision does not watch the sources of images", "remove it"),
    "provider": ("provision starts containers only", "remove it"),
    "models": ("provision starts containers only", "remove it"),
    "post_start": ("provision starts a container's command only", "do it in the command"),
    "pre_stop": ("provision starts a container's command only", "do it in the command"),
    "annotations": ("they are for runtimes of containers", "use labels"),
    "label_file": ("labels are read from the Compose file", "use labels"),
    "mem_reservation": ("only the limit of memory is supported", "use mem_limit"),
    "mem_swappiness": ("only the limit of memory is supported", "use mem_limit"),
    "memswap_limit": ("only the limit of memory is supported", "use mem_limit"),
    "oom_kill_disable": ("the kernel decides by memory", "use mem_limit"),
    "oom_score_adj": ("the kernel decides by memory", "use mem_limit"),
    "pids_limit": ("the number of processes is a resource limit", "use ulimits: {nproc: …}"),
    "cpu_count": ("only the limit of processors is supported", "use cpus"),
    "cpu_percent": ("only the limit of processors is supported", "use cpus"),
    "cpu_period": ("only the limit of processors is supported", "use cpus"),
    "cpu_quota": ("only the limit of processors is supported", "use cpus"),
    "cpu_rt_period": ("only the limit of processors is supported", "use cpus"),
    "cpu_rt_runtime": ("only the limit of processors is supported", "use cpus"),
    "cpu_shares": ("only the limit of processors is supported", "use cpus"),
    "cpuset": ("only the limit of processors is supported", "use cpus"),
    "blkio_config": ("disks are shared by all containers", "remove it"),
    "volume_driver": ("volumes are Docker's own", "remove it"),
    "attach": ("provision shows no output of containers", "remove it"),
}
"""Why each key is not supported, and what to write instead."""
WITHOUT_EFFECT = ("expose",)
"""Keys that change nothing: containers of a network reach all ports of each other."""
PORT_KEYS_WITHOUT_EFFECT = ("mode", "name", "app_protocol")
"""Keys of a port that change nothing in Compose either: they are for swarms and for readers."""

TOP_REASONS: dict[str, tuple[str, str]] = {
    "include": ("a project is read from one file", "write the services into one file"),
    "secrets": REASONS["secrets"],
    "configs": REASONS["configs"],
    "models": REASONS["models"],
}
TOP_KEYS = ("name", "version", "services", "networks", "volumes")
