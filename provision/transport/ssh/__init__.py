"""SSH to the hosts. This folder alone imports fabric and paramiko, and maps their errors.

Host keys are checked on every hop. fabric itself accepts any key (paramiko's AutoAddPolicy).
"""
