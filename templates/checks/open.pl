# Opens ports, by TCP and UDP, and compares what comes back. Arguments: the caller's name, bytes of
# data for TCP, seconds, then for each port: the name of its target, a label, the protocol, address,
# port, and `own` where the listener of the checks answers, `held` where a program of the container
# does. Prints `answer <label> <from> <to> <status> <text>` for each; what a program answers is told
# by its length and sum, without the line of HTTP that tells the time.

use strict; use warnings; use Socket; use Fcntl; use Errno;
$| = 1;
my ($from, $size, $patience, @rest) = @ARGV;
my $stream = join '', map { chr(($_ * 7 + $_ / 251) % 256) } 1 .. $size;
my $datagram = substr($stream, 0, 1024);
my $question = "GET / HTTP/1.0\r\n\r\n";
my %open;
sub done {
  my ($one, $status, $text) = @_;
  $text =~ s/\s+/ /g;
  print "answer $one->{label} $from $one->{name} $status $text\n";
  my $link = delete $one->{link};
  if ($link) { delete $open{fileno $link}; close $link }
}
sub told { # what the listener of the checks said: the address that it saw, and our data
  my ($one, $sent) = @_;
  my ($address, $back) = split /\n/, $one->{answer}, 2;
  if (!defined $back) { done($one, 1, 'no answer') }
  elsif ($back ne $sent) { done($one, 1, 'other data came back: ' . length($back) . ' of ' . length($sent) . ' bytes') }
  else { done($one, 0, "same $address") }
}
sub said { # what a program of the container said
  my ($one) = @_;
  (my $text = $one->{answer}) =~ s/^Date:[^\n]*\n//mi;
  done($one, 0, sprintf('program %d %d', length $text, unpack('%32C*', $text)));
}
sub begin {
  my ($one) = @_;
  my $tcp = $one->{protocol} eq 'tcp';
  socket(my $link, PF_INET, $tcp ? SOCK_STREAM : SOCK_DGRAM, $tcp ? 6 : 17) or return done($one, 1, "socket: $!");
  fcntl($link, F_SETFL, O_NONBLOCK);
  my $fine = connect($link, sockaddr_in($one->{port}, inet_aton($one->{address}))) || $!{EINPROGRESS};
  $one->{link} = $link;
  $open{fileno $link} = $one;
  return done($one, 1, "connect: $!") unless $fine;
  $one->{rest} = $one->{held} ? $question : $stream if $tcp;
}
while (@rest) {
  my %one;
  @one{qw(name label protocol address port how)} = splice(@rest, 0, 6);
  $one{held} = $one{how} eq 'held';
  @one{qw(answer rest)} = ('', '');
  begin(\%one);
}
my ($end, $again) = (time() + $patience, 0);
while (%open && time() < $end) {
  if (time() >= $again) { # a datagram may be lost: three tries and more within the patience
    for my $one (grep { $_->{protocol} eq 'udp' } values %open) {
      my $sent = send($one->{link}, $one->{held} ? $question : $datagram, 0);
      done($one, 1, "send: $!") unless defined $sent || $!{EAGAIN};
    }
    $again = time() + 2;
  }
  my ($reading, $writing) = ('', '');
  for my $number (keys %open) { vec($reading, $number, 1) = 1; vec($writing, $number, 1) = 1 if length $open{$number}{rest} }
  select($reading, $writing, undef, 1);
  for my $number (keys %open) {
    my $one = $open{$number};
    if (vec($writing, $number, 1)) {
      my $sent = syswrite($one->{link}, $one->{rest});
      if (!defined $sent) { done($one, 1, "connect or send: $!") unless $!{EAGAIN}; next }
      substr($one->{rest}, 0, $sent) = '';
      shutdown($one->{link}, 1) unless length $one->{rest} || $one->{held};
    }
    next unless vec($reading, $number, 1);
    my $got = sysread($one->{link}, my $chunk, 65536);
    if (!defined $got) { done($one, 1, "receive: $!") unless $!{EAGAIN}; next }
    $one->{answer} .= $chunk;
    if ($one->{protocol} eq 'udp') { $one->{held} ? said($one) : told($one, $datagram); next }
    if ($one->{held}) { said($one) if !$got || length $one->{answer} > 65536 }
    elsif (!$got) { told($one, $stream) }
  }
}
for my $one (values %open) {
  # A program need not understand the question: that the connection was taken is what it says.
  if ($one->{held} && $one->{protocol} eq 'tcp' && !length $one->{rest}) { said($one) }
  else { done($one, 1, "no answer within $patience s") }
}
