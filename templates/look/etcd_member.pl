# Prints the id that an etcd member has in its own data, in hexadecimal: a line each, in the order
# of the arguments, `-` for a folder without a write-ahead log, `?` for a log that cannot be read.
# Arguments: folders that hold the folder `member`.
# The second record of each segment of the log is protobuf: field 1 is the member's id
# (https://github.com/etcd-io/etcd/blob/v3.5.16/server/storage/wal/wal.go: Create, cut).

use strict; use warnings;

sub varint {
  my ($text) = @_;
  my ($value, $shift) = (0, 0);
  while ($$text =~ s/^(.)//s) {
    $value |= (ord($1) & 127) << $shift;
    return $value if ord($1) < 128;
    $shift += 7;
  }
  die "cut off\n";
}

sub fields {
  my ($record) = @_;
  my %fields;
  while (length $record) {
    my $tag = varint(\$record);
    $fields{$tag >> 3} = ($tag & 7) == 2 ? substr($record, 0, varint(\$record), '') : varint(\$record);
  }
  return \%fields;
}

sub id {
  my ($file) = @_;
  open(my $segment, '<:raw', $file) or die "$!\n";
  read($segment, my $text, 4096) or die "empty\n";
  while (length $text >= 8) {
    my $frame = unpack 'Q<', substr($text, 0, 8, '');
    # The lower 56 bits are the record's length, the upper ones that of its padding.
    my ($length, $padding) = ($frame & ((1 << 56) - 1), $frame >> 63 ? ($frame >> 56) & 7 : 0);
    my $record = fields(substr($text, 0, $length, ''));
    substr $text, 0, $padding, '';
    return fields($record->{3})->{1} if ($record->{1} // 0) == 1;
  }
  die "no metadata\n";
}

for my $folder (@ARGV) {
  my ($first) = sort glob "'$folder/member/wal/*.wal'";
  my $id = defined $first ? eval { sprintf '%x', id($first) } // '?' : '-';
  print "$id\n";
}
