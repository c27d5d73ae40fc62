"""What a host can hold: how it is made, read and removed."""
