# A client on Perl's IO::Socket::UNIX: `perl relay.pl copy|talk PATH`.
use strict;
use warnings;
use IO::Handle;
use IO::Socket::UNIX;

my ($mode, $path) = @ARGV;
my $socket = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";

sub write_all {
    my ($handle, $data) = @_;
    for (my $at = 0; $at < length $data;) {
        $at += syswrite($handle, $data, length($data) - $at, $at) // die "write: $!\n";
    }
}

# Standard input to the daemon, by a process of its own, and meanwhile the answer to standard output.
sub copy {
    my $sender = fork // die "fork: $!\n";
    if ($sender == 0) {
        write_all($socket, $_[0]) while sysread STDIN, $_[0], 65536;
        $socket->shutdown(1);
        exit;
    }
    my $block;
    write_all(\*STDOUT, $block) while sysread $socket, $block, 65536;
    waitpid $sender, 0;
}

# A line, its answer, the next line.
sub talk {
    STDOUT->autoflush(1);
    while (my $line = <STDIN>) {
        print {$socket} $line;
        $socket->flush;
        print scalar <$socket>;
    }
}

$mode eq "copy" ? copy(my $block) : talk();
