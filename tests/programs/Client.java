import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** A TLS client: HOST PORT CA [VERSION] exchanges a line and leaves; prints "ok VERSION" or "error TEXT". */
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
