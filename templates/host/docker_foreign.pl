# Ends with status 0 if Docker has one of these networks or containers without the label of an
# inventory, and with status 1 if it has none of them.
# Prelude: look/docker_api.pl
# Arguments: inventory, then `networks/NAME` or `containers/NAME` of each
# Docker takes a name that nobody has for the beginning of an id, and so do the commands that this
# comes before: what it finds then is another thing, whoever has made it.

my ($inventory, @things) = @ARGV;
my $string = qr/"(?:[^"\\]|\\.)*"/;
for my $thing (@things) {
  my ($type, $name) = split '/', $thing, 2;
  my $is_network = $type eq 'networks';
  my $body = get("/$thing" . ($is_network ? '' : '/json')) or next;
  # A network also names its containers, each behind a brace.
  my $named = $is_network ? qr/(?:^\{|,)"Name":"\Q$name\E"/ : qr/"Name":"\/\Q$name\E"/;
  exit 0 if $body !~ $named
    or $body !~ /"Labels":\{(?:$string:$string,)*"provision":"\Q$inventory\E(?:\/[^"]*)?"/;
}
exit 1;
