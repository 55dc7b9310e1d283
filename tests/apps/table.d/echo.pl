# An echo server with an interpreter thread for each connection.
use strict;
use warnings;
use threads ('stack_size' => 256 * 1024);
use IO::Socket::INET;

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1024) or die $!;
$| = 1;
print 'listening on ', $listener->sockport, "\n";
while (my $client = $listener->accept) {
  threads->create(sub {
    while (sysread($client, my $data, 16384)) {
      while (length $data) { substr($data, 0, syswrite($client, $data) // last) = '' }
    }
  })->detach;
  close $client;
}
