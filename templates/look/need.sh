# `need COMMAND`, with one meaning in every program that reads a host's state: where the host lacks
# the command, print the line `@absent` and end this section. A section is a subshell of the script,
# so that the exit ends only the section.
# Defines: need

need() { command -v "$1" >/dev/null 2>&1 || { echo @absent; exit 0; }; }
