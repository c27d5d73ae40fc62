# Asks for names in DNS as the programs of a container do: in its network namespace, by the server in
# its /etc/resolv.conf, and compares the answers.
# Arguments: the container, its process, seconds for one question, then for each question the target,
# the type (A or PTR), the name, and the expected answers, joined by commas: one of them must come.
# Prints `answer name FROM TO STATUS TEXT` for each target, with every answer that is wrong.

use strict; use warnings; use Socket; use Fcntl;
$| = 1;
my ($from, $process, $seconds, @rest) = @ARGV;
my $server = '127.0.0.11';
# The container may have put anything there, such as a pipe without an end.
my $file;
if (sysopen($file, "/proc/$process/root/etc/resolv.conf", O_RDONLY | O_NONBLOCK) && -f $file) {
  while (<$file>) { if (/^\s*nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/) { $server = $1; last } }
}
my (@questions, @targets, %asked, %errors);
while (@rest) {
  my %question; @question{qw(target type name expected)} = splice(@rest, 0, 4);
  push @targets, $question{target} unless $asked{$question{target}}++;
  push @questions, \%question;
}
socket(my $udp, PF_INET, SOCK_DGRAM, 17) or die "socket: $!";
connect($udp, sockaddr_in(53, inet_aton($server))) or die "connect: $!";
sub packed { join('', map { pack('C/a*', $_) } split(/\./, $_[0])) . "\0" }
sub unpacked { # the name at an offset of a message, by the pointers of RFC 1035, 4.1.4
  my ($message, $offset) = @_;
  my @labels;
  for (1 .. 128) {
    my $length = unpack('C', substr($message, $offset, 1)) // last;
    last if $length == 0;
    if ($length >= 192) { $offset = unpack('n', substr($message, $offset, 2)) & 0x3fff; next }
    push @labels, substr($message, $offset + 1, $length);
    $offset += $length + 1;
  }
  return join('.', @labels);
}
sub skip_name {
  my ($message, $offset) = @_;
  while ((my $length = unpack('C', substr($message, $offset, 1)) // 0) != 0) {
    return $offset + 2 if $length >= 192;
    $offset += $length + 1;
  }
  return $offset + 1;
}
sub answers {
  my ($message) = @_;
  my ($questions, $count) = unpack('x4nn', $message);
  my ($offset, @found) = (12);
  $offset = skip_name($message, $offset) + 4 for 1 .. $questions;
  for (1 .. $count) {
    $offset = skip_name($message, $offset);
    my ($type, $length) = unpack('nx6n', substr($message, $offset, 10));
    last unless defined $length;
    push @found, inet_ntoa(substr($message, $offset + 10, 4)) if $type == 1 && $length == 4;
    push @found, lc unpacked($message, $offset + 10) if $type == 12;
    $offset += 10 + $length;
  }
  return @found;
}
my %reasons = (0 => 'no such record', 2 => 'SERVFAIL', 3 => 'NXDOMAIN', 5 => 'REFUSED');
sub judge {
  my ($question, $message) = @_;
  my @got = answers($message);
  my $code = unpack('x3C', $message) & 15;
  my %expected = map { $_ => 1 } split(/,/, $question->{expected});
  return '' if @got && !grep { !$expected{$_} } @got;
  my $got = @got ? join(' ', @got) : $reasons{$code} // "code $code";
  my $wanted = $question->{expected}; $wanted =~ s/,/ or /g;
  return "$question->{name}: $got, not $wanted";
}
# A window of questions at once: Docker's server answers a limited number at a time.
while (my @window = splice(@questions, 0, 32)) {
  my %open = map { $_ + 1 => $window[$_] } 0 .. $#window;
  for my $try (1 .. 3) {
    for my $id (keys %open) {
      my ($name, $type) = ($open{$id}{name}, $open{$id}{type} eq 'A' ? 1 : 12);
      send($udp, pack('n6', $id, 0x100, 1, 0, 0, 0) . packed($name) . pack('nn', $type, 1), 0);
    }
    my $end = time() + $seconds;
    while (%open && time() <= $end) {
      my $bits = ''; vec($bits, fileno($udp), 1) = 1;
      next unless select($bits, undef, undef, 1) > 0;
      # An error means that nobody listens there; the next try may find the server again.
      defined recv($udp, my $message, 4096, 0) or do { select(undef, undef, undef, 0.5); last };
      next if length($message) < 12;
      my $question = delete $open{unpack('n', $message)} or next;
      my $error = judge($question, $message);
      push @{$errors{$question->{target}}}, $error if $error;
    }
    last unless %open;
  }
  push @{$errors{$_->{target}}}, "$_->{name}: no answer from $server" for values %open;
}
for my $target (@targets) {
  my @wrong = @{$errors{$target} // []};
  my $text = @wrong ? join('; ', @wrong) : "$asked{$target} answers of $server";
  $text =~ s/[^\x21-\x7e]+/ /g; # an answer may hold any byte
  print "answer name $from $target ", @wrong ? 1 : 0, " $text\n";
}
