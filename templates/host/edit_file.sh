# Writes a file that an administrator may have made: its mode, owner, access list, extended attributes
# and symbolic link stay. A file that is as it should be is not touched.
# Arguments: the path, then mode and owner (UID:GID) of a file that does not exist yet. Stdin: the
# text of the file.

mkdir -p -- "${1%/*}" || exit
file=$(readlink -f -- "$1") || { echo "$1: its symbolic link leads nowhere" >&2; exit 1; }
text=$(cat; echo .)
new=${file%/*}/.${file##*/}.provision-new
rm -f -- "$new" || exit
if [ -f "$file" ] && [ "$(cat -- "$file"; echo .)" = "$text" ]; then exit 0; fi
(umask 077 && printf %s "${text%.}" >"$new") || exit
# cp also copies the access list (acl(5)), which chmod would change.
if [ -f "$file" ]; then cp --attributes-only --preserve=all --no-preserve=timestamps -- "$file" "$new"
else chown "$3" -- "$new" && chmod "$2" -- "$new"; fi &&
  sync "$new" && mv -fT -- "$new" "$file"
