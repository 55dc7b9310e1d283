# Workers between two Thread::Queues: condition variables of perl's own, every item through a shared and locked array.
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;
use Time::HiRes 'time';

my ($workers, $items) = @ARGV;
my ($in, $out) = (Thread::Queue->new, Thread::Queue->new);
my @threads = map {
  threads->create(sub {
    while (defined(my $n = $in->dequeue)) { $out->enqueue($n * $n) }
  })
} 1 .. $workers;
my $start = time;
$in->enqueue($_) for 1 .. $items;
$in->end;
my $sum = 0;
$sum += $out->dequeue for 1 .. $items;
printf "%d items in %.6f s, sum %d\n", $items, time - $start, $sum;
$_->join for @threads;
