# Connects to a TCP port, and prints the reason if that fails; nothing else.
# Arguments: HOST:PORT, seconds.

use strict; use warnings; use IO::Socket::INET;
my ($address, $seconds) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => $address, Proto => 'tcp', Timeout => $seconds);
# $@ has the reason, also for a name that is not known.
print $socket ? '' : $@ =~ s/^IO::Socket::INET: //r =~ s/\s+/ /gr, "\n";
