"""Method `flannel`'s own parts: what YAML may say, etcd's and flannel's settings. Pure."""
