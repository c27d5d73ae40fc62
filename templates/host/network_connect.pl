# Connects a container to a Docker network with a MAC address, for which `docker network connect` has
# no option. Docker 25 and newer ignore it up to https://github.com/moby/moby/pull/52040 (March 2026);
# older ones keep that of the container anyway.
# Prelude: host/docker_post.pl
# Arguments: network, container, IPv4 address or `-`, MAC address.

my ($network, $container, $address, $mac) = @ARGV;
my $fixed = $address eq '-' ? '' : qq("IPAMConfig":{"IPv4Address":"$address"},);
my ($status, $answer) = post("/networks/$network/connect",
  qq({"Container":"$container","EndpointConfig":{$fixed"MacAddress":"$mac"}}));
exit 0 if $status == 200;
refused($answer);
exit 1;
