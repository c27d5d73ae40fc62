"""Resources that a host can hold: how each kind is created, read and removed."""
