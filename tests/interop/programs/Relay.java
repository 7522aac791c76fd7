// A client on a SocketChannel, Java 16 or later: `java Relay.java copy|talk PATH`.

import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;

public class Relay {
    public static void main(String[] arguments) throws Exception {
        try (var channel = SocketChannel.open(UnixDomainSocketAddress.of(arguments[1]))) {
            if (arguments[0].equals("copy")) {
                copy(channel);
            } else {
                talk(channel);
            }
        }
    }

    /** Standard input to the daemon, and meanwhile the answer to standard output. */
    static void copy(SocketChannel channel) throws Exception {
        var sender = new Thread(() -> {
            try {
                move(new FileInputStream(FileDescriptor.in).getChannel(), channel);
                channel.shutdownOutput();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        });
        sender.start();
        move(channel, new FileOutputStream(FileDescriptor.out).getChannel());
        sender.join();
    }

    static void move(ReadableByteChannel from, WritableByteChannel to) throws IOException {
        var buffer = ByteBuffer.allocateDirect(65536);
        while (from.read(buffer) >= 0) {
            buffer.flip();
            while (buffer.hasRemaining()) {
                to.write(buffer);
            }
            buffer.clear();
        }
    }

    /** A line, its answer, the next line. */
    static void talk(SocketChannel channel) throws IOException {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            var message = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
            while (message.hasRemaining()) {
                channel.write(message);
            }
            var answer = ByteBuffer.allocate(4096);
            do {
                if (channel.read(answer) < 0) {
                    throw new IOException("the answer ended early");
                }
            } while (answer.get(answer.position() - 1) != '\n');
            System.out.write(answer.array(), 0, answer.position());
            System.out.flush();
        }
    }
}
