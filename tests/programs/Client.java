import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * A TLS client: HOST PORT CA [VERSION [endless]] exchanges a line and leaves; prints "ok VERSION" or "error TEXT".
 * Endless: again and again, until standard input ends.
 */
class Client {
    public static void main(String[] arguments) throws Exception {
        var authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (var file = new FileInputStream(arguments[2])) {
            var certificate = CertificateFactory.getInstance("X.509").generateCertificate(file);
            authorities.setCertificateEntry("ca", certificate);
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(authorities);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        var port = Integer.parseInt(arguments[1]);
        if (arguments.length < 5) {
            talk(context, arguments, port);
            return;
        }
        var wait = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException error) {
                System.out.println("error " + error.getMessage());
            }
        });
        for (wait.start(); wait.isAlive();) {
            talk(context, arguments, port);
        }
    }

    private static void talk(SSLContext context, String[] arguments, int port) {
        try (var socket = (SSLSocket) context.getSocketFactory().createSocket(arguments[0], port)) {
            if (arguments.length > 3) {
                socket.setEnabledProtocols(new String[] {arguments[3]});
            }
            socket.getOutputStream().write("abc\n".getBytes());
            var line = new String(socket.getInputStream().readNBytes(4));
            System.out.println((line.equals("cba\n") ? "ok " : "wrong ") + socket.getSession().getProtocol());
        } catch (java.io.IOException error) {
            System.out.println("error " + error.getMessage());
        }
    }
}
