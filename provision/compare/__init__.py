"""`provision compare`: deploys each method, and measures it next to host-to-host traffic."""
