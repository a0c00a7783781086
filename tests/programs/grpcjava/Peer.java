import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.TlsChannelCredentials;
import io.grpc.TlsServerCredentials;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Either end of gRPC in Java: server PORT CERTIFICATE [NAME=MILLISECONDS...] or client ADDRESS CA [NAME=VALUE...].
 *
 * A server says "listens". age, grace, idle: limits of its connections; ping, timeout: its keepalive.
 *
 * A client makes one call, says "ready" and each state its channel comes to, and ends when its connection is lost:
 * "lost TEXT". With wait=1 it makes no call, and says "failed" when connecting failed. With leave=MILLISECONDS it shuts
 * its channel down so long after its call.
 */
class Peer {
    private static final MethodDescriptor<byte[], byte[]> CALL = MethodDescriptor.<byte[], byte[]>newBuilder()
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName("test.Echo/Call")
        .setRequestMarshaller(new Bytes())
        .setResponseMarshaller(new Bytes())
        .build();

    public static void main(String[] arguments) throws Exception {
        Map<String, Integer> options = new HashMap<>();
        for (int index = 3; index < arguments.length; index++) {
            var parts = arguments[index].split("=");
            options.put(parts[0], Integer.valueOf(parts[1]));
        }
        var file = new File(arguments[2]);
        if (arguments[0].equals("server")) {
            serve(Integer.parseInt(arguments[1]), file, options);
        } else {
            connect(arguments[1], file, options);
        }
    }

    private static void serve(int port, File certificate, Map<String, Integer> options) throws Exception {
        var builder = Grpc.newServerBuilderForPort(port, TlsServerCredentials.create(certificate, certificate));
        builder.addService(ServerServiceDefinition.builder("test.Echo")
            .addMethod(CALL, ServerCalls.asyncUnaryCall((request, answer) -> {
                answer.onNext(request);
                answer.onCompleted();
            }))
            .build());
        options.forEach((name, value) -> {
            switch (name) {
                case "age" -> builder.maxConnectionAge(value, TimeUnit.MILLISECONDS);
                case "grace" -> builder.maxConnectionAgeGrace(value, TimeUnit.MILLISECONDS);
                case "idle" -> builder.maxConnectionIdle(value, TimeUnit.MILLISECONDS);
                case "ping" -> builder.keepAliveTime(value, TimeUnit.MILLISECONDS);
                case "timeout" -> builder.keepAliveTimeout(value, TimeUnit.MILLISECONDS);
                default -> throw new IllegalArgumentException(name);
            }
        });
        var server = builder.build().start();
        System.out.println("listens");
        System.in.readAllBytes();
        server.shutdown();
        server.awaitTermination();
    }

    private static void connect(String address, File authority, Map<String, Integer> options) throws Exception {
        var credentials = TlsChannelCredentials.newBuilder().trustManager(authority).build();
        var channel = Grpc.newChannelBuilder(address, credentials).build();
        var ended = new CountDownLatch(1);
        follow(channel, channel.getState(true), false, ended);
        if (!options.containsKey("wait")) {
            ClientCalls.blockingUnaryCall(channel, CALL, io.grpc.CallOptions.DEFAULT.withWaitForReady(), new byte[300]);
            System.out.println("ready");
        }
        if (options.containsKey("leave")) {
            Thread.sleep(options.get("leave"));
        } else {
            ended.await();
        }
        channel.shutdown().awaitTermination(10, TimeUnit.SECONDS);
    }

    private static void follow(ManagedChannel channel, ConnectivityState state, boolean ready, CountDownLatch ended) {
        channel.notifyWhenStateChanged(state, () -> {
            var next = channel.getState(false);
            System.out.println("state " + next);
            if (ready || next == ConnectivityState.TRANSIENT_FAILURE) {
                System.out.println(ready ? "lost" : "failed");
                ended.countDown();
            } else {
                follow(channel, next, next == ConnectivityState.READY, ended);
            }
        });
    }

    private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
        @Override
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }
}
