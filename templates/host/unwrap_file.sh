# Restores the lines that blocks of ours replaced in a file of the administrator, whose mode, owner,
# access list, extended attributes and symbolic link stay. A file without such a block is not touched.
# Arguments: the path; the first and the last line of each block.
# provision/resources/lib/marked_block.py describes the blocks.

file=$(readlink -f -- "$1") && [ -f "$file" ] || exit 0
new=${file%/*}/.${file##*/}.provision-new
# Of an edit that failed or was cut off, the file has no block.
rm -f -- "$new" || exit
grep -qxF -e "$2" -- "$file" || exit 0
(umask 077 && perl -e '
  my ($begin, $end) = splice @ARGV, 0, 2;
  my $inside = 0;
  while (<STDIN>) {
    (my $bare = $_) =~ s/\n\z//;
    if ($bare eq ($inside ? $end : $begin)) { $inside = !$inside }
    elsif (!$inside) { print }
    elsif (s/\A#\|//) { print }
    elsif ($bare =~ s/\A#~//) { print $bare }
  }
  close STDOUT or die "$!\n"' "$2" "$3" <"$file" >"$new") || exit
cp --attributes-only --preserve=all --no-preserve=timestamps -- "$file" "$new" &&
  sync "$new" && mv -fT -- "$new" "$file"
