"""SSH to the hosts: the only room that imports fabric and paramiko, and maps their errors.

Host keys are always checked, on every hop: fabric by itself accepts any.
"""
