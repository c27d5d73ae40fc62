# Opens a TCP connection, sends bytes, reads them back and compares. Prints the address that the
# far side saw, or why it failed.
use strict; use warnings; use Socket;
my ($address, $port, $size, $seconds) = @ARGV;
$SIG{ALRM} = sub { print "failed no end after ${seconds} s\n"; exit 1 };
alarm $seconds;
my $data = join '', map { chr(($_ * 7 + $_ / 251) % 256) } 1 .. $size;
sub failed { print "failed $_[0]\n"; exit 1 }
socket(my $link, PF_INET, SOCK_STREAM, getprotobyname('tcp') || 6) or failed("socket: $!");
connect($link, sockaddr_in($port, inet_aton($address))) or failed("connect: $!");
my $rest = $data;
while (length $rest) { my $sent = syswrite($link, $rest) or failed("send: $!"); substr($rest, 0, $sent) = '' }
shutdown($link, 1);
my $answer = '';
while (sysread($link, my $chunk, 65536)) { $answer .= $chunk }
my ($seen, $back) = split /\n/, $answer, 2;
failed("no answer") unless defined $back;
failed("other data came back: " . length($back) . " of $size bytes") unless $back eq $data;
print "same $seen\n";
